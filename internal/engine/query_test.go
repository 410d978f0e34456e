package engine_test

import (
	"context"
	"errors"
	"log/slog"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/typed"
)

// A query that cannot be answered is its caller's error, whether the collection is cached, loaded or neither; the database is not
// asked because of it once the collection is there.
func TestBadQuery(t *testing.T) {
	s := engine.NewShared(memory.New(memory.Options{}), time.Second, time.Second, slog.New(slog.DiscardHandler))
	defer s.Close(context.Background())
	var loads atomic.Int32
	c := typed.NewCollection(s, typed.CollectionConfig[string]{
		Policy: engine.Policy{TTL: time.Minute, LoadTimeout: time.Second},
		Kind:   store.SortedSet, Key: func(k string) (string, error) { return k, nil },
		Load: func(_ context.Context, _ string, emit func(store.Element) error) error {
			loads.Add(1)
			return emit(store.Element{Member: "a", Score: 1})
		},
	})
	nan := store.Bound{Score: math.NaN()}
	for _, q := range []store.Query{{Part: store.ByScore, Min: nan}, {Part: store.Intersect}, {Part: store.ByMember, MinMember: "<", MaxMember: "+"}} {
		for range 3 {
			if v, err := c.Query(t.Context(), "board", q); !errors.Is(err, store.ErrQuery) {
				t.Errorf("%+v: %+v, %v", q, v, err)
			}
		}
	}
	if n := loads.Load(); n > 1 {
		t.Errorf("%d loads for queries without an answer", n)
	}
}
