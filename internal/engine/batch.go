package engine

import (
	"errors"
	"fmt"
	"reflect"
)

// BatchError is the error of a LoadMany that knows which keys failed. Every key that it names failed. A key that it does not name
// has its value in the map, or is absent if the map lacks it. Any other error of a LoadMany fails all keys.
type BatchError[K comparable] map[K]error

func (e BatchError[K]) Error() string {
	for k, err := range e {
		if len(e) == 1 {
			return fmt.Sprintf("%v: %v", k, err)
		}
		return fmt.Sprintf("%d rows failed, such as %v: %v", len(e), k, err)
	}
	return "no row failed"
}

// partial returns the BatchError that err is or wraps. ok is false if there is none. An error that is joined with others is none:
// they say nothing about the keys that the BatchError does not name.
func partial[K comparable](err error) (failed BatchError[K], ok bool) {
	for ; err != nil && !ok; err = errors.Unwrap(err) {
		failed, ok = err.(BatchError[K]) //lint:ignore errorlint errors.As would also look into joined errors
	}
	return failed, ok
}

// assign gives each key of js its part of what LoadMany returned, in out. It reads the keys of js, never the slice that LoadMany was
// given: LoadMany may have sorted, shortened or cleared that.
func (c *Cache[K, V]) assign(js jobs[K, V], found map[K]V, err error, out []loaded[V]) {
	failed, ok := partial[K](err)
	if err != nil && !ok {
		if errors.Is(err, ErrNotFound) && (len(js) > 1 || len(found) > 0) {
			// It does not say which keys are absent, so it must not be remembered as the absence of any.
			err = fmt.Errorf("LoadMany returned %d rows and an error for a batch of %d keys: %v; expected no error, and a map that lacks "+
				"the keys without a row", len(found), len(js), err)
		}
		for i := range out {
			out[i].err = err
		}
		return
	}
	clean := make(BatchError[K], len(failed))
	for k, err := range failed {
		if err != nil {
			clean[k] = err
		}
	}
	values, _ := named(c, js, found)
	errs, others := named(c, js, clean)
	var other error // of a key that was not asked for
	for _, err := range others {
		if !errors.Is(err, ErrNotFound) {
			other = err
		}
	}
	for i := range js {
		switch v, e := values[i], errs[i]; {
		case e.n > 0:
			out[i].err = e.v
		case v.n > 1:
			out[i].err = fmt.Errorf("LoadMany returned %d rows for it that differ, under keys of the same text", v.n)
		case v.n > 0:
			out[i].v = v.v
		case other != nil: // it may be about this key
			out[i].err = fmt.Errorf("LoadMany reported the error of a key that it was not asked for: %w", other)
		default:
			out[i].err = ErrNotFound
		}
	}
}

// part is what a map of LoadMany has for one key.
type part[T any] struct {
	v T
	n int // how many different values; zero if there is none
}

// named returns what m has for each key of js, and for keys that are not in js. Keys of the same text are one key, since they are
// one key in the store: not all of them are equal in Go (a time in two zones, pointers, NaN).
func named[K comparable, V, T any](c *Cache[K, V], js jobs[K, V], m map[K]T) (parts []part[T], others []T) {
	parts = make([]part[T], len(js))
	matched := 0
	for i, j := range js {
		if v, ok := m[j.k]; ok {
			parts[i] = part[T]{v, 1}
			matched++
		}
	}
	if matched == len(m) {
		return parts, nil
	}
	places := make(map[string][]int, len(js))
	for i, j := range js {
		places[j.key] = append(places[j.key], i)
	}
	for k, v := range m {
		text, err := c.Key(k)
		if err != nil || places[text] == nil {
			others = append(others, v)
			continue
		}
		for _, i := range places[text] {
			if p := &parts[i]; js[i].k != k && (p.n == 0 || !reflect.DeepEqual(p.v, v)) {
				p.v = v
				p.n++
			}
		}
	}
	return parts, others
}
