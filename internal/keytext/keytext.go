// Package keytext writes keys and members as text, and reads them back: strings, integers, floats, bools, and what implements
// encoding.TextMarshaler. It has the rule for the names of caches, with which keys begin.
package keytext

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"time"
)

// Writer returns how a T is written that names something; nil: it is none of the types above. Times are written in UTC, so that equal
// ones have one name.
func Writer[T any]() func(T) (string, error) {
	if f := plain(*new(T)); f != nil {
		return f.(func(T) (string, error))
	}
	t := reflect.TypeFor[T]()
	if t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return func(v T) (string, error) {
			text, err := any(v).(encoding.TextMarshaler).MarshalText()
			return string(text), err
		}
	}
	write := writers[t.Kind()]
	if write == nil {
		return nil
	}
	return func(v T) (string, error) { return write(reflect.ValueOf(v)), nil }
}

// plain is Writer for the types that need no reflection.
func plain(v any) any {
	switch v.(type) {
	case string:
		return func(v string) (string, error) { return v, nil }
	case int:
		return func(v int) (string, error) { return strconv.Itoa(v), nil }
	case int64:
		return func(v int64) (string, error) { return strconv.FormatInt(v, 10), nil }
	case time.Time:
		return func(v time.Time) (string, error) {
			text, err := v.UTC().MarshalText()
			return string(text), err
		}
	case uint64:
		return func(v uint64) (string, error) { return strconv.FormatUint(v, 10), nil }
	}
	return nil
}

// Reader returns what reads a T that Writer has written; nil: it cannot be read back.
func Reader[T any]() func(string) (T, error) {
	if f := plainReader(*new(T)); f != nil {
		return f.(func(string) (T, error))
	}
	t := reflect.TypeFor[T]()
	if reflect.PointerTo(t).Implements(reflect.TypeFor[encoding.TextUnmarshaler]()) {
		return func(text string) (v T, err error) {
			err = any(&v).(encoding.TextUnmarshaler).UnmarshalText([]byte(text))
			return v, err
		}
	}
	read := readers[t.Kind()]
	if read == nil || t.Implements(reflect.TypeFor[encoding.TextMarshaler]()) {
		return nil
	}
	return func(text string) (v T, err error) {
		if err = read(reflect.ValueOf(&v).Elem(), text); err != nil {
			err = fmt.Errorf("%.100q is no %v", text, t)
		}
		return v, err
	}
}

// plainReader is Reader for the commonest types, without an allocation.
func plainReader(v any) any {
	switch v.(type) {
	case string:
		return func(text string) (string, error) { return text, nil }
	case int:
		return strconv.Atoi
	case int64:
		return func(text string) (int64, error) { return strconv.ParseInt(text, 10, 64) }
	}
	return nil
}

// writers and readers know the basic kinds.
var (
	writers = map[reflect.Kind]func(reflect.Value) string{
		reflect.String:  func(v reflect.Value) string { return v.String() },
		reflect.Bool:    func(v reflect.Value) string { return strconv.FormatBool(v.Bool()) },
		reflect.Float32: func(v reflect.Value) string { return strconv.FormatFloat(v.Float(), 'g', -1, 32) },
		reflect.Float64: func(v reflect.Value) string { return strconv.FormatFloat(v.Float(), 'g', -1, 64) },
	}
	readers = map[reflect.Kind]func(v reflect.Value, text string) error{
		reflect.String: func(v reflect.Value, text string) error { v.SetString(text); return nil },
		reflect.Bool: func(v reflect.Value, text string) error {
			b, err := strconv.ParseBool(text)
			v.SetBool(b)
			return err
		},
	}
)

func init() {
	for kind := reflect.Int; kind <= reflect.Int64; kind++ {
		writers[kind] = func(v reflect.Value) string { return strconv.FormatInt(v.Int(), 10) }
		readers[kind] = func(v reflect.Value, text string) error {
			n, err := strconv.ParseInt(text, 10, v.Type().Bits())
			v.SetInt(n)
			return err
		}
	}
	for kind := reflect.Uint; kind <= reflect.Uintptr; kind++ {
		writers[kind] = func(v reflect.Value) string { return strconv.FormatUint(v.Uint(), 10) }
		readers[kind] = func(v reflect.Value, text string) error {
			n, err := strconv.ParseUint(text, 10, v.Type().Bits())
			v.SetUint(n)
			return err
		}
	}
	for _, kind := range []reflect.Kind{reflect.Float32, reflect.Float64} {
		readers[kind] = func(v reflect.Value, text string) error {
			f, err := strconv.ParseFloat(text, v.Type().Bits())
			v.SetFloat(f)
			return err
		}
	}
}

// Value writes one value of any of the types above, which must be addressable. False: it is of none.
func Value(v reflect.Value) (text string, ok bool, err error) {
	if m, is := v.Addr().Interface().(encoding.TextMarshaler); is {
		b, err := m.MarshalText()
		return string(b), true, err
	}
	write := writers[v.Kind()]
	if write == nil {
		return "", false, nil
	}
	return write(v), true, nil
}

// Set reads one value that Value has written into v, which must be settable. False: it is of none of the types above.
func Set(v reflect.Value, text string) (ok bool, err error) {
	if u, is := v.Addr().Interface().(encoding.TextUnmarshaler); is {
		return true, u.UnmarshalText([]byte(text))
	}
	read := readers[v.Kind()]
	if read == nil {
		return false, nil
	}
	if err = read(v, text); err != nil {
		err = fmt.Errorf("%.100q is no %v", text, v.Type())
	}
	return true, err
}
