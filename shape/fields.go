package shape

import (
	"encoding"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"github.com/nearside/nearside/internal/keytext"
	"github.com/nearside/nearside/internal/store"
)

// fields turns a V into the fields of a hash, and back.
type fields[V any] struct {
	t     reflect.Type
	index map[string][]int // of a struct, by the name in the hash; nil: V is a map
	order []string
}

func fieldsOf[V any]() (f fields[V], err error) {
	f.t = reflect.TypeFor[V]()
	switch {
	case f.t.Kind() == reflect.Map && f.t.Key().Kind() == reflect.String:
		if err := readable(f.t.Elem()); err != nil {
			return f, fmt.Errorf("the values of %v cannot be read back: %w", f.t, err)
		}
		return f, nil
	case f.t.Kind() != reflect.Struct:
		return f, fmt.Errorf("a hash shows a struct or a map with strings for keys, and %v is neither", f.t)
	}
	f.index = make(map[string][]int)
	for _, field := range reflect.VisibleFields(f.t) {
		name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		switch {
		case field.Anonymous && !flat(field):
			return f, fmt.Errorf("%v embeds %v: the fields of an embedded struct are shown as its own, but this one has a tag, or a form of its own, "+
				"or cannot be made: give it a name", f.t, field.Type)
		case field.Anonymous, !field.IsExported(), name == "-":
			continue
		}
		if name == "" {
			name = field.Name
		}
		if f.index[name] != nil {
			return f, fmt.Errorf("%v has two fields %q", f.t, name)
		}
		if err := readable(field.Type); err != nil {
			return f, fmt.Errorf("the field %q of %v cannot be read back: %w; give it another type, or leave it out by the tag `json:\"-\"`", name, f.t, err)
		}
		f.index[name], f.order = field.Index, append(f.order, name)
	}
	if len(f.order) == 0 {
		return f, fmt.Errorf("%v has no exported fields", f.t)
	}
	return f, nil
}

// flat reports whether the fields of an embedded one can stand beside those of its struct.
func flat(field reflect.StructField) bool {
	t, pointer := field.Type, field.Type.Kind() == reflect.Pointer
	if pointer {
		t = t.Elem()
	}
	p := reflect.PointerTo(t)
	own := p.Implements(reflect.TypeFor[encoding.TextMarshaler]()) || p.Implements(reflect.TypeFor[json.Marshaler]())
	return t.Kind() == reflect.Struct && !own && field.Tag.Get("json") == "" && (field.IsExported() || !pointer)
}

func (f fields[V]) has(name string) bool { return f.index == nil || f.index[name] != nil }

func (f fields[V]) names() string { return strings.Join(f.order, ", ") }

// each emits the fields of v, those of a struct in its order.
func (f fields[V]) each(v V, emit func(store.Element) error) error {
	names := f.order
	if f.index == nil {
		keys := make(map[string]bool)
		for _, k := range reflect.ValueOf(v).MapKeys() {
			keys[k.String()] = true
		}
		names = slices.Sorted(maps.Keys(keys))
	}
	for _, name := range names {
		e, ok, err := f.one(v, name)
		if err == nil && ok {
			err = emit(e)
		}
		if err != nil {
			return fmt.Errorf("the field %.100q: %w", name, err)
		}
	}
	return nil
}

// one returns a field of v. False: it is nil, or not in the map.
func (f fields[V]) one(v V, name string) (e store.Element, ok bool, err error) {
	r := reflect.ValueOf(&v).Elem()
	if f.index == nil {
		r = r.MapIndex(reflect.ValueOf(name).Convert(f.t.Key()))
	} else if r, err = r.FieldByIndexErr(f.index[name]); err != nil {
		return e, false, nil // of an embedded struct that is nil
	}
	loose := r.IsValid() && holdsAny(r.Type())
	for r.IsValid() && (r.Kind() == reflect.Pointer || r.Kind() == reflect.Interface) {
		r = r.Elem()
	}
	if !r.IsValid() {
		return e, false, nil
	}
	if !r.CanAddr() { // of a map or an interface: a marshaler may be a pointer's
		p := reflect.New(r.Type()).Elem()
		p.Set(r)
		r = p
	}
	s, plain := "", false
	if !loose { // else its text would not tell what it was: 12 or "12"
		s, plain, err = keytext.Value(r)
	}
	if !plain && err == nil {
		var b []byte
		b, err = json.Marshal(r.Addr().Interface())
		s = string(b)
	}
	return store.Element{Member: name, Value: s}, err == nil, err
}

