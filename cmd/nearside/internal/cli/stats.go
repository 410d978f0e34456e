package cli

import (
	"context"
	"fmt"
	"time"

	"github.com/nearside/nearside/fleet"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
	"github.com/nearside/nearside/internal/human"
)

type statsCmd struct {
	Cache  string        `arg:"" optional:"" help:"The name of a cache, to see all about it."`
	Since  time.Duration `help:"How far back: 1h or 24h; without it, the minute under way and the one before." placeholder:"1h|24h"`
	Target target        `embed:""`
}

// Help is shown by nearside stats --help.
func (statsCmd) Help() string {
	return "P50 and P99 are of all reads, wherever they were answered; SAVED/S is the loader's time that is saved each second; STALE and ERRORS are counted over the whole time. The columns that a terminal has no room for are left out."
}

// Run shows what all processes count.
func (c *statsCmd) Run(w *env) error {
	if c.Since != 0 && c.Since != time.Hour && c.Since != 24*time.Hour {
		return exit{statusUsage, fmt.Errorf("--since: found %v, expected 1h or 24h", c.Since)}
	}
	q := fleet.Query{Cache: c.Cache, Back: max(c.Since, time.Minute)}
	if c.Cache != "" {
		q.Back = max(c.Since, time.Hour) // the curves are of an hour at least
	}
	return c.Target.ask(w, func(ctx context.Context, o ops.Operator) error {
		v, err := o.Fleet(ctx, q)
		if err != nil {
			return err
		}
		if c.Target.JSON {
			return document(w, sourced{o.String(), v})
		}
		switch {
		case len(v.Caches) == 0:
		case c.Cache != "":
			w.cacheStats(v, &v.Caches[0], span(c.Since))
		default:
			w.allStats(v, span(c.Since))
		}
		if told := unheard(v); told != "" {
			fmt.Fprint(w.err, w.wrapped("", 0, told))
		}
		w.note("%s", o)
		return nil
	})
}

// sourced is a view, with who has shown it.
type sourced struct {
	Source string `json:"source"`
	*fleet.View
}

func (w *env) allStats(v *fleet.View, s span) {
	fmt.Fprint(w.out, w.wrapped("", 0, summary(v, s)))
	for _, line := range w.overview(ordered(v.Caches, s, orders[0]), s) {
		fmt.Fprintln(w.out, line)
	}
	for _, c := range v.Caches {
		if c.Err != nil {
			fmt.Fprint(w.err, w.wrapped("", 0, unread(c)))
		}
	}
}

func unread(c fleet.Cache) string {
	return fmt.Sprintf("%s could not be read: %s", human.Name(c.Name), plain(c.Err.Error()))
}
