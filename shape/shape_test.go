package shape_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/shape"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// table is a database of scores that counts how often it is asked.
type table struct {
	mu    sync.Mutex
	rows  map[string]map[int]float64
	loads atomic.Int32
}

func newTable(n int) *table {
	t := &table{rows: map[string]map[int]float64{"chess": {}}}
	for i := range n {
		t.rows["chess"][i] = float64(i * 10)
	}
	return t
}

func (t *table) load(_ context.Context, game string) (out []shape.Scored[int], err error) {
	t.loads.Add(1)
	t.mu.Lock()
	defer t.mu.Unlock()
	for m, s := range t.rows[game] {
		out = append(out, shape.Scored[int]{Member: m, Score: s})
	}
	return out, nil
}

func (t *table) one(_ context.Context, game string, m int) (float64, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	s, ok := t.rows[game][m]
	if !ok {
		return 0, nearside.ErrNotFound
	}
	return s, nil
}

func (t *table) add(game string, m int, d float64) float64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.rows[game][m] += d
	return t.rows[game][m]
}

func open(t testing.TB, url string) *nearside.Client {
	t.Helper()
	c, err := nearside.Open(t.Context(), url, nearside.Options{Budget: 5 * time.Second, WriteBudget: 10 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// everywhere runs a test on the memory store and on Redis.
func everywhere(t *testing.T, test func(t *testing.T, c *nearside.Client)) {
	t.Run("memory", func(t *testing.T) { test(t, open(t, "memory:")) })
	t.Run("redis", func(t *testing.T) { test(t, open(t, redistest.Start(t).URL())) })
}

func must[T any](t testing.TB) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func TestSortedSet(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx, db := t.Context(), newTable(100)
		s := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{Load: db.load, LoadOne: db.one})
		top := must[[]shape.Scored[int]](t)(s.Top(ctx, "chess", 3))
		if want := []shape.Scored[int]{{99, 990}, {98, 980}, {97, 970}}; !slices.Equal(top, want) {
			t.Errorf("the top is %v, want %v", top, want)
		}
		if n := must[int](t)(s.Len(ctx, "chess")); n != 100 {
			t.Errorf("%d members", n)
		}
		if r := must[int](t)(s.Rank(ctx, "chess", 97)); r != 2 {
			t.Errorf("97 is at %d", r)
		}
		if _, err := s.Rank(ctx, "chess", 1000); !errors.Is(err, nearside.ErrNotFound) {
			t.Errorf("the rank of nobody: %v", err)
		}
		if v := must[float64](t)(s.Score(ctx, "chess", 5)); v != 50 {
			t.Errorf("5 has %v", v)
		}
		near, place, err := s.Around(ctx, "chess", 98, 2)
		if err != nil || place != 0 || len(near) != 4 || near[1].Member != 98 {
			t.Errorf("around 98: %v from place %d, %v", near, place, err)
		}
		by := must[[]shape.Scored[int]](t)(s.RangeByScore(ctx, "chess", 100, 130, 0))
		if len(by) != 4 || by[0].Member != 13 {
			t.Errorf("from 100 to 130: %v", by)
		}
		if n := must[int](t)(s.Count(ctx, "chess", math.Inf(-1), 90)); n != 10 {
			t.Errorf("%d have at most 90", n)
		}
		if got := must[float64](t)(s.Update(ctx, "chess", 5, func(context.Context) (float64, error) { return db.add("chess", 5, 1000), nil })); got != 1050 {
			t.Errorf("the update returned %v", got)
		}
		if r := must[int](t)(s.Rank(ctx, "chess", 5)); r != 0 {
			t.Errorf("after 1000 points 5 is at %d", r)
		}
		db.mu.Lock()
		delete(db.rows["chess"], 5)
		db.mu.Unlock()
		if err := s.Remove(ctx, "chess", 5); err != nil {
			t.Error(err)
		}
		if _, err := s.Score(ctx, "chess", 5); !errors.Is(err, nearside.ErrNotFound) {
			t.Errorf("the score of one who was removed: %v", err)
		}
		if n := db.loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1", n)
		}
		if d, err := s.TTL(ctx, "chess"); err != nil || d < 50*time.Minute || d > time.Hour {
			t.Errorf("the TTL is %v, %v", d, err)
		}
		if err := s.Invalidate(ctx, "chess"); err != nil {
			t.Error(err)
		}
		if has, err := s.Cached(ctx, "chess"); has || err != nil {
			t.Errorf("cached after an invalidation: %v, %v", has, err)
		}
		s.Top(ctx, "chess", 1)
		if n := db.loads.Load(); n != 2 {
			t.Errorf("%d loads after an invalidation, want 2", n)
		}
	})
}