// set puts a field of the hash into v.
func (f fields[V]) set(v *V, e store.Element) error {
	r := reflect.ValueOf(v).Elem()
	if f.index != nil {
		if index := f.index[e.Member]; index != nil {
			return setText(fieldOf(r, index), e.Value)
		}
		return nil
	}
	if r.IsNil() {
		r.Set(reflect.MakeMap(f.t))
	}
	value := reflect.New(f.t.Elem()).Elem()
	if err := setText(value, e.Value); err != nil {
		return err
	}
	r.SetMapIndex(reflect.ValueOf(e.Member).Convert(f.t.Key()), value)
	return nil
}

// fieldOf is FieldByIndex that makes the embedded structs on its way.
func fieldOf(r reflect.Value, index []int) reflect.Value {
	for i, n := range index {
		if i > 0 && r.Kind() == reflect.Pointer {
			if r.IsNil() {
				r.Set(reflect.New(r.Type().Elem()))
			}
			r = r.Elem()
		}
		r = r.Field(n)
	}
	return r
}

func setText(r reflect.Value, s string) error {
	if r.Kind() == reflect.Pointer {
		p := reflect.New(r.Type().Elem())
		if err := setText(p.Elem(), s); err != nil {
			return err
		}
		r.Set(p)
		return nil
	}
	if r.Kind() == reflect.Interface && r.NumMethod() == 0 {
		return json.Unmarshal([]byte(s), r.Addr().Interface())
	}
	if plain, err := keytext.Set(r, s); plain {
		return err
	}
	return json.Unmarshal([]byte(s), r.Addr().Interface())
}

// holdsAny reports whether a field of this type is an interface, or points to one. Such fields are written as JSON, which keeps the
// kinds of their values.
func holdsAny(t reflect.Type) bool {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	return t.Kind() == reflect.Interface
}

// readable returns nil for a type of a field that can be read back from what is written of it.
func readable(t reflect.Type) error {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if p := reflect.PointerTo(t); p.Implements(reflect.TypeFor[encoding.TextMarshaler]()) && !p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) &&
		t.Kind() != reflect.Interface {
		return fmt.Errorf("%v is an encoding.TextMarshaler and no encoding.TextUnmarshaler", t)
	}
	return decodes(t, make(map[reflect.Type]bool))
}

// decodes returns nil for a type that encoding/json can decode. seen are the types that have been looked at, of which some are part of
// themselves.
func decodes(t reflect.Type, seen map[reflect.Type]bool) error {
	p := reflect.PointerTo(t)
	if seen[t] || p.Implements(reflect.TypeFor[json.Unmarshaler]()) || p.Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return nil
	}
	seen[t] = true
	switch t.Kind() {
	case reflect.Interface:
		if t.NumMethod() > 0 {
			return fmt.Errorf("%v is an interface with methods, and JSON does not tell which type is to implement it", t)
		}
	case reflect.Chan, reflect.Func, reflect.Complex64, reflect.Complex128, reflect.UnsafePointer:
		return fmt.Errorf("JSON cannot show a %v", t)
	case reflect.Pointer, reflect.Slice, reflect.Array, reflect.Map:
		return decodes(t.Elem(), seen)
	case reflect.Struct:
		for i := range t.NumField() {
			field := t.Field(i)
			if tag := field.Tag.Get("json"); tag == "-" || !field.IsExported() && !field.Anonymous {
				continue
			}
			if err := decodes(field.Type, seen); err != nil {
				return fmt.Errorf("%v.%s: %w", t, field.Name, err)
			}
		}
	}
	return nil
}
