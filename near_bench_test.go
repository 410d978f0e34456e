package nearside_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// A near hit beside a bare otter, Zipf over 10,000 keys.
func BenchmarkNearHit(b *testing.B) {
	rng := rand.New(rand.NewPCG(1, 2))
	zipf := rand.NewZipf(rng, 1.01, 1, benchKeys-1)
	ids := make([]int64, 1<<16)
	for i := range ids {
		ids[i] = int64(zipf.Uint64())
	}
	bare := otter.Must(&otter.Options[int64, profile]{MaximumSize: benchKeys * 2})
	client := connectWith(b, "memory:", nil)
	cache := nearside.New(client, "user", nearside.Config[int64, profile]{
		Load: func(_ context.Context, id int64) (profile, error) { return profileOf(id), nil }, NearSize: 2 * benchKeys,
	})
	for client.Stats(b.Context()).Caches["user"].NearEntries < benchKeys {
		for id := range int64(benchKeys) {
			bare.Set(id, profileOf(id))
			if _, err := cache.Get(b.Context(), id); err != nil {
				b.Fatal(err)
			}
		}
	}
	b.Run("otter", func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(ids)); pb.Next(); i++ {
				if p, ok := bare.GetIfPresent(ids[i%len(ids)]); !ok || p.ID != ids[i%len(ids)] {
					b.Error("not there")
				}
			}
		})
	})
	b.Run("nearside", func(b *testing.B) {
		b.ReportAllocs()
		ctx := b.Context()
		b.RunParallel(func(pb *testing.PB) {
			for i := rand.IntN(len(ids)); pb.Next(); i++ {
				if p, err := cache.Get(ctx, ids[i%len(ids)]); err != nil || p.ID != ids[i%len(ids)] {
					b.Error(err)
				}
			}
		})
	})
}

// How long another process serves the old value after a write has returned: the time until the push has arrived.
func BenchmarkNearPush(b *testing.B) {
	server := redistest.Start(b)
	open := func() *nearside.Cache[int64, int64] {
		return nearside.New(connectWith(b, server.URL(), nil), "row", nearside.Config[int64, int64]{
			Load: func(context.Context, int64) (int64, error) { return 0, nil }, NearSize: 100,
		})
	}
	writer, reader := open(), open()
	near := func(want int64) time.Time {
		for {
			if e, err := reader.GetEntry(b.Context(), 1); err != nil {
				b.Fatal(err)
			} else if e.Value == want {
				return time.Now()
			}
		}
	}
	var delays []time.Duration
	for n := int64(1); b.Loop(); n++ {
		for {
			if e, _ := reader.GetEntry(b.Context(), 1); e.Source == nearside.SourceNear {
				break
			}
		}
		if err := writer.Set(b.Context(), 1, n); err != nil {
			b.Fatal(err)
		}
		written := time.Now()
		delays = append(delays, near(n).Sub(written))
	}
	slices.Sort(delays)
	b.ReportMetric(float64(delays[len(delays)/2].Microseconds()), "µs-p50")
	b.ReportMetric(float64(delays[len(delays)*99/100].Microseconds()), "µs-p99")
	b.ReportMetric(float64(delays[len(delays)-1].Microseconds()), "µs-max")
}
