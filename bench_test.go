package nearside_test

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// profile is a value of about 500 bytes.
type profile struct {
	ID      int64    `json:"id"`
	Name    string   `json:"name"`
	Email   string   `json:"email"`
	City    string   `json:"city"`
	Tags    []string `json:"tags"`
	About   string   `json:"about"`
	Active  bool     `json:"active"`
	Balance float64  `json:"balance"`
}

func profileOf(id int64) profile {
	return profile{id, "Ada Lovelace", "ada@example.com", "London", []string{"math", "engines", "poetry"}, strings.Repeat("notes on the engine ", 17), true, 12.5}
}

const benchKeys = 10_000

// bare is rueidis with the settings that the layer uses.
func bare(b *testing.B, url string) rueidis.Client {
	b.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{strings.TrimPrefix(url, "redis://")}, ForceSingleClient: true, PipelineMultiplex: -1,
		AlwaysPipelining: true, MaxFlushDelay: 20 * time.Microsecond, DisableCache: true, RingScaleEachConn: 12,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

func seeded(b *testing.B, stale time.Duration) (*redistest.Server, *nearside.Cache[int64, profile], rueidis.Client) {
	b.Helper()
	server := redistest.Start(b)
	cache := nearside.New(connectWith(b, server.URL(), nearside.Options{}), "user", nearside.Config[int64, profile]{
		Load: func(_ context.Context, id int64) (profile, error) { return profileOf(id), nil }, Stale: stale,
	})
	vs := make(map[int64]profile)
	for id := range int64(benchKeys) {
		vs[id] = profileOf(id)
	}
	if err := cache.SetMany(b.Context(), vs); err != nil {
		b.Fatal(err)
	}
	return server, cache, bare(b, server.URL())
}

// parallel runs f in about n goroutines, each call with another number.
func parallel(b *testing.B, n int, f func(ctx context.Context, i int64) error) {
	b.Helper()
	var next atomic.Int64
	b.ReportAllocs()
	if n == 1 {
		ctx, cancel := context.WithCancel(b.Context())
		defer cancel()
		for b.Loop() {
			if err := f(ctx, next.Add(1)); err != nil {
				b.Fatal(err)
			}
		}
		return
	}
	b.SetParallelism(max(n/2, 1)) // times GOMAXPROCS, which is 2 on the machines that the figures are for
	b.RunParallel(func(pb *testing.PB) {
		ctx, cancel := context.WithCancel(b.Context()) // each has one of his own, as the requests of a server do
		defer cancel()
		for pb.Next() {
			if err := f(ctx, next.Add(1)); err != nil {
				b.Error(err)
				return
			}
		}
	})
}

func decode(c rueidis.Client, ctx context.Context, key string) (p profile, err error) {
	data, err := c.Do(ctx, c.B().Get().Key(key).Build()).AsBytes()
	if err == nil {
		err = json.Unmarshal(data, &p)
	}
	return p, err
}

// A hit on Redis, beside bare rueidis with the same decoding.
func BenchmarkRedisHit(b *testing.B) {
	_, cache, c := seeded(b, 0)
	_, staleCache, _ := seeded(b, time.Minute)
	for _, n := range []int{1, 2, 4, 8, 16, 64, 128, 512} {
		b.Run(fmt.Sprintf("rueidis/%d", n), func(b *testing.B) {
			parallel(b, n, func(ctx context.Context, i int64) error {
				_, err := decode(c, ctx, "user:"+strconv.FormatInt(i%benchKeys, 10))
				return err
			})
		})
		b.Run(fmt.Sprintf("nearside/%d", n), func(b *testing.B) {
			parallel(b, n, func(ctx context.Context, i int64) error { _, err := cache.Get(ctx, i%benchKeys); return err })
		})
		b.Run(fmt.Sprintf("nearside with a stale window/%d", n), func(b *testing.B) {
			parallel(b, n, func(ctx context.Context, i int64) error { _, err := staleCache.Get(ctx, i%benchKeys); return err })
		})
	}
}

// A miss with its fill, beside an unprotected GET and SET: by rueidis as it comes, and with the settings that the layer
// uses. The cache of the first skips the GET, since it is cold; the other one is kept warm by hits between the misses.
func BenchmarkRedisMiss(b *testing.B) {
	server, cache, c := seeded(b, 0)
	asItComes, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{server.Addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(asItComes.Close)
	var run atomic.Int64
	unprotected := func(b *testing.B, c rueidis.Client, n int) {
		base := run.Add(1) << 40
		parallel(b, n, func(ctx context.Context, i int64) error {
			key := "user:" + strconv.FormatInt(base+i, 10)
			if _, err := decode(c, ctx, key); !rueidis.IsRedisNil(err) {
				return fmt.Errorf("a miss was expected: %v", err)
			}
			data, err := json.Marshal(profileOf(base + i))
			if err != nil {
				return err
			}
			return c.Do(ctx, c.B().Set().Key(key).Value(rueidis.BinaryString(data)).Px(time.Hour).Build()).Error()
		})
	}
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("rueidis GET and SET as it comes/%d", n), func(b *testing.B) { unprotected(b, asItComes, n) })
		b.Run(fmt.Sprintf("rueidis GET and SET/%d", n), func(b *testing.B) { unprotected(b, c, n) })
		b.Run(fmt.Sprintf("nearside, straight to the claim/%d", n), func(b *testing.B) {
			base := run.Add(1) << 40
			parallel(b, n, func(ctx context.Context, i int64) error { _, err := cache.Get(ctx, base+i); return err })
		})
		b.Run(fmt.Sprintf("nearside, GET first/%d", n), func(b *testing.B) {
			base := run.Add(1) << 40
			_, warm, _ := seeded(b, 0)
			stop := make(chan struct{})
			defer close(stop)
			go func() { // hits now and then keep the cache from going straight to the claim
				for {
					select {
					case <-stop:
						return
					default:
						warm.Get(context.Background(), 1)
					}
				}
			}()
			b.ResetTimer()
			parallel(b, n, func(ctx context.Context, i int64) error { _, err := warm.Get(ctx, base+i); return err })
		})
	}
}

