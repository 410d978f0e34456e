package health

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
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
