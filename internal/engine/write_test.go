package engine_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

// Mutate counts keys that were invalidated, and those whose invalidation could not be delivered, and none of a write that failed.
func TestMutateCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f *failing
		b := open(t, func(b *bench, _ *typed.Config[string, string]) {
			f = &failing{Store: b.store}
			b.store = f
		})
		counts := func(what string, mutated, behind uint64) {
			t.Helper()
			c := b.Tally().Counts
			want(t, what+": by Mutate", c[tally.ByMutate], mutated)
			want(t, what+": behind", c[tally.Deferred], behind)
		}
		var keys []engine.Written
		for _, k := range []string{"a", "lost"} {
			key, err := b.Written(k)
			if err != nil {
				t.Fatal(err)
			}
			keys = append(keys, key)
		}
		fine := func(context.Context) error { return nil }
		b.shared.Mutate(t.Context(), keys, func(context.Context) error { return errors.New("rolled back") })
		counts("a write that failed", 0, 0)
		b.shared.Mutate(t.Context(), keys, fine)
		counts("a write", 2, 0)
		prefix := "lost"
		f.lost.Store(&prefix)
		if err := b.shared.Mutate(t.Context(), keys, fine); !errors.Is(err, engine.ErrUnavailable) || !strings.Contains(err.Error(), "lost") {
			t.Errorf("one key is not reached: %v, want an error that names it", err)
		}
		counts("a write of which one key was not reached", 3, 1)
		f.lost.Store(nil)
	})
}

// hanging is a store whose first invalidation is not answered.
type hanging struct {
	store.Store
	sent atomic.Int64
}

func (h *hanging) Invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome {
	if h.sent.Add(1) > 1 {
		return h.Store.Invalidate(ctx, keys, hold)
	}
	<-ctx.Done()
	out := make([]store.Outcome, len(keys))
	for i := range out {
		out[i].Err = ctx.Err()
	}
	return out
}

// An invalidation that is not answered is sent again while there is time.
func TestInvalidateThatHangsIsSentAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := new(hanging)
		b := open(t, func(b *bench, _ *typed.Config[string, string]) { h.Store, b.store = b.store, h })
		if _, err := b.Invalidate(t.Context(), []string{"a", "b"}); err != nil {
			t.Error(err)
		}
		want(t, "sendings", h.sent.Load(), 2)
	})
}

// A Prefetch of many keys loads them in batches, and reads the caller's slice no more when it has returned.
func TestPrefetchOfManyKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var largest, loaded atomic.Int64
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			c.LoadMany = func(_ context.Context, ks []string) (map[string]string, error) {
				time.Sleep(time.Millisecond)
				largest.Store(max(largest.Load(), int64(len(ks))))
				loaded.Add(int64(len(ks)))
				out := map[string]string{}
				for _, k := range ks {
					out[k] = k
				}
				return out, nil
			}
		})
		ks := make([]string, 10_500)
		for i := range ks {
			ks[i] = string(rune('a'+i%26)) + time.Duration(i).String()
		}
		b.Prefetch(t.Context(), ks)
		clear(ks)
		time.Sleep(time.Minute)
		want(t, "loaded", loaded.Load(), 10_500)
		want(t, "the largest batch", largest.Load(), engine.PieceKeys)
		b.Prefetch(t.Context(), make([]string, 2000)) // all the same
		b.shared.Close(t.Context())
		b.Prefetch(t.Context(), make([]string, 2000))
	})
}
