package cli

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
	"github.com/nearside/nearside/cmd/nearside/internal/spelling"
	"github.com/nearside/nearside/internal/human"
)

type keysCmd struct {
	Cache  string        `arg:"" help:"The name of the cache."`
	Limit  int           `help:"How many keys to show." default:"20"`
	Match  string        `help:"Only keys that match: * stands for any characters, as in 'user:4*'." placeholder:"GLOB"`
	For    time.Duration `name:"for" help:"How long to look: at 2,000 keys of Redis per second at most." default:"10s"`
	Target target        `embed:""`
}

// Run shows some keys.
func (c *keysCmd) Run(w *env) error {
	if c.Limit < 1 || c.Limit > maxKeys {
		return exit{statusUsage, fmt.Errorf("--limit: found %d, expected a number from 1 to %d", c.Limit, maxKeys)}
	}
	if err := within("--for", c.For); err != nil {
		return err
	}
	return c.Target.ask(w, func(ctx context.Context, o ops.Operator) error {
		keys, err := o.Keys(ctx, c.Cache, ops.Query{Limit: c.Limit, Match: c.Match, For: c.For})
		if err != nil {
			return err
		}
		if c.Target.JSON {
			return document(w, keys)
		}
		c.show(w, keys)
		return nil
	})
}

const (
	maxKeys = 10_000           // that one answer has
	longest = 10 * time.Minute // that keys are looked for
)

func within(flag string, d time.Duration) error {
	if d <= 0 || d > longest {
		return exit{statusUsage, fmt.Errorf("%s: found %v, expected a duration such as 10s, up to %v", flag, d, longest)}
	}
	return nil
}

func (c *keysCmd) show(w *env, keys ops.Keys) {
	if len(keys.Keys) > 0 {
		var rows [][]string
		for _, k := range keys.Keys {
			size := "?"
			switch {
			case k.Bytes >= 0:
				size = human.Bytes(k.Bytes)
			case k.Type == "string" && k.Length >= 0:
				size = human.Bytes(k.Length)
			}
			ttl := k.TTL.String()
			if ttl == "never ends" {
				ttl = "none"
			}
			rows = append(rows, []string{human.Name(k.Key), k.Type, ttl, size})
		}
		w.table([]column{{title: "KEY", cut: true}, {title: "TYPE"}, {title: "TTL", right: true}, {title: "SIZE", right: true}}, rows)
	}
	switch {
	case len(keys.Keys) == 0 && !keys.All:
		w.note("no key of %s among about %d of %d keys, %s; --for looks longer", c.Cache, keys.Looked, keys.Total, keys.Source)
	case len(keys.Keys) == 0 && len(keys.Seen) > 0 && c.Match == "":
		w.note("no key of %s, %s; keys there begin with %s", c.Cache, keys.Source, strings.Join(keys.Seen, ", "))
		if near := spelling.Nearest(c.Cache, keys.Seen[:1]); near != "" {
			w.note("did you mean %s?", near)
		}
	case len(keys.Keys) == 0:
		w.note("no such key of %s, %s", c.Cache, keys.Source)
	case keys.All:
		w.note("%s, and no more; %s", human.Several(len(keys.Keys), "key", "keys"), keys.Source)
	case len(keys.Keys) < c.Limit:
		w.note("%s among about %d of %d, %s; --for looks longer", human.Several(len(keys.Keys), "key", "keys"), keys.Looked, keys.Total, keys.Source)
	default:
		w.note("%s, and there are more; %s", human.Several(len(keys.Keys), "key", "keys"), keys.Source)
	}
}
