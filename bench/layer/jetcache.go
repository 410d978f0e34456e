package layer

import (
	"context"
	"fmt"

	"github.com/mgtv-tech/jetcache-go"
	"github.com/mgtv-tech/jetcache-go/encoding/json"
	"github.com/mgtv-tech/jetcache-go/local"
	"github.com/mgtv-tech/jetcache-go/remote"
	"github.com/redis/go-redis/v9"
)

type jet struct {
	Options
	client *redis.Client
	cache  cache.Cache
	typed  *cache.T[int, Item]
}

func newJetcache(near bool) func(Options) (Layer, error) {
	return func(o Options) (Layer, error) {
		client := goRedisClient(o, nil)
		options := []cache.Option{
			cache.WithName("bench"), cache.WithRemote(remote.NewGoRedisV9Adapter(client)), cache.WithCodec(json.Name),
			cache.WithRemoteExpiry(o.TTL), cache.WithStatsDisabled(true), // they are log lines
		}
		if near && o.Near > 0 {
			const cost = 57 // of an entry: 1, and what ristretto adds to it
			options = append(options, cache.WithLocal(local.NewTinyLFU(o.Near*cost, o.TTL)))
		}
		c := cache.New(options...)
		return &jet{o, client, c, cache.NewT[int, Item](c)}, nil
	}
}

func (l *jet) Get(ctx context.Context, id int) (Item, error) {
	return l.typed.Get(ctx, "item", id, l.Load)
}

func (l *jet) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	out := l.typed.MGet(ctx, "item", ids, l.LoadMany)
	if len(out) < len(ids) { // it has no other way to tell of an error
		return out, fmt.Errorf("%d of %d", len(out), len(ids))
	}
	return out, nil
}

func (l *jet) Changed(ctx context.Context, id int) error { return l.cache.Delete(ctx, Key(id)) }

func (l *jet) Close() {
	l.cache.Close()
	_ = l.client.Close()
}
