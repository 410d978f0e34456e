package engine_test

import (
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/typed"
)

// chunks measures what a load sends at once.
type chunks struct {
	store.Store
	sent, largest int // chunks; bytes of one
}

func (c *chunks) Chunk(ctx context.Context, chunk store.Chunk) store.Outcome {
	n := 0
	for _, e := range chunk.Elements {
		n += len(e.Member)
	}
	c.sent, c.largest = c.sent+1, max(c.largest, n)
	return c.Store.Chunk(ctx, chunk)
}

// Elements that are large are sent before they are many.
func TestChunksAreBoundedInBytes(t *testing.T) {
	m := &chunks{Store: memory.New(memory.Options{MaxBytes: 1 << 30})}
	s := engine.NewShared(m, time.Second, time.Second, slog.New(slog.DiscardHandler))
	defer s.Close(context.Background())
	text := strings.Repeat("x", 100<<10)
	c := typed.NewCollection(s, typed.CollectionConfig[string]{
		Policy: engine.Policy{LoadTimeout: time.Minute, TTL: time.Hour},
		Kind:   store.List, Key: func(k string) (string, error) { return k, nil },
		Load: func(_ context.Context, _ string, emit func(store.Element) error) error {
			for i := range 100 {
				if err := emit(store.Element{Member: fmt.Sprint(i, text)}); err != nil {
					return err
				}
			}
			return nil
		},
	})
	v, err := c.Query(t.Context(), "a", store.Query{Part: store.Size})
	if err != nil || v.N != 100 {
		t.Fatal(v.N, err)
	}
	if m.sent < 9 || m.largest > 1<<20+len(text)+2 {
		t.Errorf("10 MB went in %d chunks, the largest of %d bytes", m.sent, m.largest)
	}
}
