package ops

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/fleetstats"
	"github.com/nearside/nearside/internal/keytext"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/redisurl"

	"github.com/nearside/nearside/cmd/nearside/internal/spelling"
)

// Declared is a cache of which more is known than its name.
type Declared struct {
	Cache
	Glob       string
	Ours       func(key string) bool
	KeyOf      func(args ...string) (string, error)
	Invalidate func(ctx context.Context, keys ...string) (held int, err error)
}

// Direct asks a store.
type Direct struct {
	Store    store.Store
	Source   string       // who answers
	User     string       // that the store is reached as, for the commands that grant something
	Reader   fleet.Reader // of the fleet's statistics
	Declared []Declared   // nil: each name is a cache, whose keys are name:*
	Owned    bool         // Close closes the store
}

const answerLimit = 5 * time.Second // of a command about some keys

// OpenRedis returns a Direct of the Redis at a URL. A user who lacks rights is an error that wraps conn.ErrDenied.
func OpenRedis(ctx context.Context, url string) (*Direct, error) {
	target, err := redisurl.Parse(url)
	if err != nil {
		return nil, kindError{ErrUsage, err}
	}
	st, err := redis.Open(ctx, url, redis.Options{Require: true, Budget: time.Second})
	switch {
	case errors.Is(err, conn.ErrDenied):
		return nil, err
	case err != nil:
		return nil, kindError{ErrAway, err}
	}
	return &Direct{Store: st, Source: "redis at " + target.String(), User: target.User, Reader: fleetstats.NewReader(st), Owned: true}, nil
}

func (d *Direct) String() string { return d.Source }

// Close closes the store, if it was opened for this.
func (d *Direct) Close() {
	if d.Owned {
		d.Store.Close()
	}
}

// Caches returns the declared caches.
func (d *Direct) Caches(context.Context) ([]Cache, error) {
	var out []Cache
	for _, c := range d.Declared {
		out = append(out, c.Cache)
	}
	return out, nil
}

// cache returns what is known of a name.
func (d *Direct) cache(name string) (Declared, error) {
	if d.Declared == nil {
		if err := keytext.CheckName(name); err != nil {
			return Declared{}, usage("the cache %.100q: %v", name, err)
		}
		prefix := name + ":"
		return Declared{
			Cache: Cache{Name: name, Key: prefix + "*"}, Glob: prefix + "*",
			KeyOf: func(args ...string) (string, error) {
				if len(args) == 0 {
					return "", fmt.Errorf("expected what stands behind %s in the key: 42 for %s42", prefix, prefix)
				}
				key := prefix + strings.Join(args, ":")
				return key, store.CheckKey(key)
			},
			Invalidate: d.invalidate,
		}, nil
	}
	names := make([]string, len(d.Declared))
	for i, c := range d.Declared {
		if c.Name == name {
			return c, nil
		}
		names[i] = c.Name
	}
	return Declared{}, unknown(name, names)
}

func (d *Direct) invalidate(ctx context.Context, keys ...string) (held int, err error) {
	for _, o := range d.Store.Invalidate(ctx, keys, 0) {
		if o.OK {
			held++
		}
		err = cmp.Or(err, o.Err)
	}
	return held, err
}

// key returns a cache and one of its keys.
func (d *Direct) key(name string, args []string) (c Declared, key string, err error) {
	if c, err = d.cache(name); err != nil {
		return c, "", err
	}
	if key, err = c.KeyOf(args...); err != nil {
		return c, "", kindError{ErrUsage, err}
	}
	return c, key, nil
}

// failed gives an error of the store its kind.
func (d *Direct) failed(err error) error {
	if redis.Gone(err) {
		return away("%w; look whether it runs and can be reached from there (docs/operations.md)", err)
	}
	return err
}

