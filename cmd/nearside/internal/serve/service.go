// Package serve answers for the declared caches: a key that matches one is read from the store or loaded from the
// database. The Redis protocol (this package's Handler) and HTTP (package web) are two ways to ask.
package serve

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
)

// Spec declares a cache.
type Spec struct {
	Name string
	Key  *pattern.Pattern
	Load func(ctx context.Context, args []string) ([]byte, error) // the parameters of the key -> JSON, or nearside.ErrNotFound

	// Shape is set where the key is a collection. Elements then gives what Load would return to emit, one by one.
	Shape    store.Kind
	Elements func(ctx context.Context, args []string, emit func(store.Element) error) error
	Fields   []string // of a hash, in the order of the columns

	LoadMany func(ctx context.Context, args []string) (map[string][]byte, error) // for keys of one parameter; nil: Load for each
	Many     bool                                                                // a value is an array of rows, and there always is one; else an object

	// Store checks a value for the row with the parameters of the key, and returns what writes it and returns the row as
	// Load would. Nil: this cache is not written here.
	Store func(args []string, value []byte) (write func(context.Context) ([]byte, error), err error)

	TTL, Stale, NotFoundTTL, Hold, LoadTimeout time.Duration
	Jitter                                     float64
	MaxLoads                                   int
	Near                                       int // values kept in the process; 0: none
	MaxValue                                   int // bytes
	MaxRows                                    int // of a shape
}

// Cache is a declared cache. Its keys are the keys of Redis, its values the bytes that a client gets.
type Cache struct {
	Spec
	inspector
	client *nearside.Client
	Values *nearside.Cache[string, []byte] // nil: it has a shape
	Shaped *typed.Collection[string]       // nil: it has none
	log    *journal
	size   valueSize // of its values
	large  large     // of all caches
}

// inspector looks at keys without loading them.
type inspector interface {
	engine.Meter
	Inspect(ctx context.Context, keys []string) ([]store.Info, error)
}

// Stats returns the counters of the cache in this process.
func (c *Cache) Stats() nearside.CacheStats {
	s, _ := c.client.CacheStats(c.Name)
	return s
}

// Invalidate removes keys. held is how many of them had a value.
func (c *Cache) Invalidate(ctx context.Context, keys ...string) (held int, err error) {
	return c.client.InvalidateKeys(ctx, c.Name, keys...)
}

// Service is all declared caches of a client.
type Service struct {
	*nearside.Client
	keys   *pattern.Set
	caches []*Cache
	local  bool // the store is in this process: nobody waits for it
}

// New returns the caches of specs, whose patterns must not overlap.
func New(client *nearside.Client, logger *slog.Logger, specs []Spec) *Service {
	s := &Service{Client: client, local: client.Inside().Shared.Store.Local()}
	log := &journal{logger: logger}
	writes := make(large, largeAtOnce)
	patterns := make([]*pattern.Pattern, len(specs))
	for i, spec := range specs {
		patterns[i] = spec.Key
		s.caches = append(s.caches, newCache(client, spec, log))
		s.caches[i].large = writes
	}
	s.keys = pattern.NewSet(patterns)
	return s
}

func newCache(client *nearside.Client, spec Spec, log *journal) *Cache {
	c := &Cache{Spec: spec, client: client, log: log}
	if spec.Shape != "" {
		c.Shaped = newCollection(client, spec, log)
	} else {
		c.Values = newValues(client, spec, log)
	}
	m, _ := client.Inside().Cache(spec.Name)
	c.inspector = m.(inspector)
	return c
}

// batchLoads is how many loads one MGET without load_many runs at once: half of the connections to a database, so that others get
// theirs.
const batchLoads = 8

func newValues(client *nearside.Client, spec Spec, log *journal) *nearside.Cache[string, []byte] {
	cfg := nearside.Config[string, []byte]{
		Pattern: spec.Key.Glob(), Owns: spec.owns, Codec: rows{&spec},
		Load: func(ctx context.Context, key string) ([]byte, error) {
			args, ok := spec.Key.Match([]byte(key))
			if !ok {
				return nil, nearside.ErrNotFound
			}
			row, err := spec.Load(ctx, args)
			log.failed("load", spec.Name, key, err)
			return row, err
		},
		TTL: spec.TTL, Stale: spec.Stale, NotFoundTTL: spec.NotFoundTTL, Hold: spec.Hold, LoadTimeout: spec.LoadTimeout,
		Jitter: cmp.Or(spec.Jitter, nearside.Off), MaxLoads: spec.MaxLoads, BatchLoads: batchLoads,
		NearSize: spec.Near, MaxValue: spec.MaxValue,
	}
	if spec.LoadMany != nil {
		cfg.LoadMany = func(ctx context.Context, keys []string) (map[string][]byte, error) {
			return loadMany(ctx, spec, keys, log)
		}
	}
	return nearside.New(client, spec.Name, cfg)
}

