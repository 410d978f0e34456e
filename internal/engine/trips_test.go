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
	"github.com/nearside/nearside/internal/typed"
)

// trips counts what is sent about collections.
type trips struct {
	store.Store
	looks, claims, chunks, fills atomic.Int64
}

func (s *trips) Query(ctx context.Context, qs []store.Query) []store.View {
	s.looks.Add(1)
	return s.Store.Query(ctx, qs)
}

func (s *trips) Acquire(ctx context.Context, cs []store.Claim) []store.Grant {
	s.claims.Add(1)
	return s.Store.Acquire(ctx, cs)
}

func (s *trips) Chunk(ctx context.Context, c store.Chunk) store.Outcome {
	s.chunks.Add(1)
	return s.Store.Chunk(ctx, c)
}

func (s *trips) Fill(ctx context.Context, fs []store.Fill) []store.Outcome {
	s.fills.Add(1)
	return s.Store.Fill(ctx, fs)
}

// said returns what was sent since it was last called.
func (s *trips) said() string {
	return fmt.Sprintf("%d looks, %d claims, %d chunks, %d fills", s.looks.Swap(0), s.claims.Swap(0), s.chunks.Swap(0), s.fills.Swap(0))
}

// What a collection costs in trips: the only chunk, or the last one, comes with the fill, and a cache that has found nothing for a
// while begins with the claim.
func TestTripsOfACollection(t *testing.T) {
	for _, kind := range []store.Kind{store.List, store.Set, store.SortedSet, store.Hash} {
		t.Run(string(kind), func(t *testing.T) {
			m := &trips{Store: memory.New(memory.Options{})}
			s := engine.NewShared(m, time.Second, time.Second, slog.New(slog.DiscardHandler))
			defer s.Close(context.Background())
			c := typed.NewCollection(s, typed.CollectionConfig[int]{
				Policy: engine.Policy{LoadTimeout: time.Minute, NotFoundTTL: time.Hour, TTL: time.Hour},
				Kind:   kind, Key: func(n int) (string, error) { return fmt.Sprint(n), nil },
				Load: func(_ context.Context, n int, emit func(store.Element) error) error { // as many elements as the key says
					for i := range n {
						if err := emit(store.Element{Member: fmt.Sprint(i)}); err != nil {
							return err
						}
					}
					return nil
				},
			})
			read := func(n int, want string) {
				t.Helper()
				v, err := c.Query(t.Context(), n, store.Query{Part: store.Size})
				if err != nil || v.N != int64(n) {
					t.Errorf("%d elements: found %d, %v", n, v.N, err)
				}
				if got := m.said(); got != want {
					t.Errorf("%d elements: %s; want %s", n, got, want)
				}
			}
			read(3, "1 looks, 1 claims, 0 chunks, 1 fills")
			read(3, "1 looks, 0 claims, 0 chunks, 0 fills")
			read(store.MaxChunk-1, "1 looks, 1 claims, 0 chunks, 1 fills")
			read(store.MaxChunk, "1 looks, 1 claims, 1 chunks, 1 fills")
			read(store.MaxChunk+1, "1 looks, 1 claims, 1 chunks, 1 fills")
			read(0, "1 looks, 1 claims, 0 chunks, 1 fills")
			for n := 10; n < 14; n++ {
				read(n, "1 looks, 1 claims, 0 chunks, 1 fills")
			}
			read(14, "0 looks, 1 claims, 0 chunks, 1 fills") // eight have found nothing
			read(0, "0 looks, 1 claims, 0 chunks, 0 fills")  // what is known to be empty is told by the claim
			read(3, "1 looks, 1 claims, 0 chunks, 0 fills")  // found by the claim
			read(3, "1 looks, 0 claims, 0 chunks, 0 fills")
			read(15, "1 looks, 1 claims, 0 chunks, 1 fills")
		})
	}
}
