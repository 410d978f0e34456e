package cli

import (
	"context"
	"encoding/base64"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
	"github.com/nearside/nearside/internal/human"
)

type getCmd struct {
	Cache  string   `arg:"" help:"The name of the cache."`
	Key    []string `arg:"" optional:"" help:"The parameters of the key: 42 for user:42."`
	Meta   bool     `help:"Show type, TTL, size and what goes on with the key, and not its value."`
	Raw    bool     `help:"Print all of the value as it is, on a terminal too."`
	Target target   `embed:""`
}

// Help is shown by nearside get --help.
func (getCmd) Help() string {
	return "On a terminal what it would not show is escaped, and large values are cut. Elsewhere, and with --raw, the bytes are printed as they are."
}

const (
	shownBytes    = 64 << 10 // of a value, on a terminal
	shownElements = 1000
	jsonBytes     = 1 << 20
)

// Run shows what the cache holds.
func (c *getCmd) Run(w *env) error {
	all := c.Raw || !w.terminal && !c.Target.JSON
	limit := shownBytes
	switch {
	case c.Meta:
		limit = 0
	case all:
		limit = -1
	case c.Target.JSON:
		limit = jsonBytes
	}
	return c.Target.ask(w, func(ctx context.Context, o ops.Operator) error {
		e, err := o.Entry(ctx, c.Cache, c.Key, limit)
		if err != nil {
			return err
		}
		if len(e.Elements) > shownElements && !all {
			e.Elements, e.Cut = e.Elements[:shownElements], true
		}
		switch {
		case c.Target.JSON:
			if err := document(w, jsonEntry(e)); err != nil {
				return err
			}
			if !e.Found {
				return exit{status: statusFailed}
			}
			return nil
		case c.Meta && (e.Found || e.Going != ""):
			meta(w, e)
		}
		if !e.Found {
			return exit{statusFailed, absent(e)}
		}
		if !c.Meta {
			c.show(w, e, all)
		}
		return nil
	})
}

// absent says that there is no value, and why, if that is known.
func absent(e ops.Entry) error {
	why := ""
	switch e.Going {
	case "absent":
		why = fmt.Sprintf(": it is remembered for %v that there is no such row", e.Left)
	case "load":
		why = ": somebody is loading it"
	case "write":
		why = ": somebody is writing it"
	case "hold":
		why = fmt.Sprintf(": it was invalidated, and is not stored for %v", e.Left)
	}
	return fmt.Errorf("%s is not in the cache (%s)%s", human.Name(e.Key.Key), e.Source, why)
}

// size is a number of bytes, or that the server does not tell.
func size(n int64) string {
	if n < 0 {
		return "unknown"
	}
	return human.Bytes(n)
}

func meta(w *env, e ops.Entry) {
	rows := [][2]string{{"key", human.Name(e.Key.Key)}, {"type", e.Type}}
	if e.Found {
		rows = append(rows, [2]string{"ttl", e.TTL.String()})
		if e.Type == "string" {
			rows = append(rows, [2]string{"length", size(e.Length)})
		} else if e.Length >= 0 {
			rows = append(rows, [2]string{"elements", fmt.Sprint(e.Length)})
		}
		rows = append(rows, [2]string{"memory", size(e.Bytes)})
	}
	if e.Going != "" {
		what := map[string]string{"load": "somebody loads it", "absent": "it is remembered that there is no such row",
			"hold": "it was invalidated, and is not stored", "write": "somebody writes it"}[e.Going]
		rows = append(rows, [2]string{"going on", fmt.Sprintf("%s, for at most %v", what, e.Left)})
	}
	rows = append(rows, [2]string{"source", e.Source})
	for _, r := range rows {
		fmt.Fprint(w.out, w.wrapped(fmt.Sprintf("%-10s", r[0]), 10, r[1]))
	}
}

// show prints the value.
func (c *getCmd) show(w *env, e ops.Entry, all bool) {
	text := human.Name
	if all {
		text = func(s string) string { return s }
	}
	switch e.Type {
	case "string":
		if all {
			_, _ = w.out.Write(e.Value)
			return
		}
		shown := human.Text(e.Value)
		fmt.Fprint(w.out, shown)
		if !strings.HasSuffix(shown, "\n") {
			fmt.Fprintln(w.out)
		}
		if e.Cut {
			w.note("cut: %s of %s; --raw prints all", human.Bytes(int64(len(e.Value))), size(e.Length))
		}
		return
	case "list", "set":
		for _, el := range e.Elements {
			fmt.Fprintln(w.out, text(el.Member))
		}
	case "zset":
		for _, el := range e.Elements {
			fmt.Fprintf(w.out, "%s\t%s\n", el.Score, text(el.Member))
		}
	case "hash":
		for _, el := range e.Elements {
			fmt.Fprintf(w.out, "%s\t%s\n", text(el.Member), text(el.Value))
		}
	default:
		w.note("a %s is no type of a cache: redis-cli shows it", e.Type)
	}
	if e.Cut {
		w.note("cut: %d of %d elements; --raw prints all", len(e.Elements), e.Length)
	}
}

// jsonEntry has the value as text, where it is text.
func jsonEntry(e ops.Entry) any {
	out := struct {
		ops.Entry
		Value  *string `json:"value,omitempty"`
		Base64 string  `json:"value_base64,omitempty"` // of what is no text
	}{Entry: e}
	if e.Type == "string" && e.Value != nil {
		v := string(e.Value)
		switch {
		case utf8.ValidString(v):
			out.Value = &v
		default:
			out.Base64 = base64.StdEncoding.EncodeToString(e.Value)
		}
	}
	return out
}
