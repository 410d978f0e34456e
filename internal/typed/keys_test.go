package typed

import (
	"context"
	"log/slog"
	"math"
	"strconv"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/keytext"
	"github.com/nearside/nearside/internal/store/memory"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func shared(t testing.TB) *engine.Shared {
	s := engine.NewShared(memory.New(memory.Options{}), eventually.Limit, eventually.Limit, slog.New(slog.DiscardHandler))
	t.Cleanup(func() {
		if err := s.Close(context.Background()); err != nil {
			t.Error(err)
		}
	})
	return s
}

// given returns the key that the loaders are given for k: one alone, and one of a batch.
func given[K comparable](t *testing.T, k K, user func(K) string) (one, many K) {
	t.Helper()
	write, err := keytext.KeyWriter("x", user)
	if err != nil {
		t.Fatal(err)
	}
	cfg := Config[K, int]{
		Policy: engine.Policy{LoadTimeout: eventually.Limit}, MaxValue: 100, Key: write, Parse: keytext.KeyReader("x", user),
		Encode: func(v int) ([]byte, error) { return strconv.AppendInt(nil, int64(v), 10), nil },
		Decode: func(data []byte) (int, error) { return strconv.Atoi(string(data)) },
		Load:   func(_ context.Context, k K) (int, error) { one = k; return 1, nil },
	}
	s := shared(t)
	if v, err := New(s, cfg).Get(t.Context(), k); v != 1 || err != nil {
		t.Fatal(v, err)
	}
	cfg.Load = nil
	cfg.LoadMany = func(_ context.Context, ks []K) (map[K]int, error) { many = ks[0]; return map[K]int{ks[0]: 2}, nil }
	cache := New(s, cfg)
	if _, err := cache.Invalidate(t.Context(), []K{k}); err != nil {
		t.Fatal(err)
	}
	if found, err := cache.GetMap(t.Context(), []K{k}); found[k] != 2 || err != nil {
		t.Fatal(found, err)
	}
	return one, many
}

// A loader is given the very key of its caller, whether that is read from the text or carried beside it.
func TestLoadersAreGivenTheKey(t *testing.T) {
	check := func(t *testing.T, one, many, want any) {
		t.Helper()
		if one != want || many != want {
			t.Errorf("Load was given %v, and LoadMany %v; want %v", one, many, want)
		}
	}
	type id uint32
	type pair struct{ A, B int }
	here := time.Date(2026, 1, 2, 3, 4, 5, 0, time.FixedZone("", 3600))
	one, many := given(t, int64(-7), nil)
	check(t, one, many, int64(-7))
	a, b := given(t, "a:b", nil)
	check(t, a, b, "a:b")
	c, d := given(t, id(7), nil)
	check(t, c, d, id(7))
	e, f := given(t, true, nil)
	check(t, e, f, true)
	g, h := given(t, here, nil) // its text is that of UTC
	check(t, g, h, here)
	i, j := given(t, pair{1, 2}, func(p pair) string { return strconv.Itoa(p.A) + "-" + strconv.Itoa(p.B) })
	check(t, i, j, pair{1, 2})
	k, l := given(t, 1.5, func(f float64) string { return strconv.FormatFloat(math.Floor(f), 'g', -1, 64) })
	check(t, k, l, 1.5)
}

// hits returns how much a hit in the process allocates.
func hits[V any](t *testing.T, v V, encode func(V) []byte, decode func([]byte) V) float64 {
	write, _ := keytext.KeyWriter[int64]("x", nil)
	cache := New(shared(t), Config[int64, V]{
		Policy: engine.Policy{LoadTimeout: eventually.Limit}, MaxValue: 1000, Key: write, Parse: keytext.KeyReader[int64]("x", nil),
		Load:   func(context.Context, int64) (V, error) { return v, nil },
		Encode: func(v V) ([]byte, error) { return encode(v), nil },
		Decode: func(data []byte) (V, error) { return decode(data), nil },
		Near:   NearConfig[V]{Size: 100, Max: time.Hour},
	})
	eventually.True(t, "the value is kept near", func() bool {
		if _, err := cache.Get(t.Context(), 1000); err != nil {
			t.Fatal(err)
		}
		_, found, _ := cache.Kept(1000)
		return found
	})
	ctx := t.Context()
	return testing.AllocsPerRun(10_000, func() {
		if _, err := cache.Get(ctx, 1000); err != nil {
			t.Error(err)
		}
	})
}

// What is kept in the process is given away without an allocation, though the engine holds it as a value of any type.
func TestNearHitsAllocateNothing(t *testing.T) {
	number := hits(t, 1000, func(v int) []byte { return strconv.AppendInt(nil, int64(v), 10) }, func(data []byte) int { v, _ := strconv.Atoi(string(data)); return v })
	large := hits(t, [25]int64{1000}, func(v [25]int64) []byte { return []byte{byte(v[0])} }, func(data []byte) [25]int64 { return [25]int64{int64(data[0])} })
	if number != 0 || large != 0 {
		t.Errorf("a hit on an int allocates %v times, on a value of 200 bytes %v times; want 0", number, large)
	}
}
