package shape_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"math"
	"math/big"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/nearsidetest"
	"github.com/nearside/nearside/shape"
)

// says fails unless an error has all of words.
func says(t *testing.T, err error, words ...string) {
	t.Helper()
	if err == nil {
		t.Errorf("no error, want one with %q", words)
		return
	}
	for _, w := range words {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%q does not say %q", err, w)
		}
	}
}

func uncached[K comparable](t *testing.T, c nearsidetest.Cache[K], k K) {
	t.Helper()
	if nearsidetest.Cached(t, c, k) {
		t.Errorf("%v is cached", k)
	}
}

func TestNaN(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx, db := t.Context(), newTable(3)
		boards := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{Load: db.load})
		db.add("chess", 1, math.NaN())
		_, err := boards.Top(ctx, "chess", 3)
		says(t, err, "leaderboard:chess", `"1"`, "NaN")
		uncached(t, boards, "chess")

		db.rows["chess"][1] = 10
		must[[]shape.Scored[int]](t)(boards.Top(ctx, "chess", 3))
		err = boards.Add(ctx, "chess", 2, math.NaN())
		says(t, err, "leaderboard:chess", `"2"`, "NaN")
		if errors.Is(err, nearside.ErrUnavailable) {
			t.Errorf("NaN is no matter of Redis: %v", err)
		}
		if score := must[float64](t)(boards.Score(ctx, "chess", 2)); score != 20 {
			t.Errorf("the score after an Add of NaN is %v", score)
		}

		wrote := false
		_, err = boards.Update(ctx, "chess", 2, func(context.Context) (float64, error) { wrote = true; return math.NaN(), nil })
		says(t, err, "leaderboard:chess", `"2"`, "NaN")
		if errors.Is(err, nearside.ErrUnavailable) || !wrote {
			t.Errorf("NaN from a write: %v, written: %v", err, wrote)
		}
		uncached(t, boards, "chess") // the database has what it has
		for _, err := range []error{second(boards.RangeByScore(ctx, "chess", math.NaN(), 3, 0)), second(boards.Count(ctx, "chess", 0, math.NaN()))} {
			says(t, err, "leaderboard:chess", "NaN")
		}
		if s := c.Stats(ctx); s.Deferred != 0 {
			t.Errorf("%d invalidations are pending", s.Deferred)
		}
	})
}

// A member that is read again, because two wrote it, and has NaN then, is a reason to drop the set.
func TestNaNFromLoadOne(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx, db := t.Context(), newTable(3)
		boards := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{
			Load: db.load, LoadOne: func(context.Context, string, int) (float64, error) { return math.NaN(), nil },
		})
		must[int](t)(boards.Len(ctx, "chess"))
		_, err := boards.Update(ctx, "chess", 1, func(context.Context) (float64, error) {
			return boards.Update(ctx, "chess", 1, func(context.Context) (float64, error) { return 7, nil })
		})
		if err != nil || c.Stats(ctx).Deferred != 0 {
			t.Errorf("%v, %d pending", err, c.Stats(ctx).Deferred)
		}
		uncached(t, boards, "chess")
		if s := boards.Stats(); s.Reread == 0 || s.Dropped == 0 {
			t.Errorf("%d read again, %d dropped", s.Reread, s.Dropped)
		}
	})
}

