package serve

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
)

// A sweep takes the keys of a cache and not those that an application keeps beside them, which the same glob describes.
func TestSweepLeavesOtherKeys(t *testing.T) {
	key, err := pattern.Parse("user:{id}", map[string]pattern.Type{"id": pattern.Int})
	if err != nil {
		t.Fatal(err)
	}
	s := memory.New(memory.Options{})
	shared := engine.NewShared(s, eventually.Limit, eventually.Limit, slog.New(slog.DiscardHandler))
	defer shared.Close(context.Background())
	c := New(shared, []Spec{{Name: "user", Key: key, TTL: time.Hour, LoadTimeout: eventually.Limit}}).caches[0]
	for _, k := range []string{"user:1", "user:1:cart", "user:ada"} {
		s.Put(t.Context(), []store.Put{{Key: k, Value: []byte("1"), TTL: time.Hour}}, 0)
	}
	if err := s.Sweep(t.Context(), c.Values.Glob, c.Values.Ours); err != nil {
		t.Fatal(err)
	}
	for k, want := range map[string]bool{"user:1": false, "user:1:cart": true, "user:ada": true} {
		if got := s.Get(t.Context(), k, false).Found; got != want {
			t.Errorf("%s is there: %v, want %v", k, got, want)
		}
	}
}
