package redis

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
)

// free takes all places that are free on the connection that tracks, and gives them back.
func free(g *health.Guard) (n int) {
	gone, leave := context.WithCancel(context.Background())
	leave()
	for {
		if _, err := g.Enter(gone, health.Tracked, health.Read); err != nil {
			break
		}
		n++
	}
	for range n {
		g.Leave(health.Tracked, g.Now(), nil)
	}
	return n
}

// leave leaves a command on the connection that tracks before it is answered.
func leave(g *health.Guard) { g.Leave(health.Tracked, g.Now(), context.Canceled) }

// An answer on one connection gives back no place of the other one: what was abandoned there is still in its ring.
func TestPlacesOfTwoConnections(t *testing.T) {
	s := opened(t, redistest.Start(t).URL())
	g := s.guards.For("user:1")
	all := free(g)
	for range 5 {
		if _, err := g.Enter(t.Context(), health.Tracked, health.Read); err != nil {
			t.Fatal(err)
		}
		leave(g)
	}
	s.Put(t.Context(), []store.Put{{Key: "user:1", Value: []byte("1"), TTL: time.Minute}}, 0)
	for _, key := range []string{"user:1", "user:2"} { // one that is there, and one that is not
		if it := s.Get(t.Context(), key, false); it.Err != nil {
			t.Fatal(it.Err)
		}
	}
	if n := all - free(g); n != 5 {
		t.Errorf("%d places of the connection that tracks are taken after an answer on the other one, want 5", n)
	}
}

// Whoever reads by the connection that tracks waits for a place no longer than his context, and when all places are of those who
// have left, a command of the store's own finds out that they are free.
func TestTrackedReadsWaitForAPlace(t *testing.T) {
	s := opened(t, redistest.Start(t).URL())
	tr, err := s.Track(t.Context(), func(string) {}, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	g := s.guards.For("user:1")
	all := free(g)
	for range all {
		if _, err := g.Enter(t.Context(), health.Tracked, health.Read); err != nil {
			t.Fatal(err)
		}
	}
	for name, read := range map[string]func(context.Context) error{
		"Get":     func(ctx context.Context) error { return tr.Get(ctx, "user:1", true).Err },
		"GetMany": func(ctx context.Context) error { return tr.GetMany(ctx, []string{"user:1", "user:2"}, true)[1].Err },
		"Await": func(ctx context.Context) error {
			_, stop, err := tr.Await(ctx, []string{"user:1"})
			if err == nil {
				stop()
			}
			return err
		},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
		if err := read(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%s without a place: %v", name, err)
		}
		cancel()
	}
	for range all {
		leave(g)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // the topology is looked at each second
	defer cancel()
	if it := tr.Get(ctx, "user:1", true); it.Err != nil {
		t.Errorf("when all have left: %v", it.Err)
	}
	if n := all - free(g); n != 0 {
		t.Errorf("%d places are taken by nobody", n)
	}
}
