package layer

import (
	"context"
	"strconv"
	"strings"

	"github.com/maypok86/otter/v2"
	"github.com/redis/rueidis"
	"github.com/samber/hot"
	"github.com/viccon/sturdyc"
)

// inProcess is otter with its loader: the floor of what is kept in the process.
type inProcess struct {
	cache *otter.Cache[int, Item]
	load  otter.LoaderFunc[int, Item]
	many  otter.BulkLoaderFunc[int, Item]
}

func newOtter(o Options) (Layer, error) {
	c, err := otter.New(&otter.Options[int, Item]{MaximumSize: o.Near, ExpiryCalculator: otter.ExpiryWriting[int, Item](o.TTL)})
	if err != nil {
		return nil, err
	}
	return &inProcess{c, o.Load, o.LoadMany}, nil
}

func (l *inProcess) Get(ctx context.Context, id int) (Item, error) {
	if v, ok := l.cache.GetIfPresent(id); ok {
		return v, nil
	}
	return l.cache.Get(ctx, id, l.load)
}

func (l *inProcess) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	return l.cache.BulkGet(ctx, ids, l.many)
}

func (l *inProcess) Changed(_ context.Context, id int) error {
	l.cache.Invalidate(id)
	return nil
}
func (l *inProcess) Close() { l.cache.StopAllGoroutines() }

// hotLayer is hot, whose loader asks Redis first.
type hotLayer struct {
	*bare
	cache *hot.HotCache[int, Item]
}

func newHot(o Options) (Layer, error) {
	redis, err := newBare(o, false, false)
	if err != nil {
		return nil, err
	}
	load := func(ids []int) (map[int]Item, error) { // it is given no context
		if len(ids) == 1 {
			v, err := redis.Get(context.Background(), ids[0])
			return map[int]Item{ids[0]: v}, err
		}
		return redis.GetMany(context.Background(), ids)
	}
	cache := hot.NewHotCache[int, Item](hot.LRU, max(o.Near, 1)).WithTTL(o.TTL).WithJanitor().WithLoaders(load).Build()
	return &hotLayer{redis, cache}, nil
}

func (l *hotLayer) Get(_ context.Context, id int) (Item, error) {
	v, _, err := l.cache.Get(id)
	return v, err
}

func (l *hotLayer) GetMany(_ context.Context, ids []int) (map[int]Item, error) {
	found, _, err := l.cache.GetMany(ids)
	return found, err
}

func (l *hotLayer) Changed(ctx context.Context, id int) error {
	err := l.bare.Changed(ctx, id)
	l.cache.Delete(id)
	return err
}

func (l *hotLayer) Close() {
	l.cache.StopJanitor()
	l.bare.Close()
}

// sturdy is sturdyc with a distributed storage.
type sturdy struct {
	*bare
	cache *sturdyc.Client[Item]
}

func newSturdyc(o Options) (Layer, error) {
	redis, err := newBare(o, false, false)
	if err != nil {
		return nil, err
	}
	const shards = 10
	return &sturdy{redis, sturdyc.New[Item](max(o.Near, shards), shards, o.TTL, 10, sturdyc.WithDistributedStorage(storage{redis}))}, nil
}

func (l *sturdy) Get(ctx context.Context, id int) (Item, error) {
	return l.cache.GetOrFetch(ctx, Key(id), func(ctx context.Context) (Item, error) { return l.Load(ctx, id) })
}

func (l *sturdy) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	texts := make([]string, len(ids))
	for i, id := range ids {
		texts[i] = strconv.Itoa(id)
	}
	found, err := l.cache.GetOrFetchBatch(ctx, texts, func(id string) string { return "item:" + id },
		func(ctx context.Context, missing []string) (map[string]Item, error) {
			ids := make([]int, len(missing))
			for i, text := range missing {
				ids[i], _ = strconv.Atoi(text)
			}
			loaded, err := l.LoadMany(ctx, ids)
			out := make(map[string]Item, len(loaded))
			for id, v := range loaded {
				out[strconv.Itoa(id)] = v
			}
			return out, err
		})
	out := make(map[int]Item, len(found))
	for text, v := range found {
		id, _ := strconv.Atoi(strings.TrimPrefix(text, "item:"))
		out[id] = v
	}
	return out, err
}

func (l *sturdy) Changed(ctx context.Context, id int) error {
	err := l.bare.Changed(ctx, id)
	l.cache.Delete(Key(id))
	return err
}

// storage is what sturdyc wants to be given. It has no way to tell of an error.
type storage struct{ *bare }

func (s storage) Get(ctx context.Context, key string) ([]byte, bool) {
	data, err := s.c.Do(ctx, s.c.B().Get().Key(key).Build()).AsBytes()
	return data, err == nil
}

func (s storage) Set(ctx context.Context, key string, value []byte) {
	s.c.Do(ctx, s.setCommand(key, value))
}

func (s storage) GetBatch(ctx context.Context, ks []string) map[string][]byte {
	out := make(map[string][]byte, len(ks))
	found, _ := rueidis.MGet(s.c, ctx, ks)
	for key, m := range found {
		if data, err := m.AsBytes(); err == nil {
			out[key] = data
		}
	}
	return out
}

func (s storage) SetBatch(ctx context.Context, records map[string][]byte) { _ = s.set(ctx, records) }