// What another program puts into a collection is not served: it is loaded again, once.
func TestForeignElements(t *testing.T) {
	redis := redistest.Start(t)
	c, ctx := open(t, redis.URL()), t.Context()
	var loads atomic.Int32
	boards := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{Load: func(context.Context, string) ([]shape.Scored[int], error) {
		loads.Add(1)
		return []shape.Scored[int]{{1, 10}, {2, 20}}, nil
	}})
	friends := shape.NewSet(c, "friends", shape.SetConfig[int, int]{Load: func(context.Context, int) ([]int, error) { loads.Add(1); return []int{1, 2}, nil }})
	products := shape.NewHash(c, "product", shape.HashConfig[int, product]{Load: func(context.Context, int) (product, error) {
		loads.Add(1)
		return product{Name: "lamp", Stock: 3}, nil
	}})
	for _, kind := range []struct {
		foreign []string
		read    func() (any, error)
		stats   func() nearside.CacheStats
	}{
		{[]string{"ZADD", "leaderboard:chess", "15", "garbage"}, func() (any, error) { return boards.Top(ctx, "chess", 9) }, boards.Stats},
		{[]string{"SADD", "friends:7", "garbage"}, func() (any, error) { m, err := friends.Members(ctx, 7); slices.Sort(m); return len(m), err }, friends.Stats},
		{[]string{"HSET", "product:7", "stock", "garbage"}, func() (any, error) { p, err := products.All(ctx, 7); return p.Stock, err }, products.Stats},
	} {
		loads.Store(0)
		want, err := kind.read()
		if err != nil {
			t.Fatal(err)
		}
		redis.Do(t, kind.foreign...)
		for range 3 {
			if got, err := kind.read(); err != nil || !equal(got, want) {
				t.Errorf("%q: %v, %v, want %v", kind.foreign, got, err, want)
			}
		}
		if n, codec := loads.Load(), kind.stats().CodecErrors; n != 2 || codec != 1 {
			t.Errorf("%q: %d loads, want 2; %d codec errors, want 1", kind.foreign, n, codec)
		}
	}
	redis.Invariants(t, "leaderboard:", "friends:", "product:")
}

func equal(a, b any) bool {
	if a, ok := a.([]shape.Scored[int]); ok {
		return slices.Equal(a, b.([]shape.Scored[int]))
	}
	return a == b
}

// even refuses odd numbers on their way back.
type even int

func (e even) MarshalText() ([]byte, error) { return []byte{byte('0' + e)}, nil }

func (e *even) UnmarshalText(b []byte) error {
	if *e = even(b[0] - '0'); *e%2 != 0 {
		return errors.New("odd")
	}
	return nil
}

// Where the loader brings it itself, loading again is of no use.
func TestUndecodableFromTheLoader(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		var loads atomic.Int32
		friends := shape.NewSet(c, "friends", shape.SetConfig[int, even]{Load: func(context.Context, int) ([]even, error) { loads.Add(1); return []even{2, 3}, nil }})
		_, err := friends.Members(t.Context(), 7)
		says(t, err, "friends:7", `"3"`, "odd", "even")
		if n := loads.Load(); n > 2 {
			t.Errorf("%d loads", n)
		}
		if has := must[bool](t)(friends.Has(t.Context(), 7, 2)); !has {
			t.Error("what decodes is not served")
		}
	})
}

// What cannot be written as text never reaches the database.
func TestUnwritableElement(t *testing.T) {
	c, ctx := open(t, "memory:"), t.Context()
	measures := shape.NewSortedSet(c, "measures", shape.SortedSetConfig[string, map[string]float64]{
		Load: func(context.Context, string) ([]shape.Scored[map[string]float64], error) { return nil, nil },
	})
	bad := map[string]float64{"x": math.Inf(1)}
	_, err := measures.Update(ctx, "today", bad, func(context.Context) (float64, error) { t.Error("written"); return 0, nil })
	for _, err := range []error{err, second(measures.Rank(ctx, "today", bad)), measures.Add(ctx, "today", bad, 1), measures.Remove(ctx, "today", bad)} {
		says(t, err, "measures:today", "map[x:+Inf]", "cannot be written")
	}
}

