package cli

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
	"github.com/nearside/nearside/internal/human"
)

type invalidateCmd struct {
	Cache  string        `arg:"" help:"The name of the cache."`
	Key    []string      `arg:"" optional:"" help:"The parameters of the key: 42 for user:42."`
	All    bool          `help:"All keys of the cache. Without --yes they are only counted."`
	Yes    bool          `help:"With --all: do it."`
	For    time.Duration `name:"for" help:"How long to count, before the rest is estimated." default:"10s"`
	Target target        `embed:""`
}

// Help is shown by nearside invalidate --help.
func (invalidateCmd) Help() string {
	return "With --redis a cache whose loader reads a lagging replica may store an old row again: only serve and the application know its hold."
}

// Run removes what was named.
func (c *invalidateCmd) Run(w *env) error {
	switch {
	case c.All && len(c.Key) > 0:
		return exit{statusUsage, errors.New("a key and --all: expected one of them")}
	case !c.All && c.Yes:
		return exit{statusUsage, errors.New("--yes belongs to --all")}
	}
	if err := within("--for", c.For); err != nil {
		return err
	}
	return c.Target.ask(w, func(ctx context.Context, o ops.Operator) error {
		switch {
		case c.All && c.Yes:
			return c.sweep(ctx, w, o)
		case c.All:
			return c.count(ctx, w, o)
		}
		done, err := o.Invalidate(ctx, c.Cache, c.Key)
		if err != nil {
			return err
		}
		if c.Target.JSON {
			return document(w, done)
		}
		said := "it held a value"
		if !done.Held {
			said = "it held none"
		}
		fmt.Fprintf(w.out, "%s is invalidated: %s (%s)\n", human.Name(done.Key), said, done.Source)
		return nil
	})
}

// count is the dry run.
func (c *invalidateCmd) count(ctx context.Context, w *env, o ops.Operator) error {
	n, err := o.Count(ctx, c.Cache, c.For)
	if err != nil {
		return err
	}
	if c.Target.JSON {
		return document(w, struct {
			ops.Count
			DryRun bool `json:"dry_run"`
		}{n, true})
	}
	about := ""
	if !n.Exact {
		about = "about "
		w.note("looked at %d of %d keys", n.Looked, n.Total)
	}
	fmt.Fprintf(w.out, "%s has %s%s (%s). Nothing was removed: --yes removes them, in two passes at 10,000 keys per second at most\n", c.Cache, about, human.Several(n.Keys, "key", "keys"), n.Source)
	return nil
}

func (c *invalidateCmd) sweep(ctx context.Context, w *env, o ops.Operator) error {
	done, err := o.Sweep(ctx, c.Cache)
	if err != nil {
		return fmt.Errorf("%w; not all keys may be gone: run it again", err)
	}
	if c.Target.JSON {
		return document(w, done)
	}
	fmt.Fprintf(w.out, "%s is invalidated: %s, in %v (%s)\n", c.Cache, human.Several(done.Keys, "key", "keys"), time.Duration(done.TookMS)*time.Millisecond, done.Source)
	return nil
}
