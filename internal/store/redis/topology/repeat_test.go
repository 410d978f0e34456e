package topology

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// After others serve some slots, what was sent to these is repeated: until it is done, and once more a little later.
func TestRepeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		var goroutines sync.WaitGroup
		var mu sync.Mutex
		type call struct {
			at   time.Duration
			key  string
			hold time.Duration
		}
		var invalidated, released []call
		refuse := 1
		r := &Repeater{
			Ctx: t.Context(), Goroutines: &goroutines, Logger: slog.New(slog.DiscardHandler), Unmended: func() bool { return true },
			Invalidate: func(_ context.Context, keys []string, hold time.Duration) []store.Outcome {
				mu.Lock()
				defer mu.Unlock()
				out := make([]store.Outcome, len(keys))
				for i, key := range keys {
					invalidated = append(invalidated, call{time.Since(began), key, hold})
					if refuse > 0 {
						refuse--
						out[i].Err = errors.New("no")
					}
				}
				return out
			},
			Release: func(_ context.Context, leases []store.Lease) []store.Outcome {
				mu.Lock()
				defer mu.Unlock()
				for _, l := range leases {
					released = append(released, call{time.Since(began), l.Key + " " + l.Token, 0})
				}
				return make([]store.Outcome, len(leases))
			},
		}
		for _, hold := range []time.Duration{time.Second, 2 * time.Second, 0} {
			r.Invalidated.Add(1, func(int) Touched { return Touched{Key: "a", Hold: hold} })
		}
		r.Invalidated.Add(1, func(int) Touched { return Touched{Key: "b"} })
		r.Ended.Add(2, func(i int) Touched { return Touched{Key: []string{"a", "b"}[i], Token: "t1"} })
		r.Repeat([]Span{{First: Slot("a"), Last: Slot("a")}})
		goroutines.Wait()
		const refused = 100 * time.Millisecond
		if want := []call{{0, "a", 2 * time.Second}, {refused, "a", 2 * time.Second}, {refused + againIn, "a", 2 * time.Second}}; !slices.Equal(invalidated, want) {
			t.Errorf("invalidated %v, want %v", invalidated, want)
		}
		if want := []call{{refused, "a t1", 0}, {refused + againIn, "a t1", 0}}; !slices.Equal(released, want) {
			t.Errorf("released %v, want %v", released, want)
		}
		r.Prune(time.Now().Add(recentFor))
		if list, _ := r.Invalidated.in(allSlots); len(list) > 0 {
			t.Errorf("%v is remembered", list)
		}
	})
}

func TestChanges(t *testing.T) {
	a, b, unknown := Node{"a:1", "run1"}, Node{"b:1", "run2"}, Node{"c:1", ""}
	before := []Span{{0, 99, a}, {100, Slots - 1, b}}
	for name, c := range map[string]struct{ now, want []Span }{
		"nothing":           {before, nil},
		"slots moved":       {[]Span{{0, 49, a}, {50, Slots - 1, b}}, []Span{{50, 99, b}}},
		"another process":   {[]Span{{0, 99, Node{"a:1", "run9"}}, {100, Slots - 1, b}}, []Span{{0, 99, Node{"a:1", "run9"}}}},
		"one is not known":  {[]Span{{0, 99, unknown}, {100, Slots - 1, b}}, nil},
		"one has all of it": {[]Span{{0, Slots - 1, b}}, []Span{{0, 99, b}}},
	} {
		if got := Changes(before, c.now); !slices.Equal(got, c.want) {
			t.Errorf("%s: got %v, want %v", name, got, c.want)
		}
		if whole := Complete(c.now); whole != (name != "one is not known") {
			t.Errorf("%s: complete %v", name, whole)
		}
	}
}
