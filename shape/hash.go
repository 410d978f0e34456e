package shape

import (
	"context"
	"fmt"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// HashConfig says how hashes are loaded and kept.
type HashConfig[K comparable, V any] struct {
	// Load returns what the hash shows, or ErrNotFound.
	Load func(context.Context, K) (V, error)
	// LoadOne reads one field again, where writers of it overlapped, and returns a V with at least that. Without it Load is called
	// for it.
	LoadOne func(ctx context.Context, k K, field string) (V, error)
	// Version returns the version of a row, which only grows, such as a column that the database counts under the row's lock. Of
	// overlapping writers the higher one is right then, and the row need not be read again. At most 2^53.
	Version func(V) int64

	Key func(K) string // writes a key as text. Strings, integers, bools and encoding.TextMarshaler need none

	TTL         time.Duration // how long a hash is fresh. 1 h if zero
	Stale       time.Duration // how much longer it is served while one process loads it anew, or when Load fails. Off if zero
	NotFoundTTL time.Duration // how long it is remembered that a hash has no fields. As long as TTL if zero; Off switches it off
	LoadTimeout time.Duration // of one load, and of the function given to Update. 10 s if zero
	SoftTimeout time.Duration // how long a read waits for a fresh hash before it is given a stale one. Off if zero
	Refresh     float64       // how eagerly a hash is loaded anew before it is stale; 1 is usual. Off if zero
	MaxLoads    int           // how many loads this process runs at once. No limit if zero
	Jitter      float64       // shortens each key's TTL by a share between 0 and this. 0.1 if zero, at most 1; Off switches it off
	MaxElements int           // how many fields a load may bring; more are an error. 1,000,000 if zero

	// Hold is how long after an Invalidate nothing is cached: at least the lag of the replica that Load reads. Writes of single
	// fields do not hold: where Load reads a replica, use Invalidate. Off if zero.
	Hold time.Duration

	// InDoubt is how long after an Update has failed its commit may still become visible; nearside.Config says more. Nothing of
	// the hash is cached for that long. 1 min if zero.
	InDoubt time.Duration
}

func (c *HashConfig[K, V]) settings() settings {
	return settings{
		TTL: c.TTL, Stale: c.Stale, NotFoundTTL: c.NotFoundTTL, LoadTimeout: c.LoadTimeout, SoftTimeout: c.SoftTimeout,
		Refresh: c.Refresh, MaxLoads: c.MaxLoads, Jitter: c.Jitter, MaxElements: c.MaxElements, Hold: c.Hold, InDoubt: c.InDoubt,
	}
}

// Hash is a cache of hashes: a product by its fields. V is a struct, whose exported fields are those of the hash, or a map with
// strings for keys. A field is named as in JSON (`json:"name"`; "-" leaves it out), and written as text if it is a string, a
// number, a bool or an encoding.TextMarshaler, else as JSON; nil is no field. A field of the type any, or a map's value of it, is
// always written as JSON, so that it comes back as the kind of JSON value that it was: a string stands in quotes in Redis, and all
// numbers come back as float64. NewHash panics for a type that cannot be read back, such as an interface with methods. A field in Redis that the struct lacks is left
// alone, and one that Redis lacks is zero: so that two versions of a program can share their hashes. It is safe for concurrent
// use.
type Hash[K comparable, V any] struct {
	Collection[K]
	fields fields[V]
	ver    func(V) int64
}

// NewHash makes a cache of hashes whose keys are name, a colon, and the key: "product:42". It panics as nearside.New does,
// and for a V that is neither a struct nor a map, or that has a field which cannot be read back.
func NewHash[K comparable, V any](client *nearside.Client, name string, c HashConfig[K, V]) *Hash[K, V] {
	f, err := fieldsOf[V]()
	if err != nil {
		panic(fmt.Sprintf("shape.NewHash(%q): %v", name, err))
	}
	h := &Hash[K, V]{fields: f, ver: c.Version}
	e := typed.CollectionConfig[K]{Kind: store.Hash, Versioned: c.Version != nil}
	if c.Load != nil {
		e.Load = func(ctx context.Context, k K, emit func(store.Element) error) error {
			v, err := c.Load(ctx, k)
			if err != nil {
				return err
			}
			return f.each(v, emit)
		}
		e.LoadOne = func(ctx context.Context, k K, field string) (store.Element, bool, error) {
			one := c.LoadOne
			if one == nil {
				one = func(ctx context.Context, k K, _ string) (V, error) { return c.Load(ctx, k) }
			}
			v, err := one(ctx, k, field)
			if err != nil {
				return store.Element{}, false, err
			}
			return f.one(v, field)
		}
	}
	h.init(client, "NewHash", name, c.settings(), c.Key, e)
	return h
}

// All returns the whole. ErrNotFound if there is none.
func (h *Hash[K, V]) All(ctx context.Context, k K) (V, error) {
	return h.read(ctx, k, store.Query{Part: store.All})
}

// Get returns a V with one field of the hash, and nothing else. ErrNotFound if the hash or the field is not there.
func (h *Hash[K, V]) Get(ctx context.Context, k K, field string) (V, error) {
	return h.GetMany(ctx, k, field)
}

// GetMany returns a V with the named fields, as far as the hash has them, and nothing else. ErrNotFound if it has none of them.
func (h *Hash[K, V]) GetMany(ctx context.Context, k K, fields ...string) (v V, err error) {
	if err := h.known(k, fields); err != nil || len(fields) == 0 {
		return v, err
	}
	return h.read(ctx, k, store.Query{Part: store.Pick, Names: fields})
}

func (h *Hash[K, V]) read(ctx context.Context, k K, q store.Query) (v V, err error) {
	found := 0
	_, err = h.e.QueryChecked(ctx, k, q, func(view store.View) (string, error) {
		v, found = *new(V), 0
		for i, e := range view.Elements {
			if view.Has != nil && !view.Has[i] {
				continue
			}
			if err := h.set(k, &v, e); err != nil {
				return e.Member, err
			}
			found++
		}
		return "", nil
	})
	if err == nil && found == 0 {
		err = fmt.Errorf("%.100q: %w", h.Key(k), nearside.ErrNotFound)
	}
	return v, err
}

// Peek returns what the store has of the hash, and never loads. It returns ErrNotFound if the store has no hash.
func (h *Hash[K, V]) Peek(ctx context.Context, k K) (v V, err error) {
	view, err := h.e.Peek(ctx, k, store.Query{Part: store.All})
	for _, e := range view.Elements {
		if err == nil {
			err = h.set(k, &v, e)
		}
	}
	return v, err
}

// set sets a field of v.
func (h *Hash[K, V]) set(k K, v *V, e store.Element) error {
	if err := h.fields.set(v, e); err != nil {
		return fmt.Errorf("%.100q: the field %.100q does not decode: %w", h.Key(k), e.Member, err)
	}
	return nil
}

// known returns an error for a field that V lacks.
func (h *Hash[K, V]) known(k K, fields []string) error {
	for _, name := range fields {
		if !h.fields.has(name) {
			return fmt.Errorf("%.100q: %T has no field %.100q; it has %s", h.Key(k), *new(V), name, h.fields.names())
		}
	}
	return nil
}

// Set tells that fields were changed, after the commit: each has its value in v now, and is gone if that is nil. Of two calls
// about one field the later wins, not the later commit: where that matters, use Update.
func (h *Hash[K, V]) Set(ctx context.Context, k K, v V, fields ...string) error {
	if err := h.known(k, fields); err != nil {
		return err
	}
	changes := make([]store.Change, len(fields))
	for i, name := range fields {
		c, err := h.change(k, v, name)
		if err != nil {
			return err
		}
		changes[i] = c
	}
	return h.e.Write(ctx, k, changes...)
}

func (h *Hash[K, V]) change(k K, v V, field string) (store.Change, error) {
	e, ok, err := h.fields.one(v, field)
	switch {
	case err != nil:
		return store.Change{}, fmt.Errorf("%.100q: the field %.100q cannot be written: %w", h.Key(k), field, err)
	case !ok:
		return store.Change{Op: store.Remove, Element: store.Element{Member: field}}, nil
	}
	return store.Change{Op: store.Add, Element: e}, nil
}

// Update runs the database write of one field, and returns its V, in which at least that field is as the database has it now,
// and with a Version what that reads; write holds the whole transaction, commit included. An error of write drops the hash; what
// else follows from it is said at nearside.Cache.Update. It is dropped too, with an error, if the field cannot be written.
// ErrUnavailable: the database is written, and Redis could not be told.
//
// A write that changes several fields is a matter for Invalidate or Client.Mutate.
func (h *Hash[K, V]) Update(ctx context.Context, k K, field string, write func(context.Context) (V, error)) (v V, err error) {
	if err := h.known(k, []string{field}); err != nil {
		return v, err
	}
	err = h.e.Update(ctx, k, field, func(ctx context.Context) (c store.Change, version float64, err error) {
		if v, err = write(ctx); err != nil {
			return c, 0, err
		}
		if c, err = h.change(k, v, field); err != nil {
			return c, 0, h.written(k, err)
		}
		if h.ver != nil {
			version = float64(h.ver(v))
		}
		return c, version, nil
	})
	return v, err
}
