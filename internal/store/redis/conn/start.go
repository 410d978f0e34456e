package conn

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

type openContext struct{ context.Context }

// Connect makes the client and has learn find out what the server can do. lasts is true if the error stays until the URL or the
// server is changed.
func (d *Dialer) Connect(ctx context.Context, o rueidis.ClientOption, learn func(context.Context, rueidis.Client) error) (lasts bool, err error) {
	d.opening.Store(&openContext{ctx})
	withoutTLS := askWithoutTLS(ctx, d.config.Target)
	err = d.connectAndLearn(ctx, o, learn)
	plain := withoutTLS()
	if err == nil {
		d.connected.Store(true)
		return false, nil
	}
	todo, lasts := advice(d.config.Target, err)
	switch {
	case plain && ctx.Err() != nil:
		err, todo, lasts = errNoTLS, errNoTLS.todo, true
	case ctx.Err() != nil:
		err, lasts = fmt.Errorf("no answer in time: %w", ctx.Err()), false
		if todo, _ = advice(d.config.Target, err); d.config.Target.TLS != nil {
			todo = "check the address, and that the server speaks TLS there"
		}
	}
	return lasts, fmt.Errorf("connect to Redis at %s: %w; %s", d.config.Target, err, todo)
}

// askWithoutTLS asks the server whether it speaks without TLS, while a connection with it is being made and takes long. What it
// returns ends that, and reports whether it does.
func askWithoutTLS(ctx context.Context, t redisurl.Target) (end func() bool) {
	if t.TLS == nil {
		return func() bool { return false }
	}
	ctx, cancel := context.WithCancel(ctx)
	plain := make(chan bool, 1)
	go func() {
		wait := time.NewTimer(plainAfter)
		defer wait.Stop()
		select {
		case <-wait.C:
			plain <- speaksPlain(ctx, t)
		case <-ctx.Done():
			plain <- false
		}
	}()
	return func() bool {
		cancel()
		return <-plain
	}
}

func (d *Dialer) connectAndLearn(ctx context.Context, o rueidis.ClientOption, learn func(context.Context, rueidis.Client) error) error {
	c, err := rueidis.NewClient(o)
	if err != nil {
		return overheard(ctx, d.config.Target, err)
	}
	if err = learn(ctx, c); err != nil {
		c.Close()
	}
	return err
}
