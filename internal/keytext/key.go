package keytext

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// KeyWriter returns how a key of type K is written behind the cache's name. Strings, integers, bools and
// encoding.TextMarshaler are known; anything else needs a function.
func KeyWriter[K comparable](name string, user func(K) string) (func(K) (string, error), error) {
	prefix := name + ":"
	if user != nil {
		return func(k K) (string, error) { return prefix + user(k), nil }, nil
	}
	if f := numbered(prefix, *new(K)); f != nil {
		return f.(func(K) (string, error)), nil
	}
	write, t := Writer[K](), reflect.TypeFor[K]()
	if zoned(write) {
		return nil, fmt.Errorf("keys of type %v: the same time has another text in each zone, and would be another key; set Config.Key", t)
	}
	if write == nil || t.Kind() == reflect.Float64 || t.Kind() == reflect.Float32 {
		return nil, fmt.Errorf("keys of type %v: they are no strings, integers, bools or encoding.TextMarshaler; set Config.Key", t)
	}
	return func(k K) (string, error) {
		s, err := write(k)
		if err != nil {
			return "", fmt.Errorf("%w: %v: %w", store.ErrKey, k, err)
		}
		return prefix + s, nil
	}, nil
}

// numbered is KeyWriter for the commonest numbers, in one allocation. k is only there for its type.
func numbered(prefix string, k any) any {
	key := func(k int64) (string, error) {
		var space [64]byte
		return string(strconv.AppendInt(append(space[:0], prefix...), k, 10)), nil
	}
	switch k.(type) {
	case int:
		return func(k int) (string, error) { return key(int64(k)) }
	case int64:
		return key
	}
	return nil
}

// zoned reports whether a struct with an embedded time is written with the zone of the time.
func zoned[K any](write func(K) (string, error)) bool {
	var utc, east K
	t := reflect.TypeFor[K]()
	if write == nil || t.Kind() != reflect.Struct {
		return false
	}
	field, ok := t.FieldByName("Time")
	if !ok || !field.Anonymous || len(field.Index) != 1 || field.Type != reflect.TypeFor[time.Time]() {
		return false
	}
	at := time.Unix(1e9, 0)
	reflect.ValueOf(&utc).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(at.UTC()))
	reflect.ValueOf(&east).Elem().FieldByIndex(field.Index).Set(reflect.ValueOf(at.In(time.FixedZone("", 3600))))
	a, errA := write(utc)
	b, errB := write(east)
	return errA == nil && errB == nil && a != b
}

// KeyReader returns what reads the keys that KeyWriter writes without a function of the user's; nil: they cannot be read.
func KeyReader[K comparable](name string, user func(K) string) func(key string) (K, bool) {
	read := Reader[K]()
	if read == nil || user != nil || reflect.TypeFor[K]() == reflect.TypeFor[time.Time]() { // times that are equal are not all ==
		return nil
	}
	prefix := name + ":"
	return func(key string) (k K, ok bool) {
		rest, ok := strings.CutPrefix(key, prefix)
		if !ok {
			return k, false
		}
		k, err := read(rest)
		return k, err == nil
	}
}

// WholeKeys returns how keys are written, and read back, that are whole keys of Redis: strings as they are, other types by a function of
// the user's.
func WholeKeys[K comparable](user func(K) string) (write func(K) (string, error), read func(string) (K, bool), err error) {
	if user != nil {
		return func(k K) (string, error) { return user(k), nil }, nil, nil
	}
	var w any = func(k string) (string, error) { return k, nil }
	var r any = func(key string) (string, bool) { return key, true }
	write, ok := w.(func(K) (string, error))
	if !ok {
		return nil, nil, fmt.Errorf("keys of type %v: with Config.Pattern a key is a string, or Config.Key returns the whole key", reflect.TypeFor[K]())
	}
	return write, r.(func(string) (K, bool)), nil
}
