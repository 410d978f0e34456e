package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// dying is a store whose client dies before the end of its write, and whose begins may be answered by nobody.
type dying struct {
	store.Store
	deaf   bool // the first begin is carried out and not answered, the others are lost
	begins int
}

func (d *dying) End(context.Context, []store.End) []store.Outcome {
	return []store.Outcome{{Err: errors.New("died")}}
}

func (d *dying) Begin(ctx context.Context, in []store.Intent) []store.Outcome {
	if !d.deaf {
		return d.Store.Begin(ctx, in)
	}
	if d.begins++; d.begins == 1 {
		d.Store.Begin(ctx, in)
	}
	<-ctx.Done()
	return []store.Outcome{{Err: ctx.Err()}}
}

// A writer that dies between a late commit and its end leaves nothing stale, although the loader reads a replica that lags.
func TestWriterDiesBesideALaggingReplica(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var at atomic.Int64 // of the commit, Unix nanoseconds
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			c.Hold = 5 * time.Second
			c.Load = func(context.Context, string) (string, error) {
				if n := at.Load(); n == 0 || time.Since(time.Unix(0, n)) < 4*time.Second {
					return "1", nil
				}
				return "2", nil
			}
			b.store = &dying{Store: b.store}
		})
		go b.Update(t.Context(), "a", func(context.Context) (string, error) {
			time.Sleep(9 * time.Second)
			at.Store(time.Now().UnixNano())
			return "2", nil
		})
		b.readsAtRest(t, "2")
	})
}

// The same where the begin was carried out long before the write began.
func TestWriterDiesBehindASlowBegin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, c *typed.Config[string, string]) { b.store = &dying{Store: b.store, deaf: true} })
		b.shared.WriteBudget = 5 * time.Second
		b.set("a", "1")
		go b.Update(t.Context(), "a", func(ctx context.Context) (string, error) {
			time.Sleep(9900 * time.Millisecond)
			if ctx.Err() != nil {
				t.Error("the write is over its limit")
			}
			b.set("a", "2")
			return "2", nil
		})
		b.readsAtRest(t, "2")
	})
}

// readsAtRest reads at every second of a minute, so that a load can be filled whenever it is allowed, and then checks what
// is left.
func (b *bench) readsAtRest(t *testing.T, want string) {
	for range 60 {
		time.Sleep(time.Second)
		b.Get(t.Context(), "a")
	}
	if v, err := b.Get(t.Context(), "a"); v != want || err != nil {
		t.Errorf("a minute later the cache has %q (%v), want %q", v, err, want)
	}
}