func TestEmptyIsRemembered(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx, db := t.Context(), newTable(0)
		s := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{Load: db.load})
		for range 3 {
			if top := must[[]shape.Scored[int]](t)(s.Top(ctx, "chess", 3)); len(top) != 0 {
				t.Errorf("%v", top)
			}
		}
		if n := db.loads.Load(); n != 1 {
			t.Errorf("%d loads of an empty set, want 1", n)
		}
		db.add("chess", 1, 5)
		if err := s.Add(ctx, "chess", 1, 5); err != nil {
			t.Fatal(err)
		}
		if top := must[[]shape.Scored[int]](t)(s.Top(ctx, "chess", 3)); len(top) != 1 {
			t.Errorf("after an add: %v", top)
		}
	})
}

func TestOneLoadForAll(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		var loads atomic.Int32
		friends := shape.NewSet(c, "friends", shape.SetConfig[int, int]{Load: func(context.Context, int) ([]int, error) {
			loads.Add(1)
			time.Sleep(30 * time.Millisecond)
			return []int{1, 2, 3}, nil
		}})
		var all sync.WaitGroup
		for range 200 {
			all.Go(func() {
				if has, err := friends.HasMany(t.Context(), 7, 2, 9); err != nil || !slices.Equal(has, []bool{true, false}) {
					t.Error(has, err)
				}
			})
		}
		all.Wait()
		if n := loads.Load(); n != 1 {
			t.Errorf("%d loads for 200 readers, want 1", n)
		}
	})
}

func TestSet(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx := t.Context()
		rows := map[int][]string{1: {"ada", "bob", "eve"}, 2: {"bob", "eve", "max"}, 3: {}}
		s := shape.NewSet(c, "friends", shape.SetConfig[int, string]{Load: func(_ context.Context, k int) ([]string, error) { return rows[k], nil }})
		if m := slices.Sorted(slices.Values(must[[]string](t)(s.Members(ctx, 1)))); !slices.Equal(m, rows[1]) {
			t.Errorf("%v", m)
		}
		for range 2 {
			if m := slices.Sorted(slices.Values(must[[]string](t)(s.Intersect(ctx, 1, 2)))); !slices.Equal(m, []string{"bob", "eve"}) {
				t.Errorf("in common: %v", m)
			}
		}
		if m := must[[]string](t)(s.Intersect(ctx, 1, 3)); len(m) != 0 {
			t.Errorf("in common with nobody: %v", m)
		}
		if err := s.Update(ctx, 1, "max", func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if err := s.Delete(ctx, 1, "ada", func(context.Context) error { return nil }); err != nil {
			t.Fatal(err)
		}
		if has := must[[]bool](t)(s.HasMany(ctx, 1, "ada", "max")); has[0] || !has[1] {
			t.Errorf("%v", has)
		}
		failed := errors.New("the database says no")
		if err := s.Delete(ctx, 1, "bob", func(context.Context) error { return nearside.NotCommitted(failed) }); !errors.Is(err, failed) {
			t.Errorf("%v", err)
		}
		if has, _ := s.Cached(ctx, 1); has {
			t.Error("a set is cached after a write with an unknown outcome")
		}
	})
}

