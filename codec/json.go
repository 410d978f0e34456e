package codec

import (
	"encoding/json"
	"reflect"
	"strings"

	v2 "github.com/go-json-experiment/json"
	go127 "github.com/go-json-experiment/json/v1"
)

// JSON returns the codec of encoding/json, the default for all types but []byte.
//
// It decodes as encoding/json of Go 1.27 does, in less than half of the time that the one of Go 1.26 takes and by the same
// rules: https://pkg.go.dev/github.com/go-json-experiment/json/v1 is a mirror of it, and nothing but another name for it from
// Go 1.27 on. Until then, what the mirror takes otherwise is decoded by encoding/json itself: types with a json.Number in them,
// a tag that has other options than omitempty, omitzero and string, or a method UnmarshalJSONFrom.
func JSON[V any]() Codec[V] {
	if alike(reflect.TypeFor[V](), make(map[reflect.Type]bool)) {
		return jsonCodec[V]{go127.Unmarshal}
	}
	return jsonCodec[V]{json.Unmarshal}
}

type jsonCodec[V any] struct{ unmarshal func([]byte, any) error }

func (jsonCodec[V]) Encode(v V) ([]byte, error) { return json.Marshal(v) }

func (c jsonCodec[V]) Decode(data []byte) (v V, err error) {
	err = c.unmarshal(data, &v)
	return v, err
}

// alike reports whether the mirror decodes a type as encoding/json does. seen are the types that have been looked at, of which
// some are part of themselves.
func alike(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return true
	}
	seen[t] = true
	if t == reflect.TypeFor[json.Number]() || reflect.PointerTo(t).Implements(reflect.TypeFor[v2.UnmarshalerFrom]()) {
		return false
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return alike(t.Elem(), seen)
	case reflect.Map:
		return alike(t.Key(), seen) && alike(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); !plain(f.Tag.Get("json")) || !alike(f.Type, seen) {
				return false
			}
		}
	}
	return true
}

// plain reports whether a tag has no options that came after Go 1.26, whose encoding/json does not know them.
func plain(tag string) bool {
	_, options, _ := strings.Cut(tag, ",")
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "", "omitempty", "omitzero", "string":
		default:
			return false
		}
	}
	return true
}
