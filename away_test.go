package nearside_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// A process starts before its Redis: the loaders answer, and Redis is used when it is there.
func TestRedisComesLater(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	quiet := nearside.Options{Logger: slog.New(slog.DiscardHandler)}
	if c, err := nearside.Open(t.Context(), server.URL(), nearside.Options{RequireRedis: true}); err == nil {
		c.Close()
		t.Error("RequireRedis: no error")
	}
	c, err := nearside.Open(t.Context(), server.URL(), quiet)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	users := nearside.New(c, "user", nearside.Config[int64, User]{
		Load: func(_ context.Context, id int64) (User, error) { return User{id, "Ada"}, nil },
	})
	if e, err := users.GetEntry(t.Context(), 1); e.Value.Name != "Ada" || e.Source != nearside.SourceLoad || err != nil {
		t.Errorf("got %+v, %v", e, err)
	}
	if err := users.Invalidate(t.Context(), 1); !errors.Is(err, nearside.ErrUnavailable) {
		t.Errorf("invalidate: %v", err)
	}
	server.Restart(t)
	eventually.True(t, "Redis is used again", func() bool {
		e, err := users.GetEntry(t.Context(), 1)
		if err != nil {
			t.Fatal(err)
		}
		return e.Source == nearside.SourceStore
	})
	server.Do(t, "CONFIG", "SET", "requirepass", "s3cret")
	if c, err := nearside.Open(t.Context(), server.URL(), quiet); err == nil || !strings.Contains(err.Error(), "password") {
		if err == nil {
			c.Close()
		}
		t.Errorf("a missing password: got %v", err)
	}
}

// More callers than the connection has room for, and a server that hangs: all are answered by the loader, each key loaded
// once at a time, and nobody waits for the room of others.
func TestFloodOnAHungServer(t *testing.T) {
	server := redistest.Start(t)
	c := connectWith(t, server.URL(), nearside.Options{Logger: slog.New(slog.DiscardHandler)})
	var atOnce, together atomic.Int64
	numbers := nearside.New(c, "n", nearside.Config[int, int]{Load: func(_ context.Context, k int) (int, error) {
		if k == 0 {
			if atOnce.Add(1) > 1 {
				together.Add(1)
			}
			defer atOnce.Add(-1)
		}
		return k, nil
	}})
	numbers.Get(t.Context(), 0)
	server.Pause()
	began := time.Now()
	var all sync.WaitGroup
	var slowest atomic.Int64
	for i := range 20_000 {
		all.Go(func() {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			start := time.Now()
			if v, err := numbers.Get(ctx, i%5000); v != i%5000 || err != nil {
				t.Errorf("got %d, %v", v, err)
			}
			for took := int64(time.Since(start)); ; {
				if was := slowest.Load(); took <= was || slowest.CompareAndSwap(was, took) {
					break
				}
			}
		})
	}
	all.Wait()
	t.Logf("20,000 gets took %v, the slowest %v", time.Since(began), time.Duration(slowest.Load()))
	if took := time.Since(began); took > 30*time.Second { // it takes a fraction of a second; the race detector makes seconds of it
		t.Errorf("took %v", took)
	}
	if together.Load() > 0 {
		t.Errorf("a key was loaded by several at once")
	}
}
