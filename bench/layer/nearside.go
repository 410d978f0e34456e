package layer

import (
	"context"
	"strings"
	"time"

	"github.com/nearside/nearside"
)

type ours struct {
	client *nearside.Client
	cache  *nearside.Cache[int, Item]
}

func newNearside(near bool) func(Options) (Layer, error) {
	return func(o Options) (Layer, error) {
		url := "memory:"
		if len(o.Redis) > 0 {
			url = "redis://" + strings.Join(o.Redis, ",")
		}
		if o.Cluster {
			url += "?cluster=true"
		}
		if o.Budget == 0 {
			o.Budget = 50 * time.Millisecond
		}
		client, err := nearside.Open(context.Background(), url, nearside.Options{RequireRedis: true, Budget: o.Budget})
		if err != nil {
			return nil, err
		}
		if !near {
			o.Near = 0
		}
		return &ours{client, nearside.New(client, "item", nearside.Config[int, Item]{
			Load: o.Load, LoadMany: o.LoadMany, TTL: o.TTL, NearSize: o.Near, Codec: o.Codec,
		})}, nil
	}
}

func (l *ours) Get(ctx context.Context, id int) (Item, error) { return l.cache.Get(ctx, id) }

func (l *ours) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	return l.cache.GetMany(ctx, ids)
}

func (l *ours) Changed(ctx context.Context, id int) error { return l.cache.Invalidate(ctx, id) }
func (l *ours) Close()                                    { _ = l.client.Close() }

func (l *ours) Tiers() (near, store, loads uint64) {
	s := l.cache.Stats()
	return s.Near, s.Store + s.Stale + s.Negative, s.Loads
}

func (l *ours) PastRedis() uint64 {
	s := l.cache.Stats()
	return s.StoreErrors + s.Unfilled
}
