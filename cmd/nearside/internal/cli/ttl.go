package cli

import (
	"context"
	"fmt"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
)

type ttlCmd struct {
	Cache  string   `arg:"" help:"The name of the cache."`
	Key    []string `arg:"" optional:"" help:"The parameters of the key: 42 for user:42."`
	Target target   `embed:""`
}

// Run shows how long a key lives on.
func (c *ttlCmd) Run(w *env) error {
	return c.Target.ask(w, func(ctx context.Context, o ops.Operator) error {
		e, err := o.Entry(ctx, c.Cache, c.Key, 0)
		if err != nil {
			return err
		}
		if c.Target.JSON {
			if err := document(w, e); err != nil {
				return err
			}
		} else if e.Found {
			fmt.Fprintln(w.out, e.TTL)
		}
		switch {
		case e.Found:
			return nil
		case c.Target.JSON:
			return exit{status: statusFailed}
		}
		return exit{statusFailed, absent(e)}
	})
}
