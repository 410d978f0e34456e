package serve

import (
	"context"
	"log/slog"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
)

// rowsCache is a cache of the key k:{id} whose loads are counted.
func rowsCache(t *testing.T, many bool, loads *int) (*Service, *memory.Store) {
	t.Helper()
	key, err := pattern.Parse("k:{id}", map[string]pattern.Type{"id": pattern.Int})
	if err != nil {
		t.Fatal(err)
	}
	s := memory.New(memory.Options{})
	return New(clientOver(t, s), slog.New(slog.DiscardHandler), []Spec{{Name: "k", Key: key, Many: many, TTL: time.Hour, LoadTimeout: eventually.Limit, MaxValue: 1 << 20, Load: func(context.Context, []string) ([]byte, error) {
		*loads++
		if many {
			return []byte(`[{"a":1}]`), nil
		}
		return []byte(`{"a":1}`), nil
	}}}), s
}

// A value of the other form, which a configuration with other 'rows' has left, is loaded again and replaced, once.
func TestRowsOfTheOtherForm(t *testing.T) {
	for _, c := range []struct {
		many      bool
		old, want string
	}{{true, `{"a":0}`, `[{"a":1}]`}, {false, `[{"a":0}]`, `{"a":1}`}, {false, `[]`, `{"a":1}`}, {true, "hello", `[{"a":1}]`}} {
		loads := 0
		s, st := rowsCache(t, c.many, &loads)
		st.Put(t.Context(), []store.Put{{Key: "k:1", Value: []byte(c.old), TTL: time.Hour}}, 0)
		for range 3 {
			if a := s.Get(t.Context(), [][]byte{[]byte("k:1")})[0]; string(a.Value) != c.want || a.Err != nil {
				t.Errorf("over %s: got %s, %v, want %s", c.old, a.Value, a.Err, c.want)
			}
		}
		if loads != 1 {
			t.Errorf("over %s: %d loads, want 1", c.old, loads)
		}
	}
}

// A key that cannot be is answered as one without rows: an empty list where a value is one.
func TestImpossibleKeys(t *testing.T) {
	for many, want := range map[bool]string{true: "[]", false: ""} {
		loads := 0
		s, st := rowsCache(t, many, &loads)
		for _, a := range append(s.Get(t.Context(), [][]byte{[]byte("k:x")}), s.Get(t.Context(), [][]byte{[]byte("k:01"), []byte("k:x")})...) {
			if string(a.Value) != want || a.Err != nil {
				t.Errorf("many: %v: got %q, %v, want %q", many, a.Value, a.Err, want)
			}
		}
		if loads != 0 {
			t.Errorf("%d loads of keys that cannot be", loads)
		}
		// An absence that was remembered by a configuration with 'rows: one' is no rows.
		st.Acquire(t.Context(), []store.Claim{{Key: "k:2", Token: "t", Lease: time.Minute}})
		st.Fill(t.Context(), []store.Fill{{Key: "k:2", Token: "t", Absent: true, TTL: time.Minute}})
		if a := s.Get(t.Context(), [][]byte{[]byte("k:2")})[0]; string(a.Value) != want || a.Err != nil || loads != 0 {
			t.Errorf("many: %v: a remembered absence is %q, %v, want %q", many, a.Value, a.Err, want)
		}
	}
}
