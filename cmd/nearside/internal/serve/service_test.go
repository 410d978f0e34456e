package serve

import (
	"log/slog"
	"testing"
	"time"

	"github.com/nearside/nearside"
	inside "github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
)

// clientOver returns a client of a store that waits for a busy machine.
func clientOver(t *testing.T, s store.Store) *nearside.Client {
	t.Helper()
	c := new(nearside.Client)
	c.Inside().Open(s, inside.Settings{Budget: eventually.Limit, WriteBudget: eventually.Limit, Logger: slog.New(slog.DiscardHandler)})
	t.Cleanup(func() { c.Close() })
	return c
}

// A sweep takes the keys of a cache and not those that an application keeps beside them, which the same glob describes.
func TestSweepLeavesOtherKeys(t *testing.T) {
	key, err := pattern.Parse("user:{id}", map[string]pattern.Type{"id": pattern.Int})
	if err != nil {
		t.Fatal(err)
	}
	s := memory.New(memory.Options{})
	c := New(clientOver(t, s), slog.New(slog.DiscardHandler), []Spec{{Name: "user", Key: key, TTL: time.Hour, LoadTimeout: eventually.Limit}}).caches[0]
	for _, k := range []string{"user:1", "user:1:cart", "user:ada"} {
		s.Put(t.Context(), []store.Put{{Key: k, Value: []byte("1"), TTL: time.Hour}}, 0)
	}
	settings := c.inspector.(engine.Keyed).Settings()
	if err := s.Sweep(t.Context(), settings.Glob, settings.Ours); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]bool{"user:1": false, "user:1:cart": true, "user:ada": true} {
		if got := s.Get(t.Context(), k, false).Found; got != want {
			t.Errorf("%s is there: %v, want %v", k, got, want)
		}
	}
}
