package text

import (
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/nearside/nearside/internal/store"
)

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]*$`)

// CheckName returns nil for a name that a cache may have: so the first colon of a key always ends it, and no two caches can
// collide.
func CheckName(name string) error {
	if !nameForm.MatchString(name) {
		return errors.New("expected a name of a-z, 0-9, '_', '.' and '-' that begins with a letter or digit")
	}
	if name == "nearside" {
		return errors.New("the layer's own keys begin so: choose another name")
	}
	return nil
}

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

// KeyReader returns what reads the keys that KeyWriter writes without a function of the user's; nil: they cannot be read.
func KeyReader[K comparable](name string, user func(K) string) func(key string) (K, bool) {
	read := Reader[K]()
	if read == nil || user != nil {
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
