package engine

import (
	"context"
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// Config says how a cache of values finds, reads and writes them. A value is opaque: only the functions here know its type.
type Config struct {
	Policy
	Load func(context.Context, Key) (any, error) // nil: LoadMany with one key
	// LoadMany sets found[i] to what there is of ks[i]; nil: Load for each key.
	LoadMany func(ctx context.Context, ks []Key, found []Loaded)
	Encode   func(any) ([]byte, error)
	Decode   func([]byte) (any, error)
	Expire   func(Key, any) time.Duration // how long a value is fresh; zero or less, and nil: TTL
	MaxValue int                          // bytes of one
	Near     NearConfig
}

// Values is a cache of values, each of which is read and written as a whole.
type Values struct {
	Cache
	values values
}

// values is the strategy of loads of values.
type values struct {
	c   *Cache
	cfg Config
}

// New returns a cache of values.
func New(s *Shared, cfg Config) *Values {
	cfg.Encode, cfg.Decode = guarded(cfg.Encode), guarded(cfg.Decode)
	v := new(Values)
	v.values = values{&v.Cache, cfg}
	v.init(s, cfg.Policy, &v.values)
	v.near = newNear(s, cfg.Near, &v.count)
	return v
}

// guarded turns a panic of a codec into an error: it may run in a goroutine of ours, where it would end the process.
func guarded[A, B any](f func(A) (B, error)) func(A) (B, error) {
	return func(a A) (b B, err error) {
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("the codec panicked: %v", p)
			}
		}()
		return f(a)
	}
}

func (v *values) load(ctx context.Context, j *job) (l Loaded) {
	if v.cfg.Load == nil {
		var one [1]Loaded
		v.loadMany(ctx, jobs{j}, one[:])
		return one[0]
	}
	l.Value, l.Err = v.cfg.Load(ctx, j.k())
	return l
}

func (v *values) loadMany(ctx context.Context, js jobs, out []Loaded) {
	ks := make([]Key, len(js))
	for i, j := range js {
		ks[i] = j.k()
	}
	v.cfg.LoadMany(ctx, ks, out)
}

func (v *values) loadsMany() bool                 { return v.cfg.LoadMany != nil }
func (v *values) decode(data []byte) (any, error) { return v.cfg.Decode(data) }

func (v *values) expire(k Key, value any) time.Duration {
	if v.cfg.Expire == nil {
		return 0
	}
	return v.cfg.Expire(k, value)
}

func (v *values) fill(j *job, l *Loaded, ttl time.Duration) (fill store.Fill, why error) {
	value, err := v.encode(j.key, l.Value)
	switch {
	case err == nil:
	case value == nil:
		v.c.ails.unfilled(notEncoded, err.Error())
		return fill, err
	default:
		v.c.ails.unfilled(tooLarge, fmt.Sprintf("%d bytes, and %d are allowed", len(value), v.cfg.MaxValue))
		return fill, err
	}
	v.c.count.AddN(tally.BytesWritten, len(value))
	return store.Fill{Key: j.key, Token: j.token, Value: value, TTL: ttl + v.c.Policy.Stale}, nil
}

// encode returns the encoded value. With an error the value is not stored: it has no encoding, or is larger than MaxValue.
func (v *values) encode(key string, value any) ([]byte, error) {
	data, err := v.cfg.Encode(value)
	if err != nil {
		v.c.count.Add(tally.CodecError)
		v.c.ails.unencodable(key, err)
		return nil, err
	}
	v.c.ails.good(unencoded)
	if len(data) > v.cfg.MaxValue {
		v.c.count.Add(tally.TooLarge)
		return data, fmt.Errorf("%w: %d bytes, at most %d are stored", ErrTooLarge, len(data), v.cfg.MaxValue)
	}
	return data, nil
}
