package shape

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"reflect"

	"github.com/nearside/nearside/codec"
	"github.com/nearside/nearside/internal/keytext"
	"github.com/nearside/nearside/internal/store"
)

// members writes members as they stand in Redis, and reads them.
type members[K comparable, T any] struct {
	c     *Collection[K]
	write func(T) (string, error)
	read  func(string) (T, error)
}

// newMembers chooses how members are written: by the codec; without one as text, if they are strings, numbers, bools, or
// implement encoding.TextMarshaler and its counterpart; else as JSON.
func newMembers[K comparable, T any](of *Collection[K], c codec.Codec[T]) (m members[K, T]) {
	m.c = of
	if c == nil {
		if m.write, m.read = keytext.Writer[T](), keytext.Reader[T](); m.write != nil && m.read != nil {
			return m
		}
		c = codec.JSON[T]()
	}
	m.write = func(v T) (string, error) { b, err := c.Encode(v); return string(b), err }
	m.read = func(s string) (T, error) { return c.Decode([]byte(s)) }
	return m
}

func (m *members[K, T]) encode(v T) (string, error) {
	s, err := m.write(v)
	if err != nil {
		return "", fmt.Errorf("the element %.100v cannot be written: %w", v, err)
	}
	return s, nil
}

// textOf is encode for an element that a caller names.
func (m *members[K, T]) textOf(k K, v T) (string, error) {
	s, err := m.encode(v)
	if err != nil {
		err = fmt.Errorf("%.100q: %w", m.c.Key(k), err)
	}
	return s, err
}

func (m *members[K, T]) textsOf(k K, vs []T) ([]string, error) {
	out := make([]string, len(vs))
	for i, v := range vs {
		s, err := m.textOf(k, v)
		if err != nil {
			return nil, err
		}
		out[i] = s
	}
	return out, nil
}

// query reads elements, and gives each behind begin; both again, if those of before are not to be used.
func (m *members[K, T]) query(ctx context.Context, k K, q store.Query, begin func(n int), each func(v T, e store.Element)) (store.View, error) {
	v, err := m.c.e.QueryChecked(ctx, k, q, func(v store.View) (string, error) {
		begin(len(v.Elements))
		for i, e := range v.Elements {
			if v.Has != nil && !v.Has[i] {
				continue
			}
			t, err := m.read(e.Member)
			if err != nil {
				return e.Member, m.undecodable(k, e.Member, err)
			}
			each(t, e)
		}
		return "", nil
	})
	return v.View, err
}

func (m *members[K, T]) undecodable(k K, member string, err error) error {
	return undecodable{fmt.Errorf("%.100q: the element %.100q does not decode as a %v: %w", m.c.Key(k), member, reflect.TypeFor[T](), err)}
}

// undecodable is the error of an element that does not decode.
type undecodable struct{ error }

func (e undecodable) Unwrap() error { return errors.Unwrap(e.error) }

// plain is query for elements without scores.
func (m *members[K, T]) plain(ctx context.Context, k K, q store.Query) (out []T, err error) {
	begin := func(n int) { out = make([]T, 0, n) }
	_, err = m.query(ctx, k, q, begin, func(v T, _ store.Element) { out = append(out, v) })
	return out, err
}

// peek reads elements from the store, and never loads.
func peek[K comparable, T, E any](ctx context.Context, m *members[K, T], k K, q store.Query, one func(T, store.Element) E) ([]E, error) {
	view, err := m.c.e.Peek(ctx, k, q)
	if err != nil {
		return nil, err
	}
	out := make([]E, len(view.Elements))
	for i, e := range view.Elements {
		v, err := m.read(e.Member)
		if err != nil {
			return nil, m.undecodable(k, e.Member, err)
		}
		out[i] = one(v, e)
	}
	return out, nil
}

// change sends plain writes, after the commit.
func (m *members[K, T]) change(ctx context.Context, k K, op store.Op, vs []T) error {
	texts, err := m.textsOf(k, vs)
	if err != nil {
		return err
	}
	changes := make([]store.Change, len(vs))
	for i, s := range texts {
		changes[i] = store.Change{Op: op, Element: store.Element{Member: s}}
	}
	return m.c.e.Write(ctx, k, changes...)
}

// update runs a database write of one member, after which op is true of it.
func (m *members[K, T]) update(ctx context.Context, k K, v T, op store.Op, write func(context.Context) error) error {
	s, err := m.textOf(k, v)
	if err != nil {
		return err
	}
	return m.c.e.Update(ctx, k, s, func(ctx context.Context) (store.Change, float64, error) {
		return store.Change{Op: op, Element: store.Element{Member: s}}, 0, write(ctx)
	})
}

// loader makes one of a loader of slices or of a stream.
func loader[K comparable, E any](load func(context.Context, K) ([]E, error), stream func(context.Context, K) iter.Seq2[E, error],
	element func(E) (store.Element, error)) func(context.Context, K, func(store.Element) error) error {
	if load == nil && stream == nil {
		return nil
	}
	return func(ctx context.Context, k K, emit func(store.Element) error) error {
		if stream == nil {
			es, err := load(ctx, k)
			if err != nil {
				return err
			}
			for _, v := range es {
				e, err := element(v)
				if err == nil {
					err = emit(e)
				}
				if err != nil {
					return err
				}
			}
			return nil
		}
		for v, err := range stream(ctx, k) {
			if err != nil {
				return err
			}
			e, err := element(v)
			if err == nil {
				err = emit(e)
			}
			if err != nil {
				return err
			}
		}
		return nil
	}
}
