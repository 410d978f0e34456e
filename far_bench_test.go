package nearside_test

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/faultproxy"
	"github.com/nearside/nearside/internal/redistest"
)

// Reads of a Redis that is far away: its answers are late by 0 to 60 ms. Eight goroutines read 200 keys in turns; every
// tenth read is of a new key. It reports the loads for each new key, and for each read of a key that has been loaded
// before, with the latency of both kinds of reads.
func BenchmarkFarRedis(b *testing.B) {
	for _, late := range []time.Duration{0, 5 * time.Millisecond, 15 * time.Millisecond, 30 * time.Millisecond, 60 * time.Millisecond} {
		b.Run(late.String(), func(b *testing.B) {
			server := redistest.Start(b)
			proxy, err := faultproxy.Start(server.Addr)
			if err != nil {
				b.Fatal(err)
			}
			defer proxy.Close()
			proxy.Set(faultproxy.Fault{Latency: late})
			client := connectWith(b, "redis://"+proxy.Addr, nearside.Options{Logger: slog.New(slog.DiscardHandler)})
			var loads, again atomic.Int64 // of new keys; of keys that have been loaded before
			var seen sync.Map
			cache := nearside.New(client, "user", nearside.Config[int64, profile]{Load: func(_ context.Context, id int64) (profile, error) {
				if _, before := seen.LoadOrStore(id, true); before {
					again.Add(1)
				} else {
					loads.Add(1)
				}
				return profileOf(id), nil
			}})
			const known, readers = 200, 8
			for range 3 { // the layer learns how far Redis is
				for id := range int64(known) {
					if _, err := cache.Get(b.Context(), id); err != nil {
						b.Fatal(err)
					}
				}
			}
			loads.Store(0)
			again.Store(0)
			var mu sync.Mutex
			var hits, misses []time.Duration
			var next, fresh atomic.Int64
			fresh.Store(1 << 40)
			b.ResetTimer()
			var all sync.WaitGroup
			for range readers {
				all.Go(func() {
					for {
						i := next.Add(1)
						if i > int64(b.N) {
							return
						}
						id, into := i%known, &hits
						if i%10 == 0 {
							id, into = fresh.Add(1), &misses
						}
						began := time.Now()
						_, err := cache.Get(b.Context(), id)
						took := time.Since(began)
						if err != nil {
							b.Error(err)
							return
						}
						mu.Lock()
						*into = append(*into, took)
						mu.Unlock()
					}
				})
			}
			all.Wait()
			b.StopTimer()
			report := func(name string, took []time.Duration) {
				if slices.Sort(took); len(took) > 0 {
					b.ReportMetric(float64(took[len(took)/2])/1e6, name+"-p50-ms")
					b.ReportMetric(float64(took[len(took)*99/100])/1e6, name+"-p99-ms")
				}
			}
			report("hit", hits)
			report("miss", misses)
			b.ReportMetric(float64(loads.Load())/float64(max(len(misses), 1)), "loads/new-key")
			b.ReportMetric(float64(again.Load())/float64(max(len(hits), 1)), "loads/known-read")
		})
	}
}

// GetMany of up to 100,000 keys that Redis holds, and of as many that it does not hold. It reports the loads per key.
func BenchmarkGetManySizes(b *testing.B) {
	for _, n := range []int{10, 1000, 10_000, 50_000, 100_000} {
		for _, warm := range []bool{true, false} {
			name := map[bool]string{true: "warm", false: "the second read"}[warm]
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) {
				server := redistest.Start(b)
				client := connectWith(b, server.URL(), nearside.Options{Logger: slog.New(slog.DiscardHandler)})
				var loads atomic.Int64
				load := func(_ context.Context, ids []int64) (map[int64]string, error) {
					loads.Add(int64(len(ids)))
					out := make(map[int64]string, len(ids))
					for _, id := range ids {
						out[id] = strings.Repeat("x", 100)
					}
					return out, nil
				}
				cache := nearside.New(client, "user", nearside.Config[int64, string]{LoadMany: load})
				ids := make([]int64, n)
				for i := range ids {
					ids[i] = int64(i)
				}
				get := func() {
					if out, err := cache.GetMany(b.Context(), ids); err != nil || len(out) != n {
						b.Fatal(len(out), err)
					}
				}
				if warm { // in pieces that every version stores
					values := make(map[int64]string)
					for i, id := range ids {
						if values[id] = strings.Repeat("x", 100); len(values) == 500 || i == n-1 {
							if err := cache.SetMany(b.Context(), values); err != nil {
								b.Fatal(err)
							}
							clear(values)
						}
					}
				} else {
					get()
				}
				loads.Store(0)
				b.ResetTimer()
				for range b.N {
					get()
				}
				b.ReportMetric(float64(loads.Load())/float64(b.N)/float64(n), "loads/key")
			})
		}
	}
}
