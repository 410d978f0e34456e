package redis

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
)

// Whoever finds no place waits with his own context, and has one as soon as it is free. Those who have left before the
// answer keep theirs until the server answers anybody.
func TestPlaces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newPlaces(maxPlaces)
		for range maxPlaces {
			if waited, err := p.take(t.Context()); waited || err != nil {
				t.Fatal(waited, err)
			}
		}
		took := func() time.Duration {
			ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
			defer cancel()
			began := time.Now()
			if waited, err := p.take(ctx); !waited || err != nil && !errors.Is(err, context.DeadlineExceeded) {
				t.Error(waited, err)
			}
			return time.Since(began)
		}
		if d := took(); d != 25*time.Millisecond {
			t.Errorf("waited %v without a place, want the whole deadline", d)
		}
		p.abandon()
		p.abandon()
		if d := took(); d != 25*time.Millisecond {
			t.Errorf("got the place of a command that is under way, after %v", d)
		}
		for range 3 { // all of them at once
			go func() {
				if d := took(); d != 10*time.Millisecond {
					t.Errorf("waited %v, want 10 ms", d)
				}
			}()
		}
		time.Sleep(10 * time.Millisecond)
		p.leave() // an answer, and so the end of those two
		synctest.Wait()
		if n := p.taken.Load(); n != maxPlaces || p.waiting.Load() != 0 {
			t.Errorf("%d places are taken, %d wait", n, p.waiting.Load())
		}
	})
}

func BenchmarkPlaces(b *testing.B) {
	p, ctx := newPlaces(maxPlaces), b.Context()
	for b.Loop() {
		p.take(ctx)
		p.leave()
	}
}

// An answer on one connection gives back no place of the other one: what was abandoned there is still in its ring.
func TestPlacesOfTwoConnections(t *testing.T) {
	s := opened(t, redistest.Start(t).URL())
	g := s.guard("user:1")
	for range 5 {
		if _, err := g.tracked.take(t.Context()); err != nil {
			t.Fatal(err)
		}
		g.tracked.abandon()
	}
	s.Put(t.Context(), []store.Put{{Key: "user:1", Value: []byte("1"), TTL: time.Minute}}, 0)
	for _, key := range []string{"user:1", "user:2"} { // one that is there, and one that is not
		if it := s.Get(t.Context(), key, false); it.Err != nil {
			t.Fatal(it.Err)
		}
	}
	if n := g.tracked.taken.Load(); n != 5 {
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
	g := s.guard("user:1")
	for range maxTrackedPlaces {
		if _, err := g.tracked.take(t.Context()); err != nil {
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
	for range maxTrackedPlaces {
		g.tracked.abandon()
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second) // the topology is looked at each second
	defer cancel()
	if it := tr.Get(ctx, "user:1", true); it.Err != nil {
		t.Errorf("when all have left: %v", it.Err)
	}
	if n := g.tracked.taken.Load(); n != 0 {
		t.Errorf("%d places are taken by nobody", n)
	}
}
