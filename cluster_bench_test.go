package nearside_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// bareCluster is a client of a cluster with the settings that the layer uses.
func bareCluster(b *testing.B, cluster *redistest.Cluster) rueidis.Client {
	b.Helper()
	hosts := strings.TrimSuffix(strings.TrimPrefix(cluster.URL(), "redis://"), "?cluster=true")
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: strings.Split(hosts, ","), PipelineMultiplex: -1,
		AlwaysPipelining: true, MaxFlushDelay: 20 * time.Microsecond, DisableCache: true, RingScaleEachConn: 12,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

func seededCluster(b *testing.B, masters int) (*nearside.Cache[int64, profile], rueidis.Client) {
	b.Helper()
	cluster := redistest.StartCluster(b, masters, 0)
	cache := nearside.New(connectWith(b, cluster.URL(), nearside.Options{}), "user", nearside.Config[int64, profile]{
		Load: func(_ context.Context, id int64) (profile, error) { return profileOf(id), nil },
	})
	vs := make(map[int64]profile)
	for id := range int64(benchKeys) {
		vs[id] = profileOf(id)
	}
	if err := cache.SetMany(b.Context(), vs); err != nil {
		b.Fatal(err)
	}
	return cache, bareCluster(b, cluster)
}

// GetMany of 300 hits on three masters, beside pipelines of GETs to each node with the same decoding.
func BenchmarkClusterGetMany(b *testing.B) {
	cache, c := seededCluster(b, 3)
	keys, ids := make([]string, 300), make([]int64, 300)
	for i := range ids {
		ids[i], keys[i] = int64(i*7), fmt.Sprintf("user:%d", i*7)
	}
	b.Run("rueidis GETs", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			cmds := make(rueidis.Commands, len(keys))
			for i, key := range keys {
				cmds[i] = c.B().Get().Key(key).Build()
			}
			out := make(map[int64]profile, len(keys))
			for i, r := range c.DoMulti(b.Context(), cmds...) {
				data, err := r.AsBytes()
				if err != nil {
					b.Fatal(err)
				}
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
			if out, err := cache.GetMany(b.Context(), ids); len(out) != 300 || err != nil {
				b.Fatal(len(out), err)
			}
		}
	})
}

// Hits by goroutines and masters. On one machine this is what spreading costs, not what it gains.
func BenchmarkClusterHit(b *testing.B) {
	for _, masters := range []int{1, 3, 6} {
		cache, c := seededCluster(b, masters)
		for _, n := range []int{1, 8, 64, 512} {
			b.Run(fmt.Sprintf("masters=%d/rueidis/%d", masters, n), func(b *testing.B) {
				parallel(b, n, func(ctx context.Context, i int64) error {
					_, err := decode(c, ctx, "user:"+strconv.FormatInt(i%benchKeys, 10))
					return err
				})
			})
			b.Run(fmt.Sprintf("masters=%d/nearside/%d", masters, n), func(b *testing.B) {
				parallel(b, n, func(ctx context.Context, i int64) error { _, err := cache.Get(ctx, i%benchKeys); return err })
			})
		}
	}
}
