package e2e

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// All keys go at once while four clients read them ten thousand times a second: each is loaded once.
func TestLoadsAfterFlush(t *testing.T) {
	const (
		clients = 4
		readers = 50 // of each client
		keys    = 2000
		rate    = 10_000 // gets per second, of all
		loading = 2 * time.Millisecond
	)
	server := redistest.Shared(t)
	server.FlushAll(t)
	var loads, gets, failed atomic.Int64
	var rows []*nearside.Cache[int, int]
	for range clients {
		// A machine that stalls is no fault of the layer: past a budget of 25 ms it would load without a lease.
		c, err := nearside.Open(t.Context(), server.URL(), nearside.Options{Budget: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		rows = append(rows, nearside.New(c, "row", nearside.Config[int, int]{
			Load: func(_ context.Context, k int) (int, error) {
				loads.Add(1)
				time.Sleep(loading)
				return k, nil
			},
		}))
	}
	exists := []string{"EXISTS"}
	for k := range keys {
		exists = append(exists, rows[0].Key(k).String())
	}
	there := func() int {
		n, err := server.Do(t, exists...).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return int(n)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var running sync.WaitGroup
	var next atomic.Int64
	pace := func(c *nearside.Cache[int, int]) {
		// One of many readers who take turns at the keys, so that each is read by all, and soon after the others. On a
		// machine that cannot the rate falls; a queue that grows would measure the machine.
		tick := time.NewTicker(readers * clients * time.Second / rate)
		defer tick.Stop()
		for ctx.Err() == nil {
			k := int(next.Add(1)/2) % keys
			gets.Add(1)
			if v, err := c.Get(context.Background(), k); err != nil || v != k {
				failed.Add(1)
			}
			select {
			case <-ctx.Done():
			case <-tick.C:
			}
		}
	}
	began := time.Now()
	for _, c := range rows {
		for range readers {
			running.Go(func() { pace(c) })
		}
	}
	eventually.True(t, "all keys are cached", func() bool { return there() == keys })
	<-time.After(200 * time.Millisecond)
	warm := loads.Load()
	server.FlushAll(t)
	flushed := time.Now()
	eventually.True(t, "all keys are cached again", func() bool { return there() == keys })
	<-time.After(200 * time.Millisecond)
	took := time.Since(flushed)
	again := loads.Load() - warm
	cancel()
	running.Wait()
	perKey := float64(again) / keys
	t.Logf("%d keys, %d clients, %.0f gets/s: %d loads for the first time; after FLUSHALL %d in %v, %.4f per key", keys, clients,
		float64(gets.Load())/time.Since(began).Seconds(), warm, again, took.Round(time.Millisecond), perKey)
	if perKey > 1.02 {
		t.Errorf("%.4f loads per key after FLUSHALL, want at most 1.02", perKey)
	}
	if n := failed.Load(); n > 0 {
		t.Errorf("%d gets failed", n)
	}
}