// owns tells the cache's keys from others that its glob matches: user:1:cart, which an application may keep itself, is no key of
// user:{id}.
func (s *Spec) owns(key string) bool {
	_, ok := s.Key.Match([]byte(key))
	return ok
}

// loadMany loads keys by their one parameter.
func loadMany(ctx context.Context, spec Spec, keys []string, log *journal) (map[string][]byte, error) {
	args := make([]string, 0, len(keys))
	keyOf := make(map[string]string, len(keys))
	for _, key := range keys {
		if a, ok := spec.Key.Match([]byte(key)); ok {
			args = append(args, a[0])
			keyOf[a[0]] = key
		}
	}
	rows, err := spec.LoadMany(ctx, args)
	found := make(map[string][]byte, len(rows))
	for a, row := range rows {
		found[keyOf[a]] = row
	}
	var failed nearside.BatchError[string]
	if errors.As(err, &failed) {
		byKey := make(nearside.BatchError[string], len(failed))
		for a, e := range failed {
			byKey[keyOf[a]] = e
			log.failed("load", spec.Name, keyOf[a], e)
		}
		return found, byKey
	}
	log.failed("load", spec.Name, spec.Key.String(), err)
	return found, err
}

var errNoRow = errors.New("no JSON of a row, or of rows")

// rows is the codec of a cache: bytes as they are.
type rows struct{ spec *Spec }

func (rows) Encode(v []byte) ([]byte, error) { return v, nil }

// Decode accepts what a load may have written: an object, or an array where a value is that. What another program left there, or a
// configuration that said 'rows' otherwise, is loaded again. It looks at both ends alone: to parse what is only handed on would be
// a third of the cost of a hit.
func (r rows) Decode(data []byte) ([]byte, error) {
	first, last := byte('{'), byte('}')
	if r.spec.Many {
		first, last = '[', ']'
	}
	if n := len(data); n >= 2 && data[0] == first && data[n-1] == last {
		return data, nil
	}
	return nil, errNoRow
}

var noRows = []byte("[]")

// Nothing returns what is answered for a key without a row: nil, or an array of none.
func (s *Spec) Nothing() []byte {
	if s.Many {
		return noRows
	}
	return nil
}

// Caches returns the declared caches in the order of the configuration.
func (s *Service) Caches() []*Cache { return s.caches }

// Named returns the cache of a name, nil if there is none.
func (s *Service) Named(name string) *Cache {
	for _, c := range s.caches {
		if c.Name == name {
			return c
		}
	}
	return nil
}

// Problems returns what the store cannot do, each with what is lost and how it is mended.
func (s *Service) Problems() []string { return s.Inside().Shared.Problems() }

// Ping returns nil if the store answers within 1 s.
func (s *Service) Ping(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	return s.Client.Ping(ctx)
}

// errWrongType is what a command finds that is for another shape, in the words of Redis.
var errWrongType = errors.New("WRONGTYPE Operation against a key holding the wrong kind of value")

var errOther = errors.New("matches the key of no declared cache")

// errForeign refuses a key that no cache declares.
func errForeign(key []byte) error {
	return fmt.Errorf("%.100q %w, and the embedded store has no others: configure 'redis:' to have them passed on to it", key, errOther)
}

// impossible returns what is answered for a key that has the form of a declared one, and a parameter that cannot be.
func (s *Service) impossible(key []byte) []byte {
	if i, fit := s.keys.Find(key); fit == pattern.Misfit {
		return s.caches[i].Nothing()
	}
	return nil
}

// find returns the cache of a key. Nil without an error: the key has the form of a declared one, and a parameter that
// cannot be (user:abc for a number), so there is no such row and nobody needs to be asked.
func (s *Service) find(key []byte) (*Cache, error) {
	if len(key) > store.MaxKey {
		return nil, store.CheckKey(string(key))
	}
	switch i, fit := s.keys.Find(key); fit {
	case pattern.Match:
		return s.caches[i], nil
	case pattern.Misfit:
		return nil, nil
	}
	return nil, errForeign(key)
}

// Answer is what there is for one key.
type Answer struct {
	Value []byte // nil: there is none
	Err   error  // of the key or its load; an absence is none
}

