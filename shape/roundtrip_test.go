package shape_test

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/shape"
)

// Values of the type any come back as the kind of JSON value that they were, nested ones too, from the first read on.
func TestFieldsOfInterfaceType(t *testing.T) {
	type loose struct {
		Any     any            `json:"any"`
		Pointer *any           `json:"pointer"`
		Nested  map[string]any `json:"nested"`
		List    []any          `json:"list"`
		Text    string         `json:"text"`
	}
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx, half := t.Context(), any(0.5)
		row := loose{12.5, &half, map[string]any{"n": 12.0, "ok": true, "deep": map[string]any{"s": "12"}}, []any{1.0, "1", nil}, "plain"}
		h := shape.NewHash(c, "loose", shape.HashConfig[int, loose]{Load: func(context.Context, int) (loose, error) { return row, nil }})
		values := map[string]any{"n": 12.0, "s": "12", "ok": true, "quoted": `"x"`, "list": []any{"a", 1.0}, "object": map[string]any{"a": 1.0}, "": ""}
		m := shape.NewHash(c, "values", shape.HashConfig[int, map[string]any]{Load: func(context.Context, int) (map[string]any, error) { return values, nil }})
		for range 2 {
			if got := must[loose](t)(h.All(ctx, 1)); !reflect.DeepEqual(got, row) {
				t.Errorf("got %#v, want %#v", got, row)
			}
			if got := must[map[string]any](t)(m.All(ctx, 1)); !reflect.DeepEqual(got, values) {
				t.Errorf("got %#v, want %#v", got, values)
			}
		}
		values = map[string]any{"n": "not a number any more"}
		must[map[string]any](t)(m.Update(ctx, 1, "n", func(context.Context) (map[string]any, error) { return values, nil }))
		if got := must[map[string]any](t)(m.Get(ctx, 1, "n")); !reflect.DeepEqual(got, values) {
			t.Errorf("got %#v after an update, want %#v", got, values)
		}
	})
}

// onlyWritten is text that cannot be read back.
type onlyWritten int

func (onlyWritten) MarshalText() ([]byte, error) { return []byte("high"), nil }

// A type that cannot be read back is refused when the cache is made, and the message names the field.
func TestFieldsThatCannotBeReadBack(t *testing.T) {
	type inner struct {
		Failure error `json:"failure"`
	}
	type failure struct {
		Name    string
		Failure error `json:"failure"`
	}
	type nested struct{ Inner []*inner }
	type function struct{ F func() }
	type text struct{ Level onlyWritten }
	type ignored struct {
		Name    string
		Failure error `json:"-"`
		hidden  error
	}
	_ = ignored{hidden: nil}.hidden
	c := open(t, "memory:")
	for field, make := range map[string]func(){
		`"failure"`: func() { shape.NewHash(c, "a", config[failure]()) },
		`"Inner"`:   func() { shape.NewHash(c, "b", config[nested]()) },
		`"F"`:       func() { shape.NewHash(c, "c", config[function]()) },
		`"Level"`:   func() { shape.NewHash(c, "d", config[text]()) },
		"Stringer":  func() { shape.NewHash(c, "e", config[map[string]fmt.Stringer]()) },
	} {
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.Contains(p, field) || !strings.Contains(p, "cannot be read back") {
					t.Errorf("%s: %v", field, p)
				}
			}()
			make()
		}()
	}
	shape.NewHash(c, "f", config[ignored]())
	shape.NewHash(c, "g", config[map[string]time.Time]())
}

func config[V any]() shape.HashConfig[int, V] {
	return shape.HashConfig[int, V]{Load: func(context.Context, int) (v V, err error) { return v, errors.New("not called") }}
}

// Of a member that a loader gives twice, the first holds, at the first read and at all later ones.
func TestMemberTwice(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx := t.Context()
		for _, n := range []int{2, 4000} { // the two in one chunk, and far apart
			boards := shape.NewSortedSet(c, fmt.Sprint("board", n), shape.SortedSetConfig[string, int]{
				Load: func(context.Context, string) (out []shape.Scored[int], err error) {
					for i := range n {
						out = append(out, shape.Scored[int]{Member: i, Score: float64(i)})
					}
					return append(out, shape.Scored[int]{Member: 1, Score: 1e6}, shape.Scored[int]{Member: 1, Score: -5}), nil
				},
			})
			friends := shape.NewSet(c, fmt.Sprint("friends", n), shape.SetConfig[string, int]{
				Load: func(context.Context, string) (out []int, err error) {
					for i := range n {
						out = append(out, i)
					}
					return append(out, 1, 1), nil
				},
			})
			for i := range 3 {
				if v := must[float64](t)(boards.Score(ctx, "chess", 1)); v != 1 {
					t.Errorf("read %d: the score of a member that came twice is %v, want the first", i, v)
				}
				if size := must[int](t)(boards.Len(ctx, "chess")); size != n {
					t.Errorf("read %d: %d members, want %d", i, size, n)
				}
				if size := must[int](t)(friends.Len(ctx, "ada")); size != n {
					t.Errorf("read %d: %d friends, want %d", i, size, n)
				}
			}
		}
		l := shape.NewList(c, "list", shape.ListConfig[int, int]{Load: func(context.Context, int) ([]int, error) { return []int{1, 1, 2, 1}, nil }})
		for range 2 {
			if got := must[[]int](t)(l.Range(ctx, 1, 0, -1)); !slices.Equal(got, []int{1, 1, 2, 1}) {
				t.Errorf("a list: %v", got)
			}
		}
	})
}

// Equal times are one member.
func TestTimesAsMembers(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		at := time.Unix(1e9, 0).In(time.FixedZone("", 3600))
		s := shape.NewSet(c, "days", shape.SetConfig[int, time.Time]{Load: func(context.Context, int) ([]time.Time, error) { return []time.Time{at, at.UTC()}, nil }})
		for range 2 {
			if n := must[int](t)(s.Len(t.Context(), 1)); n != 1 {
				t.Errorf("%d members", n)
			}
			if !must[bool](t)(s.Has(t.Context(), 1, at.UTC())) || !must[bool](t)(s.Has(t.Context(), 1, at)) {
				t.Error("a time is not found in another zone")
			}
		}
	})
}
