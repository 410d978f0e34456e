package engine

import (
	"context"
	"fmt"
	"log/slog"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/store/memory"
)

// A queued batch all of whose callers leave, while another caller comes for one of its keys: that key alone is loaded, and
// it is given its own row. The new caller comes between the last that leaves and the batch, which is waiting to run.
func TestBatchThatIsLeftInPart(t *testing.T) {
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1)) // so that the batch does not run in between
	for _, last := range []string{"a", "b", "c"} {
		t.Run(last, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := NewShared(memory.New(memory.Options{}), time.Second, time.Second, slog.New(slog.DiscardHandler))
				defer s.Close(context.Background())
				var asked []string
				c := New(s, Config{
					Policy: Policy{LoadTimeout: time.Minute, MaxLoads: 1},
					LoadMany: func(_ context.Context, ks []Key, found []Loaded) {
						for i, k := range ks {
							asked = append(asked, k.Text)
							found[i].Value = "row of " + k.Text
						}
					},
					Encode: func(v any) ([]byte, error) { return []byte(v.(string)), nil }, Decode: func(b []byte) (any, error) { return string(b), nil },
					MaxValue: 100,
				})
				if !c.places.try() { // another load has the place
					t.Fatal("there is no place")
				}
				var js jobs
				var callers []interface{ Leave() }
				for _, k := range []string{"a", "b", "c"} {
					ticket, call := c.flights.Join(k)
					callers = append(callers, ticket)
					js = append(js, &job{key: k, ctx: t.Context(), call: call})
				}
				var all sync.WaitGroup
				all.Go(func() { c.run(js) })
				synctest.Wait()
				for _, caller := range callers {
					caller.Leave()
				}
				ticket, call := c.flights.Join(last)
				if call != nil {
					t.Fatal("the batch was abandoned before: nothing is tested")
				}
				synctest.Wait()
				c.places.leave()
				r, err := ticket.Wait(t.Context())
				if err != nil || r.err != nil || r.entry.Value != "row of "+last {
					t.Errorf("got %+v, %v", r, err)
				}
				all.Wait()
				if fmt.Sprint(asked) != fmt.Sprint([]string{last}) {
					t.Errorf("loaded %v, want %s alone", asked, last)
				}
			})
		})
	}
}
