package layer

import (
	"context"

	"github.com/nearside/nearside"
)

type ours struct {
	client *nearside.Client
	cache  *nearside.Cache[int, Item]
}

func newNearside(o Options) (Layer, error) {
	url := "memory:"
	if o.Redis != "" {
		url = "redis://" + o.Redis
	}
	client, err := nearside.Open(context.Background(), url, nil)
	if err != nil {
		return nil, err
	}
	return &ours{client, nearside.New(client, "item", nearside.Config[int, Item]{
		Load: o.Load, LoadMany: o.LoadMany, TTL: o.TTL, NearSize: o.Near,
	})}, nil
}

func (l *ours) Get(ctx context.Context, id int) (Item, error) { return l.cache.Get(ctx, id) }

func (l *ours) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	return l.cache.GetMany(ctx, ids)
}

func (l *ours) Changed(ctx context.Context, id int) error { return l.cache.Invalidate(ctx, id) }
func (l *ours) Close()                                    { l.client.Close() }
