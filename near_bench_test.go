package nearside_test

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/maypok86/otter/v2"

	"github.com/nearside/nearside"
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
	client := connectWith(b, "memory:", nearside.Options{})
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
