package engine_test

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/typed"
)

// An invalidation that is pending outlives an outage, however long its values live.
func TestPendingInvalidationOfValuesThatLiveForever(t *testing.T) {
	const never = time.Duration(math.MaxInt64)
	for name, change := range map[string]func(c *typed.Config[string, string]){
		"all": func(c *typed.Config[string, string]) {
			c.TTL, c.Stale, c.NotFoundTTL, c.Hold, c.LoadTimeout = never, never, never, never, never
		},
		"TTL":         func(c *typed.Config[string, string]) { c.TTL = never },
		"Stale":       func(c *typed.Config[string, string]) { c.Stale = never },
		"NotFoundTTL": func(c *typed.Config[string, string]) { c.NotFoundTTL = never },
		"Hold":        func(c *typed.Config[string, string]) { c.Hold = never },
		"LoadTimeout": func(c *typed.Config[string, string]) { c.LoadTimeout = never },
		"Expire": func(c *typed.Config[string, string]) {
			c.Expire = func(string, string) time.Duration { return never }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var f *failing
				b := open(t, func(b *bench, c *typed.Config[string, string]) {
					f = &failing{Store: b.store}
					b.store = f
					change(c)
				})
				b.Get(t.Context(), "a")
				f.away.Store(true)
				if _, err := b.Invalidate(t.Context(), []string{"a"}); err == nil {
					t.Error("an invalidation that failed is no error")
				}
				time.Sleep(time.Minute)
				want(t, "pending", b.shared.Recovery().Pending, 1)
				f.away.Store(false)
				time.Sleep(5 * time.Second)
				want(t, "pending after the outage", b.shared.Recovery().Pending, 0)
				want(t, "repeated", b.shared.Recovery().Repeated, 1)
			})
		})
	}
}
