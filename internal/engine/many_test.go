package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

func TestGetMany(t *testing.T) {
	for _, batch := range []bool{false, true} {
		t.Run(fmt.Sprint("LoadMany=", batch), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var calls atomic.Int64
				b := open(t, func(b *bench, c *typed.Config[string, string]) {
					if batch {
						c.LoadMany = func(ctx context.Context, ks []string) (map[string]string, error) {
							calls.Add(1)
							out := map[string]string{}
							for _, k := range ks {
								if v, err := b.load(ctx, k); err == nil {
									out[k] = v
								}
							}
							return out, nil
						}
					}
				})
				b.set("b", "2")
				as := b.GetMany(t.Context(), []string{"a", "x", "b", "a"})
				want(t, "a", as[0].Entry.Value, "1")
				want(t, "b", as[2].Entry.Value, "2")
				want(t, "a again", as[3].Entry.Value, "1")
				want(t, "x", errors.Is(as[1].Err, engine.ErrNotFound), true)
				want(t, "loads", b.loads.Load(), 3)
				if batch {
					want(t, "batches", calls.Load(), 1)
				}
				as = b.Entries(t.Context(), []string{"a", "b"})
				want(t, "source", as[1].Entry.Source, engine.Store)
			})
		})
	}
}

// What a batch lacks is being loaded while what it has is decoded; what does not decode is loaded behind it.
func TestGetManyLoadsWhileItDecodes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		loading, once := make(chan struct{}), sync.Once{}
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			decode := c.Decode
			c.Load = nil
			c.Decode = func(data []byte) (string, error) {
				select {
				case <-loading:
				case <-time.After(time.Second):
					t.Error("a value is decoded, and nobody loads yet")
				}
				return decode(data)
			}
			c.LoadMany = func(_ context.Context, ks []string) (map[string]string, error) {
				once.Do(func() { close(loading) })
				out := map[string]string{}
				for _, k := range ks {
					out[k] = "loaded"
				}
				return out, nil
			}
		})
		b.store.Put(t.Context(), []store.Put{
			{Key: "dead", Value: []byte("?"), TTL: time.Minute}, {Key: "there", Value: []byte(`"1"`), TTL: time.Minute},
		}, 0)
		for i, a := range b.GetMany(t.Context(), []string{"dead", "there", "cold"}) {
			want(t, "answer", a.Entry.Value, []string{"loaded", "1", "loaded"}[i])
		}
	})
}

// A loader that knows which rows failed lets the others be absent.
func TestRowErrors(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			c.LoadMany = func(context.Context, []string) (map[string]string, error) {
				return map[string]string{"a": "1"}, typed.Failures[string]{"broken": errors.New("no number")}
			}
		})
		as := b.GetMany(t.Context(), []string{"a", "broken", "absent"})
		if as[0].Err != nil || as[0].Entry.Value != "1" {
			t.Errorf("the row that is there: %+v", as[0])
		}
		if as[1].Err == nil || !strings.Contains(as[1].Err.Error(), "no number") {
			t.Errorf("the row that failed: %+v", as[1])
		}
		if !errors.Is(as[2].Err, engine.ErrNotFound) {
			t.Errorf("the row that is not there: %+v", as[2])
		}
	})
}

// Two batches that each hold what the other one wants do not wait for each other for ever.
func TestTwoBatchesCrossed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		shared := engine.NewShared(b.store, 25*time.Millisecond, time.Second, slog.New(slog.DiscardHandler))
		defer shared.Close(t.Context())
		other := typed.New(shared, b.cfg)
		b.set("b", "2")
		var wg sync.WaitGroup
		begin := time.Now()
		wg.Go(func() { b.GetMany(t.Context(), []string{"a", "b"}) })
		wg.Go(func() { other.GetMany(t.Context(), []string{"b", "a"}) })
		wg.Wait()
		want(t, "loads", b.loads.Load(), 2)
		if d := time.Since(begin); d > 3*b.delay {
			t.Errorf("took %v", d)
		}
	})
}
