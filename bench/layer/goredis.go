package layer

import (
	"context"
	"errors"

	"github.com/redis/go-redis/v9"
)

// goRedis is go-redis with the least around it.
type goRedis struct {
	Options
	c     redis.Cmdable
	close func() error
}

func goRedisClient(o Options, set func(*redis.Options)) *redis.Client {
	option := &redis.Options{Addr: o.Redis[0]}
	if set != nil {
		set(option)
	}
	return redis.NewClient(option)
}

func newGoRedis(o Options) (Layer, error) {
	c := goRedisClient(o, nil)
	return &goRedis{o, c, c.Close}, nil
}

func newGoRedisAutoPipeline(o Options) (Layer, error) {
	c := goRedisClient(o, nil)
	p, err := c.AutoPipeline()
	if err != nil {
		_ = c.Close()
		return nil, err
	}
	return &goRedis{o, p, c.Close}, nil
}

func newGoRedisNear(o Options) (Layer, error) {
	c := goRedisClient(o, func(option *redis.Options) {
		option.Protocol = 3
		option.ClientSideCacheConfig = &redis.ClientSideCacheConfig{MaxEntries: o.Near}
	})
	return &goRedis{o, c, c.Close}, nil
}

func (l *goRedis) Get(ctx context.Context, id int) (Item, error) {
	data, err := l.c.Get(ctx, Key(id)).Bytes()
	if err == nil {
		return decode(data)
	}
	if !errors.Is(err, redis.Nil) {
		return Item{}, err
	}
	v, err := l.Load(ctx, id)
	if err != nil {
		return v, err
	}
	if data, err = encode(v); err != nil {
		return v, err
	}
	return v, l.c.Set(ctx, Key(id), data, l.TTL).Err()
}

func (l *goRedis) GetMany(ctx context.Context, ids []int) (map[int]Item, error) {
	found, err := l.c.MGet(ctx, keys(ids)...).Result()
	if err != nil {
		return nil, err
	}
	out := make(map[int]Item, len(ids))
	var missing []int
	for i, v := range found {
		text, ok := v.(string)
		if !ok {
			missing = append(missing, ids[i])
			continue
		}
		if out[ids[i]], err = decode([]byte(text)); err != nil {
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
	_, err = l.c.Pipelined(ctx, func(p redis.Pipeliner) error {
		for key, data := range values {
			p.Set(ctx, key, data, l.TTL)
		}
		return nil
	})
	return out, err
}

func (l *goRedis) Changed(ctx context.Context, id int) error { return l.c.Del(ctx, Key(id)).Err() }
func (l *goRedis) Close()                                    { _ = l.close() }
