package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

// A store that is away refuses in some nanoseconds, which must not look like a store that is fast.
func TestRefusalsAreNoReads(t *testing.T) {
	var away atomic.Bool
	st := memory.New(memory.Options{Refuse: func(context.Context) error {
		if away.Load() {
			return fmt.Errorf("by the test: %w", store.ErrAway)
		}
		return nil
	}})
	s := engine.NewShared(st, time.Second, time.Second, slog.New(slog.DiscardHandler))
	defer s.Close(context.Background())
	c := typed.New(s, typed.Config[int, int]{
		Policy: engine.Policy{TTL: time.Hour, LoadTimeout: time.Minute},
		Key:    func(k int) (string, error) { return fmt.Sprint("k:", k), nil },
		Load:   func(_ context.Context, k int) (int, error) { return k, nil },
		Encode: func(v int) ([]byte, error) { return []byte{byte(v)}, nil },
		Decode: func(b []byte) (int, error) { return int(b[0]), nil }, MaxValue: 10,
	})
	read := func() (reads, refused uint64) {
		before := c.Tally()
		if v, err := c.Get(t.Context(), 1); v != 1 || err != nil {
			t.Fatal(v, err)
		}
		for _, a := range c.GetMany(t.Context(), []int{1, 2}) {
			if a.Err != nil {
				t.Fatal(a.Err)
			}
		}
		after := c.Tally()
		after.Sub(&before)
		return after.Latency[tally.StoreTier].N(), after.Counts[tally.StoreError]
	}
	if reads, refused := read(); reads != 2 || refused != 0 {
		t.Errorf("%d reads and %d refusals, want 2 and 0", reads, refused)
	}
	away.Store(true)
	if reads, refused := read(); reads != 0 || refused != 3 {
		t.Errorf("away: %d reads and %d refusals, want 0 and 3", reads, refused)
	}
}
