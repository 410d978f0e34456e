package layer

import (
	"context"
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

func newRueidis(tuned, near bool) func(Options) (Layer, error) {
	return func(o Options) (Layer, error) {
		option := rueidis.ClientOption{InitAddress: []string{o.Redis}, DisableCache: !near}
		if tuned {
			option.PipelineMultiplex, option.AlwaysPipelining, option.MaxFlushDelay = -1, true, 20*time.Microsecond
		}
		c, err := rueidis.NewClient(option)
		return &bare{o, c, near}, err
	}
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
	return v, l.set(ctx, []Item{v})
}

func (l *bare) set(ctx context.Context, vs []Item) error {
	cmds := make(rueidis.Commands, len(vs))
	for i, v := range vs {
		data, err := encode(v)
		if err != nil {
			return err
		}
		cmds[i] = l.c.B().Set().Key(Key(v.ID)).Value(rueidis.BinaryString(data)).Px(l.TTL).Build()
	}
	for _, r := range l.c.DoMulti(ctx, cmds...) {
		if err := r.Error(); err != nil {
			return err
		}
	}
	return nil
}

func (l *bare) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	keys := make([]string, len(ids))
	for i, id := range ids {
		keys[i] = Key(id)
	}
	out := make(map[int]Item, len(ids))
	var missing []int
	take := func(i int, m rueidis.RedisMessage) error {
		data, err := m.AsBytes()
		if rueidis.IsRedisNil(err) {
			missing = append(missing, ids[i])
			return nil
		}
		if err == nil {
			out[ids[i]], err = decode(data)
		}
		return err
	}
	if l.near {
		found, err := rueidis.MGetCache(l.c, ctx, l.TTL, keys)
		if err != nil {
			return nil, err
		}
		for i, key := range keys {
			if err := take(i, found[key]); err != nil {
				return nil, err
			}
		}
	} else {
		found, err := l.c.Do(ctx, l.c.B().Mget().Key(keys...).Build()).ToArray()
		if err != nil {
			return nil, err
		}
		for i := range found {
			if err := take(i, found[i]); err != nil {
				return nil, err
			}
		}
	}
	if len(missing) == 0 {
		return out, nil
	}
	loaded, err := l.LoadMany(ctx, missing)
	if err != nil {
		return nil, err
	}
	vs := make([]Item, 0, len(loaded))
	for id, v := range loaded {
		out[id] = v
		vs = append(vs, v)
	}
	return out, l.set(ctx, vs)
}

func (l *bare) Changed(ctx context.Context, id int) error {
	return l.c.Do(ctx, l.c.B().Del().Key(Key(id)).Build()).Error()
}

func (l *bare) Close() { l.c.Close() }

type aside struct {
	Options
	c rueidisaside.TypedCacheAsideClient[Item]
}

func newAside(o Options) (Layer, error) {
	c, err := rueidisaside.NewClient(rueidisaside.ClientOption{ClientOption: rueidis.ClientOption{InitAddress: []string{o.Redis}}})
	if err != nil {
		return nil, err
	}
	typed := rueidisaside.NewTypedCacheAsideClient(c,
		func(v *Item) (string, error) { data, err := encode(*v); return rueidis.BinaryString(data), err },
		func(s string) (*Item, error) { v, err := decode([]byte(s)); return &v, err })
	return &aside{o, typed}, nil
}

func (l *aside) Get(ctx context.Context, id int) (Item, error) {
	v, err := l.c.Get(ctx, l.TTL, Key(id), func(ctx context.Context, _ string) (*Item, error) {
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
func (l *aside) Close()                                    { l.c.Client().Client().Close() }
