package codec

import (
	"encoding"
	"encoding/json"
	"reflect"
	"strings"

	v2 "github.com/go-json-experiment/json"
	go127 "github.com/go-json-experiment/json/v1"
)

// JSON returns the codec of encoding/json, the default for all types but []byte.
//
// Most types it decodes as encoding/json of Go 1.27 does, in less than half of the time that the one of Go 1.26 takes:
// https://pkg.go.dev/github.com/go-json-experiment/json/v1 is a mirror of it, and nothing but another name for it from Go 1.27 on.
// What the mirror may take otherwise than Go 1.26 is decoded by encoding/json itself; that is seen from the type.
//
// What JSON loses of a value, later reads do not have: fields that are not exported or have the tag "-", the kind of a number in a
// field of the type any (float64 afterwards), the location of a time but for its offset, the difference between nil and empty where
// omitempty leaves a field out.
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

// DecodeTo is Decode to where the caller keeps the value.
func (c jsonCodec[V]) DecodeTo(data []byte, v *V) error { return c.unmarshal(data, v) }

// alike reports whether the mirror decodes a type as encoding/json does. seen are the types that have been looked at, of which
// some are part of themselves.
func alike(t reflect.Type, seen map[reflect.Type]bool) bool {
	if seen[t] {
		return true
	}
	seen[t] = true
	if t == reflect.TypeFor[json.Number]() || implements[v2.UnmarshalerFrom](t) { // it has its own
		return false
	}
	switch t.Kind() {
	case reflect.Pointer, reflect.Slice, reflect.Array:
		return alike(t.Elem(), seen)
	case reflect.Map:
		return name(t.Key()) && alike(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			if f := t.Field(i); !plain(f.Tag.Get("json")) || !alike(f.Type, seen) {
				return false
			}
		}
	}
	return true
}

// name reports whether keys of a map of this type are read alike: strings, integers without methods, and what reads itself as text
// alone.
func name(t reflect.Type) bool {
	switch {
	case implements[json.Unmarshaler](t), implements[v2.UnmarshalerFrom](t), t == reflect.TypeFor[json.Number]():
		return false
	case implements[encoding.TextUnmarshaler](t), t.Kind() == reflect.String:
		return true
	}
	return t.PkgPath() == "" && (reflect.Zero(t).CanInt() || reflect.Zero(t).CanUint())
}

func implements[I any](t reflect.Type) bool {
	return reflect.PointerTo(t).Implements(reflect.TypeFor[I]())
}

// plain reports whether a tag means the same everywhere: it has no options that came after Go 1.26, nor the one that is read more
// freely since, and no name that Go 1.26 takes for none.
func plain(tag string) bool {
	name, options, _ := strings.Cut(tag, ",")
	for option := range strings.SplitSeq(options, ",") {
		switch option {
		case "", "omitempty", "omitzero":
		default:
			return false
		}
	}
	return !strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r > '~' })
}