// GetMany of 100 hits, beside MGET with the same decoding.
func BenchmarkGetMany(b *testing.B) {
	_, cache, c := seeded(b, 0)
	keys, ids := make([]string, 100), make([]int64, 100)
	for i := range ids {
		ids[i], keys[i] = int64(i*7), fmt.Sprintf("user:%d", i*7)
	}
	b.Run("rueidis MGET", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			values, err := c.Do(b.Context(), c.B().Mget().Key(keys...).Build()).ToArray()
			if err != nil {
				b.Fatal(err)
			}
			out := make(map[int64]profile, len(values))
			for i := range values {
				data, _ := values[i].AsBytes()
				var p profile
				if err := json.Unmarshal(data, &p); err != nil {
					b.Fatal(err)
				}
				out[ids[i]] = p
			}
		}
	})
	b.Run("nearside", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if out, err := cache.GetMany(b.Context(), ids); len(out) != 100 || err != nil {
				b.Fatal(len(out), err)
			}
		}
	})
}

// A write through the cache: the intent, a write that takes no time, and its end.
func BenchmarkUpdate(b *testing.B) {
	_, cache, _ := seeded(b, 0)
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			parallel(b, n, func(ctx context.Context, i int64) error {
				_, err := cache.Update(ctx, i%benchKeys, func(context.Context) (profile, error) { return profileOf(i % benchKeys), nil })
				return err
			})
		})
	}
}

// A hit on the memory store, beside the decoding alone.
func BenchmarkMemoryHit(b *testing.B) {
	cache := nearside.New(connectWith(b, "memory:", nearside.Options{}), "user", nearside.Config[int64, profile]{
		Load: func(_ context.Context, id int64) (profile, error) { return profileOf(id), nil },
	})
	data, _ := json.Marshal(profileOf(1))
	b.Run("decode alone", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			var p profile
			if err := json.Unmarshal(data, &p); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("nearside", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := cache.Get(b.Context(), 1); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// A Get while Redis is away, beside the loader alone. The breaker is open: what is left is one load at a time for each key.
func BenchmarkRedisAway(b *testing.B) {
	server := redistest.Start(b)
	load := func(_ context.Context, id int64) (profile, error) { return profile{ID: id}, nil }
	client := connectWith(b, server.URL(), nearside.Options{Logger: slog.New(slog.DiscardHandler)})
	cache := nearside.New(client, "user", nearside.Config[int64, profile]{Load: load})
	server.Kill()
	for range 1000 {
		cache.Get(b.Context(), 1)
	}
	if err := client.Ping(b.Context()); err == nil || !strings.Contains(err.Error(), "not asked") {
		b.Fatalf("the breaker is not open: %v", err)
	}
	for _, n := range []int{1, 64} {
		b.Run(fmt.Sprintf("loader alone/%d", n), func(b *testing.B) {
			parallel(b, n, func(ctx context.Context, i int64) error { _, err := load(ctx, i%benchKeys); return err })
		})
		b.Run(fmt.Sprintf("nearside/%d", n), func(b *testing.B) {
			parallel(b, n, func(ctx context.Context, i int64) error { _, err := cache.Get(ctx, i%benchKeys); return err })
		})
	}
	// What is added is the difference: the clock alone takes 50 ns.
	percentiles := func(get func(context.Context, int64) (profile, error)) func(*testing.B) {
		return func(b *testing.B) {
			var took []time.Duration
			ctx, cancel := context.WithCancel(b.Context())
			defer cancel()
			for i := int64(0); b.Loop(); i++ {
				began := time.Now()
				if _, err := get(ctx, i%benchKeys); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(began))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)/2]), "p50-ns")
			b.ReportMetric(float64(took[len(took)*99/100]), "p99-ns")
		}
	}
	b.Run("percentiles/loader alone", percentiles(load))
	b.Run("percentiles/nearside", percentiles(cache.Get))
}