// Keys walks until there are enough.
func (d *Direct) Keys(ctx context.Context, name string, q Query) (out Keys, err error) {
	c, err := d.cache(name)
	if err != nil {
		return out, err
	}
	if err := store.CheckGlob(q.Match); err != nil {
		return out, kindError{ErrUsage, err}
	}
	out = Keys{Source: d.Source, Cache: name, Keys: []Key{}}
	seen := make(map[string]bool)
	within, cancel := context.WithTimeout(ctx, q.For)
	defer cancel()
	more := false
	w, err := d.Store.Keys(within, c.Glob, c.Ours, func(key string) bool {
		switch {
		case q.Match != "" && !store.Match(q.Match, key) || seen[key]:
		case len(seen) == q.Limit:
			more = true
			return false
		default:
			seen[key] = true
		}
		return true
	})
	if err != nil && !(within.Err() != nil && ctx.Err() == nil) {
		return out, d.failed(err)
	}
	out.Looked, out.Total, out.All = w.Looked, w.Total, w.All && !more
	keys := slices.Sorted(maps.Keys(seen))
	answer, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	for batch := range slices.Chunk(keys, 500) {
		for i, desc := range d.Store.Describe(answer, batch) {
			if desc.Err != nil {
				return out, d.failed(desc.Err)
			}
			if desc.Type != "none" { // it has gone meanwhile
				out.Keys = append(out.Keys, described(batch[i], desc))
			}
		}
	}
	if len(keys) == 0 && d.Declared == nil {
		out.Seen = d.similar(ctx, name)
	}
	return out, nil
}

func described(key string, desc store.Description) Key {
	k := Key{Key: key, Type: desc.Type, TTL: TTL(desc.TTL), Length: desc.Length, Bytes: desc.Bytes}
	if desc.TTL == store.NoTTL {
		k.TTL = never
	}
	return k
}

// similar looks for a second at what keys begin with.
func (d *Direct) similar(ctx context.Context, name string) (out []string) {
	within, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	counts := make(map[string]int)
	_, _ = d.Store.Keys(within, "*", nil, func(key string) bool {
		if prefix, _, ok := strings.Cut(key, ":"); ok && keytext.CheckName(prefix) == nil {
			counts[prefix]++
		}
		return true
	})
	out = slices.SortedFunc(maps.Keys(counts), func(a, b string) int { return cmp.Or(counts[b]-counts[a], strings.Compare(a, b)) })
	if near := spelling.Nearest(name, out); near != "" {
		out = append([]string{near}, slices.DeleteFunc(out, func(s string) bool { return s == near })...)
	}
	return out[:min(len(out), 5)]
}

// Entry looks at a key.
func (d *Direct) Entry(ctx context.Context, name string, args []string, limit int) (out Entry, err error) {
	_, key, err := d.key(name, args)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	out = Entry{Source: d.Source, Cache: name, Key: Key{Key: key, Type: "none"}}
	desc := d.Store.Describe(ctx, []string{key})[0]
	if desc.Err != nil {
		return out, d.failed(desc.Err)
	}
	out.Key, out.Found = described(key, desc), desc.Type != "none"
	if going, err := d.Store.Beside(ctx, key); err == nil { // a key of another program may have none that we may read
		out.Going, out.Left = going.State, TTL(going.Left)
	}
	switch {
	case limit == 0 || !out.Found:
		return out, nil
	case desc.Type == "string":
		return out, d.value(ctx, &out, limit)
	}
	return out, d.elements(ctx, &out, limit)
}

// value reads the beginning of a value, one byte more than is wanted, to see whether there is more.
func (d *Direct) value(ctx context.Context, e *Entry, limit int) error {
	ask := int64(-1)
	if limit > 0 {
		ask = int64(limit) + 1
	}
	it := d.Store.Head(ctx, e.Key.Key, ask)
	if it.Err != nil {
		return d.failed(it.Err)
	}
	e.Found, e.Value = it.Found, it.Value
	if limit > 0 && len(e.Value) > limit {
		e.Value, e.Cut = e.Value[:limit], true
	}
	return nil
}

