package typed

import (
	"context"
	"encoding"
	"reflect"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/store"
)

// Keys is a cache as far as the type of its keys matters. It is compiled once for all caches that have the same.
type Keys[K comparable] struct {
	cache *engine.Cache
	write func(K) (string, error)
	read  func(string) (K, bool) // nil: a key cannot be told from its text, so it is carried along
	near  *near.Tier[K]          // nil: nothing is kept in the process
}

// newKeys returns the keys that are written, and read back, as text. read may be nil.
func newKeys[K comparable](write func(K) (string, error), read func(string) (K, bool)) Keys[K] {
	if !exact(reflect.TypeFor[K]()) {
		read = nil
	}
	return Keys[K]{write: write, read: read}
}

// exact reports whether a key of the type that is read from its text is the one that was written. It is not of a time in another
// zone, for example.
func exact(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Struct, reflect.Interface, reflect.Array, reflect.Chan, reflect.UnsafePointer:
		return false
	}
	return !reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]())
}

// key returns a key as the engine knows it.
func (c *Keys[K]) key(k K) (engine.Key, error) {
	text, err := c.write(k)
	if c.read != nil {
		return engine.Key{Text: text}, err
	}
	return engine.Key{Text: text, Of: k}, err
}

// of returns the key that key was made of.
func (c *Keys[K]) of(key engine.Key) (k K) {
	if key.Of != nil || c.read == nil {
		k, _ = key.Of.(K)
		return k
	}
	k, _ = c.read(key.Text)
	return k
}

// Key returns the text of a key, as it stands in the store.
func (c *Keys[K]) Key(k K) (string, error) { return c.write(k) }

// keys returns many keys, or the error of the first that cannot be one.
func (c *Keys[K]) keys(ks []K) ([]engine.Key, error) {
	keys := make([]engine.Key, len(ks))
	for i, k := range ks {
		var err error
		if keys[i], err = c.key(k); err != nil {
			return nil, err
		}
	}
	return keys, nil
}

// texts is keys, of which only the texts are needed.
func (c *Keys[K]) texts(ks []K) ([]string, error) {
	texts := make([]string, len(ks))
	for i, k := range ks {
		var err error
		if texts[i], err = c.write(k); err != nil {
			return nil, err
		}
	}
	return texts, nil
}

// kept returns what is kept in the process of k: a value, or its absence. There is a near tier.
func (c *Keys[K]) kept(ctx context.Context, k K) (*near.Entry, bool) {
	e, ok := c.near.Get(k)
	if ok {
		if hit, due := c.cache.NearHit(); due && hit.Chosen() {
			c.sample(k)
		}
	}
	if engine.Traced() {
		c.tell(ctx, k, e, ok)
	}
	return e, ok
}

// sample measures a look that finds k.
func (c *Keys[K]) sample(k K) {
	key, err := c.write(k)
	if err != nil {
		key = ""
	}
	began := time.Now()
	c.near.Get(k)
	c.cache.SampleNear(key, time.Since(began))
}

// tell tells the trace of a call whether k is kept.
func (c *Keys[K]) tell(ctx context.Context, k K, e *near.Entry, ok bool) {
	key, _ := c.write(k)
	c.cache.TellNear(ctx, key, ok, ok && e.Absent)
}

// absent returns the error of a key whose absence is kept.
func (c *Keys[K]) absent(k K) error {
	key, _ := c.write(k)
	return c.cache.Absent(key)
}

// Inspect looks at keys without loading or reading them.
func (c *Keys[K]) Inspect(ctx context.Context, ks []K) ([]store.Info, error) {
	texts, err := c.texts(ks)
	if err != nil {
		return nil, err
	}
	return c.cache.Inspect(ctx, texts)
}

// Invalidate removes keys, after the database was changed. True: the key held a value. It does not end with ctx.
func (c *Keys[K]) Invalidate(ctx context.Context, ks []K) ([]bool, error) {
	texts, err := c.texts(ks)
	if err != nil {
		return nil, err
	}
	return c.cache.InvalidateKeys(ctx, texts)
}

// Prefetch loads the keys that the store lacks, in the background. Keys that cannot be keys are left out.
func (c *Keys[K]) Prefetch(ctx context.Context, ks []K) {
	keys := make([]engine.Key, 0, len(ks))
	for _, k := range ks {
		if key, err := c.key(k); err == nil {
			keys = append(keys, key)
		}
	}
	c.cache.Prefetch(ctx, keys)
}

// Written returns the key of k for Shared.Mutate.
func (c *Keys[K]) Written(k K) (engine.Written, error) {
	text, err := c.write(k)
	written, invalid := c.cache.Written(text)
	if err == nil {
		err = invalid
	}
	return written, err
}
