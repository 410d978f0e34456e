package breaker_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/breaker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var errAway = errors.New("away")

// server is what the breaker stands before.
type server struct {
	away   atomic.Bool
	probes atomic.Int64
	told   chan string
}

func start(t *testing.T) (*breaker.Breaker, *server) {
	s := &server{told: make(chan string, 100)}
	ctx, cancel := context.WithCancel(t.Context())
	var owner sync.WaitGroup
	t.Cleanup(func() { cancel(); owner.Wait() })
	return breaker.New(ctx, &owner, breaker.Events{
		Probe: func(context.Context) error {
			s.probes.Add(1)
			if s.away.Load() {
				return errAway
			}
			return nil
		},
		Opened:  func(err error) { s.told <- "opened: " + err.Error() },
		Closing: func(context.Context, time.Duration) error { s.told <- "closing"; return nil },
		Closed:  func(down time.Duration) { s.told <- "closed after " + down.Round(100*time.Millisecond).String() },
	}), s
}

func (s *server) said(t *testing.T, want ...string) {
	t.Helper()
	for _, w := range want {
		if got := <-s.told; got != w {
			t.Errorf("told %q, want %q", got, w)
		}
	}
	select {
	case more := <-s.told:
		t.Errorf("told %q too", more)
	default:
	}
}

func TestOpensAndCloses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := start(t)
		for range 3 { // failures that are not in a row
			for range breaker.Failures - 1 {
				b.Failed(errAway)
			}
			b.Succeeded()
		}
		if !b.Read() || !b.Write() {
			t.Error("open too early")
		}
		s.away.Store(true)
		for range breaker.Failures + 10 { // those in flight fail too
			b.Failed(errAway)
		}
		synctest.Wait()
		s.said(t, "opened: away")
		time.Sleep(10 * time.Second)
		if b.Read() || b.Write() || !b.Open() {
			t.Error("a call is let through while the server is away")
		}
		if n := s.probes.Load(); n < 15 || n > 30 {
			t.Errorf("%d probes in 10 s", n)
		}
		s.away.Store(false)
		time.Sleep(600 * time.Millisecond)
		s.said(t, "closing", "closed after 10.3s")
		if !b.Write() {
			t.Error("a write is held back by the ramp")
		}
		share := func() (n int) {
			for range 10_000 {
				if b.Read() {
					n++
				}
			}
			return n / 100
		}
		first := share()
		time.Sleep(2500 * time.Millisecond)
		second := share()
		time.Sleep(3 * time.Second)
		if third := share(); first < 5 || first > 20 || second < 50 || second > 75 || third != 100 {
			t.Errorf("%d, %d and %d %% of the reads are let through, want 10, 60, 100", first, second, third)
		}
	})
}

// A server that answers at once has paused, and is used again at once; but not if it pauses all the time.
func TestPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := start(t)
		fail := func() {
			for range breaker.Failures + 10 {
				b.Failed(errAway)
			}
			synctest.Wait()
		}
		for range 3 {
			fail()
			s.said(t, "opened: away", "closing", "closed after 0s")
			for range 1000 {
				if !b.Read() {
					t.Fatal("a read is held back after a pause")
				}
			}
			fail()
			s.said(t, "opened: away")
			time.Sleep(100 * time.Millisecond)
			s.said(t, "closing", "closed after 100ms")
			time.Sleep(2 * time.Second)
		}
	})
}

// One that goes away again while reads are let through little by little is not asked any more.
func TestOpensWhileRamping(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, s := start(t)
		b.Trip(errAway)
		time.Sleep(time.Second)
		s.said(t, "opened: away", "closing", "closed after 100ms")
		s.away.Store(true)
		for range breaker.Failures {
			b.Failed(errAway)
		}
		synctest.Wait()
		s.said(t, "opened: away")
		if b.Read() || b.Write() {
			t.Error("let through")
		}
	})
}

// What must come first is done before any call is let through; if it fails, the server is away after all.
func TestClosingComesFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		var owner sync.WaitGroup
		defer owner.Wait()
		defer cancel()
		var tries atomic.Int64
		var b *breaker.Breaker
		b = breaker.New(ctx, &owner, breaker.Events{
			Probe: func(context.Context) error { return nil },
			Closing: func(context.Context, time.Duration) error {
				if b.Read() || b.Write() {
					t.Error("a call is let through before what must come first")
				}
				if tries.Add(1) < 3 {
					return errAway
				}
				return nil
			},
		})
		b.Trip(errAway)
		time.Sleep(time.Second)
		if tries.Load() != 3 || b.Open() {
			t.Errorf("%d tries, open: %v", tries.Load(), b.Open())
		}
	})
}

// A probe whose limit passed while this process did not run says nothing about the server, and is repeated.
func TestProbeOfAStalledProcess(t *testing.T) {
	for name, c := range map[string]struct {
		ran    float64 // share of the time in which the process runs
		probes int64   // within the first limit that the process ran for
	}{"stalled": {0.3, 2}, "running": {1, 1}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				var owner sync.WaitGroup
				defer owner.Wait()
				defer cancel()
				began := time.Now()
				var probes atomic.Int64
				b := breaker.New(ctx, &owner, breaker.Events{
					Probe: func(ctx context.Context) error { probes.Add(1); <-ctx.Done(); return ctx.Err() },
					Ran:   func() time.Duration { return time.Duration(c.ran * float64(time.Since(began))) },
				})
				if b.Answers(25 * time.Millisecond) {
					t.Error("a server that says nothing answers")
				}
				if n := probes.Load(); n != c.probes {
					t.Errorf("%d probes, want %d", n, c.probes)
				}
			})
		})
	}
}

func BenchmarkOpen(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	var owner sync.WaitGroup
	defer owner.Wait()
	defer cancel()
	br := breaker.New(ctx, &owner, breaker.Events{Probe: func(context.Context) error { return errAway }})
	b.Run("closed", func(b *testing.B) {
		for b.Loop() {
			if !br.Read() {
				b.Fatal("open")
			}
			br.Succeeded()
		}
	})
	br.Trip(errAway)
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			if br.Read() {
				b.Fatal("closed")
			}
		}
	})
}