// elements reads the first elements of a collection; of a set and a hash, any. Other types have none that are known here.
func (d *Direct) elements(ctx context.Context, e *Entry, limit int) error {
	q := store.Query{Key: e.Key.Key, Kind: store.Kind(e.Type), Part: store.All}
	switch q.Kind {
	case store.List, store.SortedSet:
		q.Part, q.To = store.ByRank, int64(limit)-1
		if limit < 0 {
			q.To = -1
		}
	case store.Set, store.Hash:
		if limit > 0 && e.Length > int64(limit) {
			q.Part, q.Hint = store.Scan, int64(limit)
		}
	default:
		return nil
	}
	v := d.Store.Query(ctx, []store.Query{q})[0]
	if v.Err != nil {
		return d.failed(v.Err)
	}
	e.Found = v.Found
	for _, el := range v.Elements {
		one := Element{Member: el.Member, Value: el.Value}
		if q.Kind == store.SortedSet {
			one.Score = strconv.FormatFloat(el.Score, 'g', -1, 64)
		}
		e.Elements = append(e.Elements, one)
	}
	if limit > 0 && len(e.Elements) > limit {
		e.Elements = e.Elements[:limit]
	}
	e.Cut = e.Length > int64(len(e.Elements))
	if q.Kind == store.Set || q.Kind == store.Hash {
		slices.SortFunc(e.Elements, func(a, b Element) int { return strings.Compare(a.Member, b.Member) })
	}
	return nil
}

// Invalidate removes a key as the application would.
func (d *Direct) Invalidate(ctx context.Context, name string, args []string) (out Invalidated, err error) {
	c, key, err := d.key(name, args)
	if err != nil {
		return out, err
	}
	ctx, cancel := context.WithTimeout(ctx, answerLimit)
	defer cancel()
	held, err := c.Invalidate(ctx, key)
	if err != nil {
		return out, d.failed(err)
	}
	return Invalidated{Source: d.Source, Cache: name, Key: key, Held: held == 1}, nil
}

// Count walks for a while.
func (d *Direct) Count(ctx context.Context, name string, limit time.Duration) (out Count, err error) {
	c, err := d.cache(name)
	if err != nil {
		return out, err
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	found := newDistinct()
	w, err := d.Store.Keys(within, c.Glob, c.Ours, found.add)
	if err != nil && !(within.Err() != nil && ctx.Err() == nil) {
		return out, d.failed(err)
	}
	out = Count{Source: d.Source, Cache: name, Keys: found.len(), Exact: w.All, Looked: w.Looked, Total: w.Total}
	if !w.All && w.Looked > 0 {
		out.Keys = int64(float64(out.Keys) * max(float64(w.Total)/float64(w.Looked), 1))
	}
	return out, nil
}

// Sweep makes the two passes of the store's sweep, and counts the keys that it meets.
func (d *Direct) Sweep(ctx context.Context, name string) (out Swept, err error) {
	c, err := d.cache(name)
	if err != nil {
		return out, err
	}
	began, found := time.Now(), newDistinct()
	err = d.Store.Sweep(ctx, c.Glob, func(key string) bool {
		return (c.Ours == nil || c.Ours(key)) && store.CheckKey(key) == nil && found.add(key)
	})
	if err != nil {
		return out, d.failed(err)
	}
	return Swept{Source: d.Source, Cache: name, Keys: found.len(), TookMS: time.Since(began).Milliseconds()}, nil
}

// distinct counts different keys: a scan may return one twice, and the masters of a cluster are scanned at once. It keeps a hash
// of each, since there may be many.
type distinct struct {
	seed maphash.Seed
	mu   sync.Mutex // guards seen
	seen map[uint64]struct{}
}

func newDistinct() *distinct {
	return &distinct{seed: maphash.MakeSeed(), seen: make(map[uint64]struct{})}
}

// add always returns true.
func (n *distinct) add(key string) bool {
	h := maphash.String(n.seed, key)
	n.mu.Lock()
	n.seen[h] = struct{}{}
	n.mu.Unlock()
	return true
}

func (n *distinct) len() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return int64(len(n.seen))
}

const never TTL = -1

// MarshalJSON writes milliseconds.
func (t TTL) MarshalJSON() ([]byte, error) {
	if t == never {
		return []byte("-1"), nil
	}
	return strconv.AppendInt(nil, time.Duration(t).Milliseconds(), 10), nil
}

// UnmarshalJSON reads milliseconds.
func (t *TTL) UnmarshalJSON(b []byte) error {
	ms, err := strconv.ParseInt(string(b), 10, 64)
	if *t = TTL(time.Duration(ms) * time.Millisecond); ms == -1 {
		*t = never
	}
	return err
}

// String is the rest of a life as a person reads it.
func (t TTL) String() string {
	d := time.Duration(t)
	switch {
	case t == never:
		return "never ends"
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return d.Round(100 * time.Millisecond).String()
	}
	return d.Round(time.Second).String()
}
