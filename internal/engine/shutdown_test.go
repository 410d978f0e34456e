package engine_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// A second Close waits for the first, and returns the same: a deferred Close must not end the program while another one delivers.
func TestSecondCloseWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *failing
		b := open(t, func(b *bench, _ *typed.Config[string, string]) {
			f = &failing{Store: b.store}
			b.store = f
		})
		f.away.Store(true)
		b.Invalidate(t.Context(), []string{"a"})
		began := time.Now()
		first := make(chan error)
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			first <- b.shared.Close(ctx)
		}()
		synctest.Wait()
		short, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		if err := b.shared.Close(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("one that may not wait: %v", err)
		}
		want(t, "it waited", time.Since(began), time.Second)
		go func() {
			time.Sleep(time.Second)
			f.away.Store(false)
		}()
		if err := b.shared.Close(context.Background()); err != nil {
			t.Errorf("the second: %v", err)
		}
		if time.Since(began) < 2*time.Second {
			t.Error("the second Close returned before what was pending could be delivered")
		}
		if err := <-first; err != nil {
			t.Errorf("the first: %v", err)
		}
	})
}

// After Close no write begins: nobody would deliver its invalidation if it failed.
func TestNothingBeginsAfterClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		key, err := b.Written("a")
		if err != nil {
			t.Fatal(err)
		}
		if err := b.shared.Ping(t.Context()); err != nil {
			t.Error(err)
		}
		b.shared.Close(t.Context())
		write := func(context.Context) error { t.Error("the write ran"); return nil }
		for _, keys := range [][]engine.Written{{key}, nil} {
			if err := b.shared.Mutate(t.Context(), keys, write); !errors.Is(err, engine.ErrClosed) {
				t.Errorf("mutate: %v", err)
			}
		}
		if err := b.shared.Ping(t.Context()); !errors.Is(err, engine.ErrClosed) {
			t.Errorf("ping: %v", err)
		}
		want(t, "pending", b.shared.Recovery().Pending, 0)
	})
}

// releasing is a store on which it takes a while to give leases back.
type releasing struct {
	store.Store
	done atomic.Bool
}

func (r *releasing) Release(ctx context.Context, leases []store.Lease) []store.Outcome {
	time.Sleep(time.Second)
	r.done.Store(true)
	return r.Store.Release(context.Background(), leases)
}

// Close waits for the end of a load that was given up when its time was over, although its loader has returned.
func TestCloseWaitsForLoadsThatWereGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := new(releasing)
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			r.Store, b.store = b.store, r
			c.Load = func(ctx context.Context, _ string) (string, error) {
				<-ctx.Done()
				time.Sleep(10 * time.Millisecond)
				return "", ctx.Err()
			}
		})
		go b.Get(t.Context(), "a")
		time.Sleep(10*time.Second + 100*time.Millisecond)
		if r.done.Load() {
			t.Fatal("the lease was given back before Close")
		}
		b.shared.Close(t.Context())
		if !r.done.Load() {
			t.Error("Close returned while a lease was being given back")
		}
	})
}
