package engine_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

// hung is a store that answers nothing, and counts what it was asked.
type hung struct {
	store.Store
	reads, most int
	well        bool
}

func (h *hung) outcomes(ctx context.Context, n int) []store.Outcome {
	h.most = max(h.most, n)
	<-ctx.Done()
	out := make([]store.Outcome, n)
	for i := range out {
		out[i].Err = ctx.Err()
	}
	return out
}

func (h *hung) GetMany(ctx context.Context, keys []string, _ bool) []store.Item {
	h.reads, h.most = h.reads+1, max(h.most, len(keys))
	<-ctx.Done()
	out := make([]store.Item, len(keys))
	for i := range out {
		out[i].Err = ctx.Err()
	}
	return out
}

func (h *hung) Put(ctx context.Context, ps []store.Put, _ time.Duration) []store.Outcome {
	return h.outcomes(ctx, len(ps))
}

func (h *hung) Invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome {
	if h.well {
		return h.Store.Invalidate(ctx, keys, hold)
	}
	return h.outcomes(ctx, len(keys))
}

func (h *hung) Begin(ctx context.Context, is []store.Intent) []store.Outcome {
	return h.outcomes(ctx, len(is))
}

func (h *hung) End(ctx context.Context, es []store.End) []store.Outcome {
	return h.outcomes(ctx, len(es))
}

// Law 3: a batch on a store that hangs waits for one piece of it, whatever its size; a write as long as that of one key does.
func TestBatchOnAHungStoreWaitsForOnePiece(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(hung)
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			h.Store = b.store
			b.store = h
			c.Load, c.LoadMany = nil, many(func(_ context.Context, k string) (string, error) { return k, nil })
		})
		var ks []string
		var puts []typed.Put[string, string]
		var keys []engine.Written
		for n := range 20_000 {
			k := fmt.Sprint(n)
			w, _ := b.Written(k)
			ks, puts, keys = append(ks, k), append(puts, typed.Put[string, string]{K: k, V: k}), append(keys, w)
		}
		began := time.Now()
		for i, a := range b.GetMany(t.Context(), ks) {
			if a.Err != nil || a.Entry.Value != ks[i] {
				t.Fatalf("%s: %+v", ks[i], a)
			}
		}
		want(t, "pieces that were read", h.reads, 1)
		if took := time.Since(began); took > 25*time.Millisecond {
			t.Errorf("the reads took %v", took)
		}
		for name, write := range map[string]func() error{
			"set":        func() error { return b.Set(t.Context(), puts) },
			"invalidate": func() error { _, err := b.Invalidate(t.Context(), ks); return err },
			"mutate":     func() error { return b.shared.Mutate(t.Context(), keys, func(context.Context) error { return nil }) },
		} {
			began, h.most = time.Now(), 0
			if err := write(); !errors.Is(err, engine.ErrUnavailable) {
				t.Errorf("%s: %v", name, err)
			}
			if took := time.Since(began); took > 2500*time.Millisecond { // two steps of 1 s, and the pauses
				t.Errorf("%s took %v", name, took)
			}
			if h.most > engine.PieceKeys {
				t.Errorf("%s sent %d keys at once", name, h.most)
			}
		}
		h.well = true // Close delivers what is pending
	})
}

// A piece is as large as the store takes soon, so that a batch of large values is read too.
func TestPiecesShrinkWithSlowness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := new(slowly)
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			s.Store = b.store
			b.store = s
			c.Load, c.LoadMany = nil, many(func(_ context.Context, k string) (string, error) { return k, nil })
		})
		var ks []string
		for n := range 3000 {
			ks = append(ks, fmt.Sprint(n))
			b.Set(t.Context(), []typed.Put[string, string]{{K: ks[n], V: ks[n]}})
		}
		loads := func() uint64 { return b.Tally().Counts[tally.LoadOK] }
		for range 6 { // a batch that is not answered halves the pieces
			b.GetMany(t.Context(), ks)
		}
		before := loads()
		b.GetMany(t.Context(), ks)
		want(t, "loads", loads()-before, 0)
	})
}

// slowly is a store that takes 100 µs for each value.
type slowly struct{ store.Store }

func (s *slowly) GetMany(ctx context.Context, keys []string, ttl bool) []store.Item {
	select {
	case <-time.After(time.Duration(len(keys)) * 100 * time.Microsecond):
		return s.Store.GetMany(ctx, keys, ttl)
	case <-ctx.Done():
		out := make([]store.Item, len(keys))
		for i := range out {
			out[i].Err = ctx.Err()
		}
		return out
	}
}