func TestAnotherType(t *testing.T) {
	redis := redistest.Start(t)
	c, ctx := open(t, redis.URL()), t.Context()
	friends := shape.NewSet(c, "friends", shape.SetConfig[int, int]{Load: func(context.Context, int) ([]int, error) { return []int{1, 2}, nil }})
	for _, foreign := range [][]string{{"SET", "friends:7", "a string"}, {"RPUSH", "friends:7", "a", "list"}, {"ZADD", "friends:7", "1", "x"}} {
		redis.Do(t, "DEL", "friends:7", "{friends:7}:~l")
		redis.Do(t, foreign...)
		if m := must[[]int](t)(friends.Members(ctx, 7)); len(m) != 2 {
			t.Errorf("%q: %v", foreign, m)
		}
		if kind, err := redis.Do(t, "TYPE", "friends:7").ToString(); kind != "set" || err != nil {
			t.Errorf("%q: it is a %s now, %v", foreign, kind, err)
		}
	}
	// A write meets one: the database is written, and the next read loads.
	redis.Do(t, "DEL", "friends:7", "{friends:7}:~l")
	redis.Do(t, "SET", "friends:7", "a string")
	if err := friends.Update(ctx, 7, 3, func(context.Context) error { return nil }); err != nil {
		t.Error(err)
	}
	redis.Do(t, "SET", "friends:8", "a string")
	if err := friends.Add(ctx, 8, 3); err != nil {
		t.Error(err)
	}
	for _, k := range []int{7, 8} {
		if m := must[[]int](t)(friends.Members(ctx, k)); len(m) != 2 {
			t.Errorf("%d: %v", k, m)
		}
	}
	redis.Invariants(t, "leaderboard:", "friends:", "product:")
}

func TestMaxElements(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		endless := 0
		friends := shape.NewSet(c, "friends", shape.SetConfig[int, int]{
			Stream: func(context.Context, int) iter.Seq2[int, error] {
				return func(yield func(int, error) bool) {
					for endless = 0; yield(endless, nil); endless++ {
					}
				}
			},
			MaxElements: 1000,
		})
		_, err := friends.Len(t.Context(), 7)
		says(t, err, "friends:7", "more than 1000 elements")
		if endless != 1000 {
			t.Errorf("%d elements were read", endless)
		}
		uncached(t, friends, 7)
	})
}

// A stream that fails in its middle leaves nothing behind.
func TestStreamFails(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		broken := errors.New("the connection broke")
		fails := true
		boards := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{
			Stream: func(context.Context, string) iter.Seq2[shape.Scored[int], error] {
				return func(yield func(shape.Scored[int], error) bool) {
					for i := range 2000 {
						if i == 1500 && fails {
							yield(shape.Scored[int]{}, broken)
							return
						}
						if !yield(shape.Scored[int]{Member: i, Score: float64(i)}, nil) {
							return
						}
					}
				}
			},
		})
		if _, err := boards.Top(t.Context(), "chess", 3); !errors.Is(err, broken) {
			t.Errorf("%v, want %v", err, broken)
		}
		uncached(t, boards, "chess")
		fails = false
		if n := must[int](t)(boards.Len(t.Context(), "chess")); n != 2000 {
			t.Errorf("%d elements, want 2000", n)
		}
	})
}

func TestMutate(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx, db := t.Context(), newTable(3)
		boards := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{Load: db.load, LoadOne: db.one})
		names := nearside.New(c, "name", nearside.Config[int, string]{Load: func(context.Context, int) (string, error) { return "Ada", nil }})
		must[[]shape.Scored[int]](t)(boards.Top(ctx, "chess", 1))
		must[string](t)(names.Get(ctx, 1))
		err := c.Mutate(ctx, func(context.Context) error {
			uncached(t, boards, "chess")
			uncached(t, names, 1)
			db.add("chess", 1, 1000)
			return nil
		}, boards.Key("chess"), names.Key(1))
		if err != nil {
			t.Fatal(err)
		}
		if top := must[[]shape.Scored[int]](t)(boards.Top(ctx, "chess", 1)); top[0].Member != 1 {
			t.Errorf("the first after a Mutate: %v", top)
		}
	})
}

