package layer

import (
	"context"
	"math/bits"
	"runtime"
	"time"

	"github.com/redis/rueidis"
	"github.com/redis/rueidis/rueidisaside"
)

// bare is rueidis with the least around it: GET, and on a miss the loader and SET.
type bare struct {
	Options
	c    rueidis.Client
	near bool
}

// cacheSize is the size of the client-side cache of each connection that keeps so many entries of ours, whose slots spread them
// evenly; zero leaves the default of 128 MiB.
func cacheSize(entries, connections int) int {
	const weight = 1200 // of an entry, as rueidis counts
	return entries * weight / connections
}

// multiplexed is how many connections rueidis makes by itself.
func multiplexed() int { return 1 << min(bits.Len(uint(runtime.GOMAXPROCS(0)))-1, 2) }

func newBare(o Options, tuned, near bool) (*bare, error) {
	option := rueidis.ClientOption{InitAddress: o.Redis, DisableCache: !near}
	if near {
		option.CacheSizeEachConn = cacheSize(o.Near, multiplexed())
	}
	if tuned {
		option.PipelineMultiplex, option.AlwaysPipelining, option.MaxFlushDelay = -1, true, 20*time.Microsecond
	}
	c, err := rueidis.NewClient(option)
	return &bare{o, c, near}, err
}

func newRueidis(tuned, near bool) func(Options) (Layer, error) {
	return func(o Options) (Layer, error) { return newBare(o, tuned, near) }
}

func (l *bare) Get(ctx context.Context, id int) (Item, error) {
	var r rueidis.RedisResult
	if l.near {
		r = l.c.DoCache(ctx, l.c.B().Get().Key(Key(id)).Cache(), l.TTL)
	} else {
		r = l.c.Do(ctx, l.c.B().Get().Key(Key(id)).Build())
	}
	data, err := r.AsBytes()
	if err == nil {
		return decode(data)
	}
	if !rueidis.IsRedisNil(err) {
		return Item{}, err
	}
	v, err := l.Load(ctx, id)
	if err != nil {
		return v, err
	}
	if data, err = encode(v); err != nil {
		return v, err
	}
	return v, l.c.Do(ctx, l.setCommand(Key(id), data)).Error()
}

func (l *bare) setCommand(key string, data []byte) rueidis.Completed {
	return l.c.B().Set().Key(key).Value(rueidis.BinaryString(data)).Px(l.TTL).Build()
}

func (l *bare) set(ctx context.Context, values map[string][]byte) error {
	cmds := make(rueidis.Commands, 0, len(values))
	for key, data := range values {
		cmds = append(cmds, l.setCommand(key, data))
	}
	for _, r := range l.c.DoMulti(ctx, cmds...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

// mget is MGET, in a cluster as well.
func (l *bare) mget(ctx context.Context, ks []string) (map[string]rueidis.RedisMessage, error) {
	if l.near {
		return rueidis.MGetCache(l.c, ctx, l.TTL, ks)
	}
	return rueidis.MGet(l.c, ctx, ks)
}

func (l *bare) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	found, err := l.mget(ctx, keys(ids))
	if err != nil {
		return nil, err
	}
	out := make(map[int]Item, len(ids))
	var missing []int
	for _, id := range ids {
		m := found[Key(id)]
		data, err := m.AsBytes()
		if rueidis.IsRedisNil(err) {
			missing = append(missing, id)
			continue
		}
		if err == nil {
			out[id], err = decode(data)
		}
		if err != nil {
			return nil, err
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	values, err := fill(ctx, l.Options, missing, out)
	if err != nil {
		return nil, err
	}
	return out, l.set(ctx, values)
}

func (l *bare) Changed(ctx context.Context, id int) error {
	return l.c.Do(ctx, l.c.B().Del().Key(Key(id)).Build()).Error()
}

func (l *bare) Close() { l.c.Close() }

// aside is rueidisaside, which reads through client-side caching.
type aside struct {
	Options
	c     rueidisaside.CacheAsideClient
	typed rueidisaside.TypedCacheAsideClient[Item]
}

func newAside(o Options) (Layer, error) {
	c, err := rueidisaside.NewClient(rueidisaside.ClientOption{ClientOption: rueidis.ClientOption{
		InitAddress: o.Redis, CacheSizeEachConn: cacheSize(o.Near, 1),
	}})
	if err != nil {
		return nil, err
	}
	typed := rueidisaside.NewTypedCacheAsideClient(c,
		func(v *Item) (string, error) { data, err := encode(*v); return rueidis.BinaryString(data), err },
		func(s string) (*Item, error) { v, err := decode([]byte(s)); return &v, err })
	return &aside{o, c, typed}, nil
}

func (l *aside) Get(ctx context.Context, id int) (Item, error) {
	v, err := l.typed.Get(ctx, l.TTL, Key(id), func(ctx context.Context, _ string) (*Item, error) {
		v, err := l.Load(ctx, id)
		return &v, err
	})
	if err != nil {
		return Item{}, err
	}
	return *v, nil
}

func (l *aside) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	return each(ctx, l, ids)
}
func (l *aside) Changed(ctx context.Context, id int) error { return l.c.Del(ctx, Key(id)) }
func (l *aside) Close()                                    { l.c.Close() }
