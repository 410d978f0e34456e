package typed

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store/memory"
)

// What counting costs a hit in the process, beside the tier without it and a bare otter. They take turns in short slices, of
// which the fastest ones are compared: so it is right on a busy machine too.
func BenchmarkCounting(b *testing.B) {
	const keys = 10_000
	s := engine.NewShared(memory.New(memory.Options{}), time.Second, time.Second, slog.New(slog.DiscardHandler))
	defer s.Close(context.Background())
	c := New(s, Config[int64, [4]int64]{
		Key:    func(k int64) (string, error) { return "row:" + strconv.FormatInt(k, 10), nil },
		Load:   func(_ context.Context, k int64) ([4]int64, error) { return [4]int64{k}, nil },
		Encode: func(v [4]int64) ([]byte, error) { return []byte{byte(v[0]), byte(v[0] >> 8)}, nil },
		Decode: func(p []byte) ([4]int64, error) { return [4]int64{int64(p[0]) | int64(p[1])<<8}, nil },
		Policy: engine.Policy{LoadTimeout: time.Second}, MaxValue: 1 << 20,
		Parse: func(text string) (int64, bool) {
			k, err := strconv.ParseInt(text[len("row:"):], 10, 64)
			return k, err == nil
		},
		Near: NearConfig[[4]int64]{Size: 2 * keys, Max: time.Hour},
	})
	bare := otter.Must(&otter.Options[int64, [4]int64]{MaximumSize: 2 * keys})
	ctx := context.Background()
	for k := range int64(keys) {
		bare.Set(k, [4]int64{k})
		for until := time.Now().Add(10 * time.Second); ; {
			if _, ok := c.near.Get(k); ok {
				break
			}
			if _, err := c.Get(ctx, k); err != nil || time.Now().After(until) {
				b.Fatal("nothing is kept near: ", err)
			}
		}
	}
	zipf := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, keys-1)
	ids := make([]int64, 1<<14)
	for i := range ids {
		ids[i] = int64(zipf.Uint64())
	}
	var sum int64
	ways := []struct {
		name string
		read func()
		took []float64
	}{
		{name: "otter", read: func() {
			for _, k := range ids {
				v, _ := bare.GetIfPresent(k)
				sum += v[0]
			}
		}},
		{name: "tier", read: func() {
			for _, k := range ids {
				e, _ := c.near.Get(k)
				sum += e.Value.(*[4]int64)[0]
			}
		}},
		{name: "get", read: func() {
			for _, k := range ids {
				v, _ := c.Get(ctx, k)
				sum += v[0]
			}
		}},
	}
	for b.Loop() {
		for i := range ways {
			began := time.Now()
			ways[i].read()
			ways[i].took = append(ways[i].took, float64(time.Since(began))/float64(len(ids)))
		}
	}
	for i := range ways {
		slices.Sort(ways[i].took)
		b.ReportMetric(ways[i].took[len(ways[i].took)/10], "ns/"+ways[i].name)
	}
	b.ReportMetric(ways[2].took[len(ways[2].took)/10]-ways[1].took[len(ways[1].took)/10], "ns-counting")
}