// Without Redis the loader answers every question, and writes say that the cache is behind.
func TestRedisKilled(t *testing.T) {
	redis := redistest.Start(t)
	c, err := nearside.Open(t.Context(), redis.URL(), nearside.Options{WriteBudget: 100 * time.Millisecond})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Close(); !errors.Is(err, nearside.ErrUnavailable) {
			t.Errorf("closed with an invalidation pending: %v", err)
		}
	}()
	ctx, db := t.Context(), newTable(20)
	boards := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{Load: db.load, LoadOne: db.one})
	friends := shape.NewSet(c, "friends", shape.SetConfig[int, int]{Load: func(_ context.Context, k int) ([]int, error) { return []int{1, 2, k}, nil }})
	must[int](t)(boards.Len(ctx, "chess"))
	redis.Stop()
	if top := must[[]shape.Scored[int]](t)(boards.Top(ctx, "chess", 2)); !slices.Equal(top, []shape.Scored[int]{{19, 190}, {18, 180}}) {
		t.Errorf("the top: %v", top)
	}
	if both := must[[]int](t)(friends.Intersect(ctx, 3, 4)); len(both) != 2 {
		t.Errorf("in common: %v", both)
	}
	points, err := boards.Update(ctx, "chess", 5, func(context.Context) (float64, error) { return db.add("chess", 5, 1000), nil })
	if !errors.Is(err, nearside.ErrUnavailable) || points != 1050 {
		t.Errorf("an update: %v, %v", points, err)
	}
	if rank := must[int](t)(boards.Rank(ctx, "chess", 5)); rank != 0 {
		t.Errorf("at %d after an update that Redis was not told of", rank)
	}
	if err := friends.Add(ctx, 3, 9); !errors.Is(err, nearside.ErrUnavailable) {
		t.Errorf("an add: %v", err)
	}
}

// What a write returned and cannot be cached is told, behind the write; nothing old is served afterwards.
func TestUpdateThatCannotBeCached(t *testing.T) {
	type reading struct {
		Value float64 `json:"value"` // JSON has no NaN
	}
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx, bad := t.Context(), reading{math.NaN()}
		l := shape.NewList(c, "readings", shape.ListConfig[int, reading]{Load: func(context.Context, int) ([]reading, error) { return []reading{{1}}, nil }})
		h := shape.NewHash(c, "sensor", shape.HashConfig[int, map[string]any]{Load: func(context.Context, int) (map[string]any, error) {
			return map[string]any{"last": "1"}, nil
		}})
		must[int](t)(l.Len(ctx, 1))
		must[int](t)(h.Len(ctx, 1))
		for name, err := range map[string]error{
			"readings:1": second(l.Update(ctx, 1, func(context.Context) (reading, error) { return bad, nil })),
			"sensor:1": second(h.Update(ctx, 1, "last", func(context.Context) (map[string]any, error) {
				return map[string]any{"last": bad}, nil
			})),
		} {
			if err == nil || !strings.Contains(err.Error(), name) || !strings.Contains(err.Error(), "the database is written") {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, cached := range []func(context.Context, int) (bool, error){l.Cached, h.Cached} {
			if has, err := cached(ctx, 1); has || err != nil {
				t.Errorf("cached: %v, %v", has, err)
			}
		}
	})
}

// While a member is written the collection lives no longer than the intent, which must not be taken for the end of its life: reads go on
// from the store, whole, also where a stale window and a soft limit would have them wait for a fresh one.
func TestReadsWhileAMemberIsWritten(t *testing.T) {
	everywhere(t, func(t *testing.T, c *nearside.Client) {
		ctx, db := t.Context(), newTable(50)
		s := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{Load: db.load, LoadOne: db.one, Stale: time.Hour, SoftTimeout: time.Millisecond, TTL: time.Hour})
		must[int](t)(s.Len(ctx, "chess"))
		must[float64](t)(s.Update(ctx, "chess", 1, func(context.Context) (float64, error) {
			for range 20 {
				if n := must[int](t)(s.Len(ctx, "chess")); n != 50 {
					t.Errorf("%d members while one is written", n)
				}
				if v := must[float64](t)(s.Score(ctx, "chess", 7)); v != 70 {
					t.Errorf("7 has %v while 1 is written", v)
				}
			}
			return db.add("chess", 1, 5), nil
		}))
		if n := db.loads.Load(); n != 1 {
			t.Errorf("%d loads, want 1: a write of a member costs none", n)
		}
	})
}

