package recovery

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// historic is a store whose data set a test lets go back in time.
type historic struct {
	fake
	keeper  store.Keeper
	emptied []uint64
}

func (h *historic) Keep(k store.Keeper) { h.keeper = k }
func (h *historic) Register(string)     {}

func (h *historic) Empty(ctx context.Context, glob string, ours func(string) bool) error {
	return h.Sweep(ctx, glob, ours)
}

func (h *historic) Emptied(_ string, number uint64) { h.emptied = append(h.emptied, number) }

func TestHistory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h, resets := new(historic), 0
		b := open(t, 0)
		o := b.Options
		o.Store, o.ResetNear = h, func() { resets++ }
		b.Invalidations = New(b.ctx, o)
		caches := []*Cache{b.Cache(CacheConfig{Glob: "a:*"}), b.Cache(CacheConfig{Glob: "b:*"})}
		bypassed := func(what string, a, other bool) {
			t.Helper()
			want(t, what+": a is bypassed", caches[0].Bypasses("a:1"), a)
			want(t, what+": b is bypassed", caches[1].Bypasses("b:1"), other)
		}
		a := []string{"a:*"}
		bypassed("at first", false, false)
		epoch := b.Epoch()
		h.keeper.Bar(a)
		bypassed("barred", true, false)
		h.keeper.Free(a)
		bypassed("free", false, false)
		want(t, "a read that was under way is overtaken", b.Overtaken(epoch), true)
		want(t, "a read of now is overtaken", b.Overtaken(b.Epoch()), false)

		h.keeper.Empty(a, 7)
		want(t, "resets", resets, 1)
		bypassed("to be emptied", true, false)
		h.keeper.Spare(a, 6) // an older order
		bypassed("not spared", true, false)
		h.keeper.Spare(a, 7)
		bypassed("spared", false, false)

		h.keeper.Empty(a, 8)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		bypassed("emptied", false, false)
		want(t, "reported", slices.Equal(h.emptied, []uint64{8}), true)

		h.keeper.Bar(a)
		h.keeper.Empty(a, 9)
		b.Leave()
		bypassed("at Close", false, false)
		want(t, "idle", b.Idle(), true)
	})
}
