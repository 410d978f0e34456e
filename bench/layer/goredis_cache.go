package layer

import (
	"context"

	"github.com/go-redis/cache/v9"
	"github.com/redis/go-redis/v9"
)

// once is go-redis/cache.
type once struct {
	Options
	client *redis.Client
	cache  *cache.Cache
}

func newGoRedisCache(near bool) func(Options) (Layer, error) {
	return func(o Options) (Layer, error) {
		client := goRedisClient(o, nil)
		option := &cache.Options{
			Redis:   client,
			Marshal: func(v any) ([]byte, error) { return encode(v.(Item)) }, Unmarshal: decodeAny,
		}
		if near && o.Near > 0 {
			option.LocalCache = cache.NewTinyLFU(o.Near, o.TTL)
		}
		return &once{o, client, cache.New(option)}, nil
	}
}

func (l *once) Get(ctx context.Context, id int) (v Item, err error) {
	err = l.cache.Once(&cache.Item{
		Ctx: ctx, Key: Key(id), Value: &v, TTL: l.TTL,
		Do: func(*cache.Item) (any, error) { return l.Load(ctx, id) },
	})
	return v, err
}

func (l *once) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	return each(ctx, l, ids)
}
func (l *once) Changed(ctx context.Context, id int) error { return l.cache.Delete(ctx, Key(id)) }
func (l *once) Close()                                    { _ = l.client.Close() }
