// Package nearsidetest is for tests of programs that use nearside: a client without Redis that does all that one with Redis does,
// questions to it, and failures at will.
//
//	client := nearsidetest.New(t)
//	shop := NewShop(client, db) // yours
//	shop.User(ctx, 42)
//	if !nearsidetest.Cached(t, shop.users, 42) || nearsidetest.Loads(shop.users) != 1 { ... }
//
// It keeps time by package time alone, so in a bubble of testing/synctest an hour's TTL passes at once; call New inside of the
// bubble.
package nearsidetest

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/faultstore"
)

// New returns a client on a memory store of its own, with the default settings and nothing in it. It is closed when the test
// ends, which fails if a load is still running 5 s later. Its log lines go to the test's output.
func New(t testing.TB) *nearside.Client {
	t.Helper()
	s := faultstore.New()
	c := new(nearside.Client)
	c.Inside().Open(s, client.Settings{Logger: slog.New(slog.NewTextHandler(t.Output(), nil))})
	t.Cleanup(func() {
		s.Mend() // what is pending is delivered
		if err := c.Close(); err != nil {
			t.Errorf("nearsidetest: %v", err)
		}
	})
	return c
}

// Cache is what knows how long a value in the store lives: *nearside.Cache, the caches of package shape, *session.Store.
type Cache[K any] interface {
	TTL(ctx context.Context, k K) (time.Duration, error)
}

// Cached reports whether the store holds k, fresh or stale, without loading it. That an absence is remembered does not count, and
// neither does what is kept near. While the store fails the test does too.
func Cached[K any](t testing.TB, cache Cache[K], k K) bool {
	t.Helper()
	_, err := cache.TTL(t.Context(), k)
	if err != nil && !errors.Is(err, nearside.ErrNotFound) {
		t.Fatalf("nearsidetest: is %v cached? %v", k, err)
	}
	return err == nil
}

// Loads returns how many keys the loader of a cache was asked for, whatever it answered. A LoadMany of three keys counts three. It
// is about loads that have ended.
func Loads(cache interface{ Stats() nearside.CacheStats }) uint64 {
	s := cache.Stats()
	return s.Loads + s.LoadsAbsent + s.LoadErrors
}

// Break has the store of a client from New fail, as if Redis were away: reads are answered by the loader, writes return
// nearside.ErrUnavailable, sessions cannot be reached. mend ends it, and may be called more than once: what could not be
// invalidated meanwhile is invalidated before it returns, and what was stored before is there again. The end of the test mends too.
func Break(t testing.TB, c *nearside.Client) (mend func()) {
	t.Helper()
	s, ok := c.Inside().Shared.Store.(*faultstore.Store)
	if !ok {
		t.Fatal("nearsidetest: Break: the client is not one of nearsidetest.New")
	}
	s.Break()
	return s.Mend
}
