package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside/fleet"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
)

type topCmd struct {
	Every  time.Duration `help:"How often to look. Processes report each 10 s." default:"2s"`
	Times  int           `short:"n" help:"How often before it ends; 0: until you end it." default:"0"`
	Target target        `embed:""`
}

// Help is shown by nearside top --help.
func (topCmd) Help() string {
	return "Keys: q quits, s sorts by the next measure, p pauses, / filters by name (Enter keeps the filter, Esc drops it). To a pipe it prints a table each time, with --json a document on each line; a Redis that is away is told there too, and top goes on when it is back. The columns are explained by nearside stats --help."
}

// Run watches until it is ended.
func (c *topCmd) Run(w *env) error {
	switch {
	case c.Every < 100*time.Millisecond || c.Every > time.Hour:
		return exit{statusUsage, fmt.Errorf("--every: found %v, expected a duration from 100ms to 1h", c.Every)}
	case c.Times < 0:
		return exit{statusUsage, fmt.Errorf("--times: found %d, expected a number, or 0 to go on", c.Times)}
	}
	return c.Target.ask(w, func(ctx context.Context, o ops.Operator) error {
		if w.terminal && !c.Target.JSON && w.lookup("TERM") != "dumb" {
			return c.live(ctx, w, o)
		}
		return c.lines(ctx, w, o)
	})
}

var now = fleet.Query{Back: time.Minute}

// lines prints one reading after the other. The first must succeed; later ones may find who answers away.
func (c *topCmd) lines(ctx context.Context, w *env, o ops.Operator) error {
	ticker := time.NewTicker(c.Every)
	defer ticker.Stop()
	for n := 1; ; n++ {
		v, err := o.Fleet(ctx, now)
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil && (n == 1 || errors.Is(err, ops.ErrUsage)):
			return err
		case err != nil:
			w.note("%s %v", time.Now().Format(time.TimeOnly), err)
		case !c.Target.JSON:
			c.table(w, v, n)
		}
		if c.Target.JSON {
			if err := c.line(w, o, v, err); err != nil {
				return err
			}
		}
		if n == c.Times {
			return err
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func (c *topCmd) table(w *env, v *fleet.View, n int) {
	if n > 1 {
		fmt.Fprintln(w.out)
	}
	at := v.At.Local().Format(time.TimeOnly)
	if len(v.Names) == 0 {
		fmt.Fprintf(w.out, "%s nothing is reported\n", at)
	} else {
		fmt.Fprintf(w.out, "%s %s\n", at, summary(v, 0))
	}
	if told := unheard(v); told != "" {
		w.note("%s", told)
	}
	if len(v.Caches) > 0 {
		for _, line := range w.overview(ordered(v.Caches, 0, orders[0]), 0) {
			fmt.Fprintln(w.out, line)
		}
	}
}

// line prints a reading as one line of JSON; one that failed as its error.
func (c *topCmd) line(w *env, o ops.Operator, v *fleet.View, failed error) error {
	e := json.NewEncoder(w.out)
	e.SetEscapeHTML(false)
	if failed != nil {
		return e.Encode(struct {
			Source string    `json:"source"`
			At     time.Time `json:"at"`
			Error  string    `json:"error"`
		}{o.String(), time.Now(), failed.Error()})
	}
	return e.Encode(sourced{o.String(), v})
}

// reading is what came of one look.
type reading struct {
	view  *fleet.View
	err   error
	panic any // that of the goroutine
}

// live shows one reading after the other on the terminal's whole screen, and obeys keys.
func (c *topCmd) live(ctx context.Context, w *env, o ops.Operator) error {
	first, err := o.Fleet(ctx, now) // what fails at once is told as every command does
	if err != nil {
		return err
	}
	s, err := openScreen(w)
	if err != nil {
		return fmt.Errorf("take the terminal: %w", err)
	}
	defer s.close()
	ctx, cancel := context.WithCancel(ctx)
	under, done := false, make(chan reading, 1)
	defer func() {
		if cancel(); under {
			<-done
		}
	}()
	look := func() {
		under = true
		go func() {
			var r reading
			defer func() {
				r.panic = recover()
				done <- r
			}()
			r.view, r.err = o.Fleet(ctx, now)
		}()
	}
	p := topPage{source: o.String(), view: first}
	ticker, sizes := time.NewTicker(c.Every), time.NewTicker(resizeEvery)
	defer ticker.Stop()
	defer sizes.Stop()
	for n := 1; n != c.Times; {
		s.draw(p.lines(s.env(), s.height))
		select {
		case <-ctx.Done():
			return nil
		case r := <-done:
			if under = false; r.panic != nil {
				panic(r.panic) // where the terminal is restored
			}
			n++
			p.take(r)
		case <-ticker.C:
			if !p.paused && !under {
				look()
			}
		case <-sizes.C:
			s.resize()
		case key := <-s.keys:
			if p.press(key) {
				return nil
			}
		}
	}
	return p.err
}
