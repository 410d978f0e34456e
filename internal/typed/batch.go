package typed

import (
	"errors"
	"fmt"
	"reflect"

	"github.com/nearside/nearside/internal/engine"
)

// batchError is the error of a LoadMany that knows which keys failed. Every key that it names failed. A key that it does not name has
// its value in the map, or is absent if the map lacks it. Any other error of a LoadMany fails all keys.
type batchError[K comparable] interface{ Failed() map[K]error }

// Failures are the errors of some keys of a LoadMany.
type Failures[K comparable] map[K]error

// Failed returns the error of each key that failed.
func (e Failures[K]) Failed() map[K]error { return e }

func (e Failures[K]) Error() string {
	for k, err := range e {
		if len(e) == 1 {
			return fmt.Sprintf("%v: %v", k, err)
		}
		return fmt.Sprintf("%d rows failed, such as %v: %v", len(e), k, err)
	}
	return "no row failed"
}

// partialError returns the keys of the batchError that err is or wraps. ok is false if there is none. An error that is joined with
// others is none: they say nothing about the keys that the batchError does not name.
func partialError[K comparable](err error) (failed map[K]error, ok bool) {
	for ; err != nil; err = errors.Unwrap(err) {
		if b, ok := err.(batchError[K]); ok { //lint:ignore errorlint errors.As would also look into joined errors
			return b.Failed(), true
		}
	}
	return nil, false
}

// assign gives each key its part of what LoadMany returned, in out. found has the values as the engine knows them. The slice that
// LoadMany was given is not read: LoadMany may have sorted, shortened or cleared that.
func (c *Keys[K]) assign(keys []engine.Key, ks []K, found map[K]any, err error, out []engine.Loaded) {
	clear(out)
	failed, ok := partialError[K](err)
	if err != nil && !ok {
		if errors.Is(err, engine.ErrNotFound) && (len(ks) > 1 || len(found) > 0) {
			// It does not say which keys are absent, so it must not be remembered as the absence of any.
			err = fmt.Errorf("LoadMany returned %d rows and an error for a batch of %d keys: %v; expected no error, and a map that lacks "+
				"the keys without a row", len(found), len(ks), err)
		}
		for i := range out {
			out[i].Err = err
		}
		return
	}
	clean := make(map[K]any, len(failed))
	for k, err := range failed {
		if err != nil {
			clean[k] = err
		}
	}
	values, _ := c.named(keys, ks, found)
	errs, others := c.named(keys, ks, clean)
	var other error // of a key that was not asked for
	for _, e := range others {
		if err := e.(error); !errors.Is(err, engine.ErrNotFound) {
			other = err
		}
	}
	for i := range ks {
		switch v, e := values[i], errs[i]; {
		case e.n > 0:
			out[i].Err = e.v.(error)
		case v.n > 1:
			out[i].Err = fmt.Errorf("LoadMany returned %d rows for it that differ, under keys of the same text", v.n)
		case v.n > 0:
			out[i].Value = v.v
		case other != nil: // it may be about this key
			out[i].Err = fmt.Errorf("LoadMany reported the error of a key that it was not asked for: %w", other)
		default:
			out[i].Err = engine.ErrNotFound
		}
	}
}

// part is what a map of LoadMany has for one key.
type part struct {
	v any
	n int // how many different values; zero if there is none
}

// named returns what m has for each key, and for keys that were not asked for. Keys of the same text are one key, since they are
// one key in the store: not all of them are equal in Go (a time in two zones, pointers, NaN).
func (c *Keys[K]) named(keys []engine.Key, ks []K, m map[K]any) (parts []part, others []any) {
	parts = make([]part, len(ks))
	matched := 0
	for i, k := range ks {
		if v, ok := m[k]; ok {
			parts[i] = part{v, 1}
			matched++
		}
	}
	if matched == len(m) {
		return parts, nil
	}
	places := make(map[string][]int, len(ks))
	for i, k := range keys {
		places[k.Text] = append(places[k.Text], i)
	}
	for k, v := range m {
		text, err := c.write(k)
		if err != nil || places[text] == nil {
			others = append(others, v)
			continue
		}
		for _, i := range places[text] {
			if p := &parts[i]; ks[i] != k && (p.n == 0 || !reflect.DeepEqual(p.v, v)) {
				p.v = v
				p.n++
			}
		}
	}
	return parts, others
}
