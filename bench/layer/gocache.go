package layer

import (
	"context"
	"strconv"
	"strings"
	"sync"

	"github.com/eko/gocache/lib/v4/cache"
	"github.com/eko/gocache/lib/v4/store"
	redisstore "github.com/eko/gocache/store/redis/v4"
	rueidisstore "github.com/eko/gocache/store/rueidis/v4"
	"github.com/redis/rueidis"
)

// loadable is gocache's. Its own codec is msgpack alone, so that it keeps strings here.
type loadable struct {
	Options
	cache *cache.LoadableCache[string]
	mu    sync.RWMutex // its Close makes a Get that is under way panic
	close func()
}

func newGocache(o Options) (Layer, error) {
	client := goRedisClient(o, nil)
	return newLoadable(o, redisstore.NewRedis(client), func() { _ = client.Close() }), nil
}

func newGocacheNear(o Options) (Layer, error) {
	client, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: o.Redis, CacheSizeEachConn: cacheSize(o.Near, multiplexed())})
	if err != nil {
		return nil, err
	}
	return newLoadable(o, rueidisstore.NewRueidis(client, store.WithClientSideCaching(o.TTL)), client.Close), nil
}

func newLoadable(o Options, s store.StoreInterface, closeStore func()) Layer {
	load := func(ctx context.Context, key any) (string, []store.Option, error) {
		id, err := strconv.Atoi(strings.TrimPrefix(key.(string), "item:"))
		if err != nil {
			return "", nil, err
		}
		v, err := o.Load(ctx, id)
		if err != nil {
			return "", nil, err
		}
		data, err := encode(v)
		return string(data), []store.Option{store.WithExpiration(o.TTL)}, err
	}
	return &loadable{Options: o, cache: cache.NewLoadable(load, cache.New[string](s)), close: closeStore}
}

func (l *loadable) Get(ctx context.Context, id int) (Item, error) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	text, err := l.cache.Get(ctx, Key(id))
	if err != nil {
		return Item{}, err
	}
	return decode([]byte(text))
}

func (l *loadable) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	return each(ctx, l, ids)
}
func (l *loadable) Changed(ctx context.Context, id int) error { return l.cache.Delete(ctx, Key(id)) }

func (l *loadable) Close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	_ = l.cache.Close()
	l.close()
}