func TestList(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx := t.Context()
		var loads atomic.Int32
		l := shape.NewList(c, "actions", shape.ListConfig[int, string]{Cap: 5, Load: func(context.Context, int) (out []string, err error) {
			loads.Add(1)
			for i := range 9 {
				out = append(out, fmt.Sprint("old", i))
			}
			return out, nil
		}})
		got := must[[]string](t)(l.Range(ctx, 1, 0, -1))
		if want := []string{"old0", "old1", "old2", "old3", "old4"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		must[string](t)(l.Update(ctx, 1, func(context.Context) (string, error) { return "new", nil }))
		got = must[[]string](t)(l.Range(ctx, 1, 0, 1))
		if want := []string{"new", "old0"}; !slices.Equal(got, want) {
			t.Errorf("%v, want %v", got, want)
		}
		if n := must[int](t)(l.Len(ctx, 1)); n != 5 || loads.Load() != 1 {
			t.Errorf("%d elements, want 5; %d loads, want 1", n, loads.Load())
		}
	})
}

func TestListFromTheBack(t *testing.T) {
	l := shape.NewList(open(t, "memory:"), "log", shape.ListConfig[int, int]{Cap: 3, Back: true, Load: func(context.Context, int) ([]int, error) {
		return []int{1, 2, 3, 4, 5}, nil
	}})
	must[int](t)(l.Len(t.Context(), 1))
	must[int](t)(l.Update(t.Context(), 1, func(context.Context) (int, error) { return 6, nil }))
	if got := must[[]int](t)(l.Range(t.Context(), 1, 0, -1)); !slices.Equal(got, []int{4, 5, 6}) {
		t.Errorf("%v", got)
	}
}

type product struct {
	Name  string    `json:"name"`
	Price float64   `json:"price"`
	Stock int       `json:"stock"`
	Tags  []string  `json:"tags"`
	Since time.Time `json:"since"`
	Note  *string   `json:"note"`
}

func TestHash(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx := t.Context()
		lamp := product{Name: "lamp", Price: 19.99, Stock: 3, Tags: []string{"a", "b"}, Since: time.Date(2026, 1, 2, 0, 0, 0, 0, time.UTC)}
		h := shape.NewHash(c, "product", shape.HashConfig[int, product]{Load: func(_ context.Context, k int) (product, error) {
			if k != 7 {
				return product{}, nearside.ErrNotFound
			}
			return lamp, nil
		}})
		if p := must[product](t)(h.All(ctx, 7)); p.Name != "lamp" || p.Price != 19.99 || !slices.Equal(p.Tags, lamp.Tags) || !p.Since.Equal(lamp.Since) || p.Note != nil {
			t.Errorf("%+v", p)
		}
		if p := must[product](t)(h.GetMany(ctx, 7, "price", "note")); p.Price != 19.99 || p.Name != "" {
			t.Errorf("%+v", p)
		}
		for _, err := range []error{second(h.Get(ctx, 7, "note")), second(h.All(ctx, 8)), second(h.Get(ctx, 8, "name"))} {
			if !errors.Is(err, nearside.ErrNotFound) {
				t.Errorf("what is not there: %v", err)
			}
		}
		if err := second(h.Get(ctx, 7, "colour")); err == nil || errors.Is(err, nearside.ErrNotFound) {
			t.Errorf("a field that the struct lacks: %v", err)
		}
		lamp.Stock = 2
		must[product](t)(h.Update(ctx, 7, "stock", func(context.Context) (product, error) { return lamp, nil }))
		note := "dim"
		if err := h.Set(ctx, 7, product{Note: &note}, "note"); err != nil {
			t.Fatal(err)
		}
		if p := must[product](t)(h.All(ctx, 7)); p.Stock != 2 || p.Note == nil || *p.Note != "dim" {
			t.Errorf("%+v", p)
		}
	})
}

func second[T any](_ T, err error) error { return err }

func TestHashOfAMap(t *testing.T) {
	want := map[string]int{"a": 1, "b": 2}
	h := shape.NewHash(open(t, "memory:"), "counts", shape.HashConfig[string, map[string]int]{
		Load: func(context.Context, string) (map[string]int, error) { return want, nil },
	})
	if got := must[map[string]int](t)(h.All(t.Context(), "x")); !maps.Equal(got, want) {
		t.Errorf("%v", got)
	}
	if got := must[map[string]int](t)(h.Get(t.Context(), "x", "b")); !maps.Equal(got, map[string]int{"b": 2}) {
		t.Errorf("%v", got)
	}
}