// Get answers for many keys of any caches, each cache in one trip.
func (s *Service) Get(ctx context.Context, keys [][]byte) []Answer {
	if len(keys) == 1 {
		return []Answer{s.one(ctx, keys[0])}
	}
	out := make([]Answer, len(keys))
	batches := make([]batch, len(s.caches))
	used := 0
	for i, key := range keys {
		c, err := s.find(key)
		if out[i].Err = err; c == nil {
			if err == nil {
				out[i].Value = s.impossible(key)
			}
			continue
		}
		if c.Shape != "" {
			out[i].Err = errWrongType
			continue
		}
		b := &batches[s.index(c)]
		if b.cache == nil {
			b.cache = c
			used++
		}
		b.keys, b.at = append(b.keys, string(key)), append(b.at, i)
	}
	var wg sync.WaitGroup
	for i := range batches {
		b := &batches[i]
		switch {
		case b.cache == nil:
		case used == 1:
			b.run(ctx, out)
		default:
			wg.Go(func() { b.run(ctx, out) })
		}
	}
	wg.Wait()
	return out
}

// one is Get for one key, which costs less than a batch of one.
func (s *Service) one(ctx context.Context, key []byte) (a Answer) {
	c, err := s.find(key)
	switch {
	case err != nil:
		return Answer{Err: err}
	case c == nil:
		return Answer{Value: s.impossible(key)}
	}
	return s.read(ctx, c, key)
}

func (s *Service) read(ctx context.Context, c *Cache, key []byte) (a Answer) {
	if c.Shape != "" {
		return Answer{Err: errWrongType}
	}
	var err error
	if a.Value, err = c.Values.Get(ctx, string(key)); err != nil {
		if a.Value = c.Nothing(); !errors.Is(err, nearside.ErrNotFound) {
			a.Value, a.Err = nil, err
		}
	}
	c.size.saw(len(a.Value), 0)
	return a
}

func (s *Service) index(c *Cache) int {
	for i := range s.caches {
		if s.caches[i] == c {
			return i
		}
	}
	panic("serve: a cache of another service")
}

// batch is the keys of one cache.
type batch struct {
	cache *Cache
	keys  []string
	at    []int
}

func (b *batch) run(ctx context.Context, out []Answer) {
	largest := 0
	defer func() { b.cache.size.saw(largest, len(b.keys)) }()
	found, err := b.cache.Values.GetMany(ctx, b.keys)
	var failed nearside.KeyErrors[string]
	if err != nil && !errors.As(err, &failed) {
		for _, at := range b.at {
			out[at].Err = err
		}
		return
	}
	for n, key := range b.keys {
		o := &out[b.at[n]]
		if v, ok := found[key]; ok {
			o.Value, largest = v, max(largest, len(v))
		} else if o.Err = failed[key]; o.Err == nil {
			o.Value = b.cache.Nothing()
		}
	}
}

// Inspect looks at keys without loading them; a key that cannot be is of type "none".
func (s *Service) Inspect(ctx context.Context, keys [][]byte) ([]store.Info, error) {
	out := make([]store.Info, len(keys))
	places := make(map[*Cache][]int)
	for i, key := range keys {
		c, err := s.find(key)
		if err != nil {
			return nil, err
		}
		if out[i].Type = "none"; c != nil {
			places[c] = append(places[c], i)
		}
	}
	for c, at := range places {
		names := make([]string, len(at))
		for n, i := range at {
			names[n] = string(keys[i])
		}
		infos, err := c.Inspect(ctx, names)
		if err != nil {
			return nil, err
		}
		for n, i := range at {
			if out[i] = infos[n]; infos[n].Err != nil {
				return nil, infos[n].Err
			}
		}
	}
	return out, nil
}

// Invalidate removes keys, and returns how many held a value. All are tried; the error is the first.
func (s *Service) Invalidate(ctx context.Context, keys [][]byte) (held int, failed error) {
	caches := make([]*Cache, len(keys))
	for i, key := range keys {
		c, err := s.find(key)
		if err != nil {
			return 0, err // before anything is done
		}
		caches[i] = c
	}
	byCache := make(map[*Cache][]string)
	for i, c := range caches {
		if c != nil {
			byCache[c] = append(byCache[c], string(keys[i]))
		}
	}
	for c, ks := range byCache {
		had, err := c.Invalidate(ctx, ks...)
		held += had
		if failed == nil {
			failed = err
		}
	}
	return held, failed
}