// What does not decode is loaded anew, and nothing of the reading that was given up is returned.
func TestNothingOfAReadingThatWasGivenUp(t *testing.T) {
	server := redistest.Start(t)
	c := open(t, server.URL())
	s := shape.NewList(c, "numbers", shape.ListConfig[int, int]{Load: func(context.Context, int) ([]int, error) { return nil, nil }})
	server.Do(t, "RPUSH", "numbers:1", "1", "2", "garbage")
	server.Do(t, "PEXPIRE", "numbers:1", "60000")
	if got := must[[]int](t)(s.Range(t.Context(), 1, 0, -1)); len(got) != 0 {
		t.Errorf("%v, and the database has none", got)
	}
}

type inner struct{ A int }

// Fields whose marshaler is of the pointer are written by it, as pointers and as values, in structs and in maps.
func TestFieldsWithMarshalersOfPointers(t *testing.T) {
	type bill struct {
		Sum  *big.Int
		Rate big.Rat
	}
	want := bill{Sum: big.NewInt(1 << 40), Rate: *big.NewRat(2, 3)}
	bills := shape.NewHash(open(t, "memory:"), "bill", shape.HashConfig[int, bill]{Load: func(context.Context, int) (bill, error) { return want, nil }})
	sums := shape.NewHash(open(t, "memory:"), "sum", shape.HashConfig[int, map[string]big.Int]{
		Load: func(context.Context, int) (map[string]big.Int, error) { return map[string]big.Int{"a": *want.Sum}, nil },
	})
	for range 2 {
		if got := must[bill](t)(bills.All(t.Context(), 1)); got.Sum.Cmp(want.Sum) != 0 || got.Rate.Cmp(&want.Rate) != 0 {
			t.Errorf("%v %v", got.Sum, &got.Rate)
		}
		if got := must[map[string]big.Int](t)(sums.All(t.Context(), 1))["a"]; got.Cmp(want.Sum) != 0 {
			t.Errorf("%v", &got)
		}
	}
}

// Embedded fields that could be stored and not read, or would be lost, are refused when the hash is made.
func TestEmbeddedFieldsThatCannotBe(t *testing.T) {
	type pointer struct {
		*inner
		B int
	}
	type moment struct {
		time.Time
		B int
	}
	type tagged struct {
		inner `json:"inner"`
		B     int
	}
	c := open(t, "memory:")
	for name, make := range map[string]func(){
		"a pointer that is not exported": func() { shape.NewHash(c, "a", shape.HashConfig[int, pointer]{}) },
		"a form of its own":              func() { shape.NewHash(c, "b", shape.HashConfig[int, moment]{}) },
		"a tag":                          func() { shape.NewHash(c, "c", shape.HashConfig[int, tagged]{}) },
		"the layer's own name": func() {
			shape.NewSet(c, "nearside", shape.SetConfig[int, int]{Load: func(context.Context, int) ([]int, error) { return nil, nil }})
		},
	} {
		func() {
			defer func() {
				if p := recover(); p == nil || !strings.Contains(fmt.Sprint(p), "name") {
					t.Errorf("%s: %v", name, p)
				}
			}()
			make()
		}()
	}
}

// What stands in both sets and does not decode is loaded away, as it is by any other read.
func TestIntersectOfGarbage(t *testing.T) {
	server := redistest.Start(t)
	s := shape.NewSet(open(t, server.URL()), "friends", shape.SetConfig[int, int]{Load: func(context.Context, int) ([]int, error) { return []int{7}, nil }})
	for _, key := range []string{"friends:1", "friends:2"} {
		server.Do(t, "SADD", key, "garbage", "7")
		server.Do(t, "PEXPIRE", key, "60000")
	}
	if got := must[[]int](t)(s.Intersect(t.Context(), 1, 2)); !slices.Equal(got, []int{7}) {
		t.Errorf("%v", got)
	}
}
