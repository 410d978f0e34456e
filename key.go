package nearside

import (
	"encoding"
	"fmt"
	"reflect"
	"regexp"
	"strconv"
	"strings"

	"github.com/nearside/nearside/internal/engine"
)

// Key names one value of one cache.
type Key struct {
	text    string
	written engine.Written
	err     error
}

// String returns the key as it stands in Redis: "user:42".
func (k Key) String() string { return k.text }

var nameForm = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]*$`)

// keyFunc returns how a key of type K is written behind the cache's name. Strings, integers, bools and
// encoding.TextMarshaler are known; anything else needs a function.
func keyFunc[K comparable](name string, user func(K) string) (func(K) (string, error), error) {
	prefix := name + ":"
	if user != nil {
		return func(k K) (string, error) { return prefix + user(k), nil }, nil
	}
	if f := plainKey(prefix, *new(K)); f != nil {
		return f.(func(K) (string, error)), nil
	}
	t := reflect.TypeFor[K]()
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return func(k K) (string, error) {
			text, err := any(k).(encoding.TextMarshaler).MarshalText()
			if err != nil {
				return "", fmt.Errorf("%w: %v: %w", ErrKey, k, err)
			}
			return prefix + string(text), nil
		}, nil
	}
	switch t.Kind() {
	case reflect.String:
		return func(k K) (string, error) { return prefix + reflect.ValueOf(k).String(), nil }, nil
	case reflect.Bool:
		return func(k K) (string, error) { return prefix + strconv.FormatBool(reflect.ValueOf(k).Bool()), nil }, nil
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		return func(k K) (string, error) { return prefix + strconv.FormatInt(reflect.ValueOf(k).Int(), 10), nil }, nil
	case reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64, reflect.Uintptr:
		return func(k K) (string, error) { return prefix + strconv.FormatUint(reflect.ValueOf(k).Uint(), 10), nil }, nil
	}
	return nil, fmt.Errorf("keys of type %v: they are no strings, integers, bools or encoding.TextMarshaler; set Config.Key", t)
}

// plainKey is keyFunc for the types that need no reflection. k is only there for its type.
func plainKey(prefix string, k any) any {
	switch k.(type) {
	case string:
		return func(k string) (string, error) { return prefix + k, nil }
	case int:
		return func(k int) (string, error) { return numbered(prefix, int64(k)), nil }
	case int64:
		return func(k int64) (string, error) { return numbered(prefix, k), nil }
	case uint64:
		return func(k uint64) (string, error) { return prefix + strconv.FormatUint(k, 10), nil }
	}
	return nil
}

// numbered is prefix and k, in one allocation.
func numbered(prefix string, k int64) string {
	var space [64]byte
	return string(strconv.AppendInt(append(space[:0], prefix...), k, 10))
}

// parseFunc returns what reads the keys that keyFunc writes without a function of the user's; nil: they cannot be read.
func parseFunc[K comparable](name string, user func(K) string) func(text string) (K, bool) {
	t, prefix := reflect.TypeFor[K](), name+":"
	if user != nil || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return nil
	}
	read := map[reflect.Kind]func(v reflect.Value, text string) bool{
		reflect.String: func(v reflect.Value, text string) bool { v.SetString(text); return true },
		reflect.Bool: func(v reflect.Value, text string) bool {
			b, err := strconv.ParseBool(text)
			v.SetBool(b)
			return err == nil
		},
	}
	for kind := reflect.Int; kind <= reflect.Int64; kind++ {
		read[kind] = func(v reflect.Value, text string) bool {
			n, err := strconv.ParseInt(text, 10, t.Bits())
			v.SetInt(n)
			return err == nil
		}
	}
	for kind := reflect.Uint; kind <= reflect.Uintptr; kind++ {
		read[kind] = func(v reflect.Value, text string) bool {
			n, err := strconv.ParseUint(text, 10, t.Bits())
			v.SetUint(n)
			return err == nil
		}
	}
	set := read[t.Kind()]
	if set == nil {
		return nil
	}
	return func(text string) (k K, ok bool) {
		text, ok = strings.CutPrefix(text, prefix)
		return k, ok && set(reflect.ValueOf(&k).Elem(), text)
	}
}
