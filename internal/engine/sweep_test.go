package engine_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/typed"
)

// More than are kept: the cache is read past until it was swept, and no key of it stays behind.
func TestOverflow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := away(t, func(c *typed.Config[string, string]) { c.Hold = 3 * time.Second })
		o.shared.SetMaxPending(10)
		ctx := t.Context()
		other := typed.New(o.shared, typed.Config[string, string]{
			Policy: engine.Policy{TTL: o.TTL, LoadTimeout: time.Second, Glob: "other:*"},
			Key:    func(k string) (string, error) { return "other:" + k, nil }, Load: o.load, Encode: o.cfg.Encode, Decode: o.cfg.Decode, MaxValue: 1 << 20,
		})
		var keys []string
		for i := range 30 {
			k := fmt.Sprint("k", i)
			keys = append(keys, k)
			o.set(k, "1")
			o.gets(t, k, "1", engine.Load)
			o.set(k, "2")
		}
		other.Get(ctx, "k1")
		o.f.away.Store(true)
		if _, err := o.Invalidate(ctx, keys[:20]); err == nil {
			t.Error("no error")
		}
		want(t, "past", o.shared.Recovery().Past, 1)
		for _, k := range keys { // all of the cache, and not the other one
			o.gets(t, k, "2", engine.Load)
		}
		if e, _ := other.Entry(ctx, "k1"); e.Source != engine.Store {
			t.Errorf("the other cache is read past too: %+v", e)
		}
		time.Sleep(30 * time.Second)
		o.Invalidate(ctx, keys[20:])
		o.f.away.Store(false)
		back := time.Now()
		time.Sleep(10 * time.Second)
		want(t, "past", o.shared.Recovery().Past, 0)
		want(t, "pending", o.shared.Recovery().Pending, 0)
		o.f.mu.Lock()
		last := o.f.sweeps[len(o.f.sweeps)-1]
		o.f.mu.Unlock()
		if last.Sub(back) < 3*time.Second {
			t.Errorf("it was swept %v after the last invalidation, within the hold", last.Sub(back))
		}
		for _, k := range keys {
			o.gets(t, k, "2", engine.Load)
			o.gets(t, k, "2", engine.Store)
		}
		for line, n := range map[string]int{"more invalidations could not be delivered than are kept": 1, "a cache is read from the store again": 1, "a cache cannot be swept yet": 1, "invalidations delivered": 0, "\n": 4} {
			if got := strings.Count(o.log.String(), line); got != n {
				t.Errorf("%q is %d times in the log, want %d:\n%s", line, got, n, o.log)
			}
		}
	})
}
