package nearsidetest_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/nearsidetest"
	"github.com/nearside/nearside/session"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// truth is a database of one number.
type truth struct{ n atomic.Int64 }

func (d *truth) load(_ context.Context, id int64) (int64, error) {
	if id < 0 {
		return 0, nearside.ErrNotFound
	}
	return d.n.Load(), nil
}

func get(t testing.TB, c *nearside.Cache[int64, int64], id, want int64) {
	t.Helper()
	if v, err := c.Get(t.Context(), id); v != want || err != nil {
		t.Errorf("get %d: %d, %v, want %d", id, v, err, want)
	}
}

func loads(t testing.TB, c *nearside.Cache[int64, int64], want uint64) {
	t.Helper()
	if n := nearsidetest.Loads(c); n != want {
		t.Errorf("%d loads, want %d", n, want)
	}
}

func TestCachedAndLoads(t *testing.T) {
	db := new(truth)
	numbers := nearside.New(nearsidetest.New(t), "number", nearside.Config[int64, int64]{Load: db.load, NotFoundTTL: time.Hour})
	if nearsidetest.Cached(t, numbers, 1) {
		t.Error("cached before anybody asked")
	}
	loads(t, numbers, 0)
	for range 3 {
		get(t, numbers, 1, 0)
	}
	loads(t, numbers, 1)
	if !nearsidetest.Cached(t, numbers, 1) || nearsidetest.Cached(t, numbers, 2) {
		t.Error("expected 1 alone to be cached")
	}
	for range 2 {
		if _, err := numbers.Get(t.Context(), -1); !errors.Is(err, nearside.ErrNotFound) {
			t.Error(err)
		}
	}
	loads(t, numbers, 2)
	if nearsidetest.Cached(t, numbers, -1) {
		t.Error("an absence is no value")
	}
	if err := numbers.Invalidate(t.Context(), 1); err != nil || nearsidetest.Cached(t, numbers, 1) {
		t.Errorf("%v, or it is still cached", err)
	}
	numbers.GetMany(t.Context(), []int64{1, 2, 3})
	loads(t, numbers, 5)
}

// An hour passes at once.
func TestTimePassesInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		db := new(truth)
		numbers := nearside.New(nearsidetest.New(t), "number", nearside.Config[int64, int64]{
			Load: db.load, TTL: time.Hour, Stale: time.Minute, Jitter: -1,
		})
		get(t, numbers, 1, 0)
		db.n.Store(7)
		time.Sleep(time.Hour - time.Millisecond)
		get(t, numbers, 1, 0)
		loads(t, numbers, 1)
		time.Sleep(2 * time.Millisecond)
		get(t, numbers, 1, 0) // the stale one, while it is loaded behind it
		synctest.Wait()
		loads(t, numbers, 2)
		get(t, numbers, 1, 7)
		time.Sleep(time.Hour + time.Minute)
		if nearsidetest.Cached(t, numbers, 1) {
			t.Error("it outlived its TTL")
		}
	})
}

// While the store fails, reads are answered by the loader and writes say that they were not told; then all of it is made up for.
func TestBreak(t *testing.T) {
	client, db := nearsidetest.New(t), new(truth)
	numbers := nearside.New(client, "number", nearside.Config[int64, int64]{Load: db.load})
	sessions := session.New(client, session.Config{})
	ctx := t.Context()
	get(t, numbers, 1, 0)
	get(t, numbers, 2, 0)
	if err := sessions.Commit("tok", []byte("1"), time.Time{}); err != nil {
		t.Fatal(err)
	}
	mend := nearsidetest.Break(t, client)
	nearsidetest.Break(t, client)
	if client.Ping(ctx) == nil {
		t.Error("it answers")
	}
	db.n.Store(1)
	get(t, numbers, 1, 1)
	get(t, numbers, 1, 1)
	loads(t, numbers, 4)
	if _, err := numbers.Update(ctx, 1, func(context.Context) (int64, error) { db.n.Store(2); return 2, nil }); !errors.Is(err, nearside.ErrUnavailable) {
		t.Errorf("update: %v", err)
	}
	if err := numbers.Invalidate(ctx, 2); !errors.Is(err, nearside.ErrUnavailable) || !strings.Contains(err.Error(), "by its test") {
		t.Errorf("invalidate: %v", err)
	}
	if err := numbers.Set(ctx, 3, 2); !errors.Is(err, nearside.ErrUnavailable) {
		t.Errorf("set: %v", err)
	}
	if _, _, err := sessions.Find("tok"); !errors.Is(err, nearside.ErrUnavailable) {
		t.Errorf("a session: %v", err)
	}
	if p := client.Stats(ctx).Deferred; p != 3 {
		t.Errorf("%d keys are pending, want 3", p)
	}
	mend()
	mend()
	if s := client.Stats(ctx); s.Deferred != 0 || s.Repeated != 3 {
		t.Errorf("%d keys are pending, %d repeated, want 0 and 3", s.Deferred, s.Repeated)
	}
	for id := int64(1); id <= 2; id++ {
		if nearsidetest.Cached(t, numbers, id) {
			t.Errorf("the old value of %d is still there", id)
		}
		get(t, numbers, id, 2)
	}
	if b, found, err := sessions.Find("tok"); string(b) != "1" || !found || err != nil {
		t.Errorf("the session: %s, %v, %v", b, found, err)
	}
}

// What is kept near is not served while changes may be missed, and is again afterwards.
func TestBreakNear(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, db := nearsidetest.New(t), new(truth)
		numbers := nearside.New(client, "number", nearside.Config[int64, int64]{Load: db.load, NearSize: 10})
		source := func() nearside.Source {
			t.Helper()
			e, err := numbers.GetEntry(t.Context(), 1)
			if err != nil {
				t.Error(err)
			}
			return e.Source
		}
		near := func() {
			t.Helper()
			for range 5 {
				source()
				synctest.Wait()
			}
			if s := source(); s != nearside.SourceNear {
				t.Errorf("source %s, want near", s)
			}
		}
		synctest.Wait()
		near()
		mend := nearsidetest.Break(t, client)
		if s := source(); s != nearside.SourceLoad {
			t.Errorf("source %s, want load", s)
		}
		mend()
		near()
	})
}

// A client that is still broken when its test ends delivers what is pending, and no goroutine is left.
func TestEndsBroken(t *testing.T) {
	client := nearsidetest.New(t)
	numbers := nearside.New(client, "number", nearside.Config[int64, int64]{Load: new(truth).load})
	nearsidetest.Break(t, client)
	if err := numbers.Invalidate(t.Context(), 1); err == nil {
		t.Error("no error")
	}
}

// recorder is a test that may fail.
type recorder struct {
	testing.TB
	said string
}

func (r *recorder) Fatalf(format string, args ...any) {
	r.said = fmt.Sprintf(format, args...)
	panic(r)
}
func (r *recorder) Fatal(args ...any) { r.said = fmt.Sprint(args...); panic(r) }

func TestFailsTheTest(t *testing.T) {
	client := nearsidetest.New(t)
	numbers := nearside.New(client, "number", nearside.Config[int64, int64]{Load: new(truth).load})
	other, err := nearside.Open(t.Context(), "memory:", nearside.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	says := func(want string, f func(t testing.TB)) {
		t.Helper()
		r := &recorder{TB: t}
		func() {
			defer func() { recover() }()
			f(r)
		}()
		if !strings.Contains(r.said, want) {
			t.Errorf("it said %q, want %q", r.said, want)
		}
	}
	says("not one of nearsidetest.New", func(t testing.TB) { nearsidetest.Break(t, other) })
	nearsidetest.Break(t, client)
	says("is 1 cached?", func(t testing.TB) { nearsidetest.Cached(t, numbers, 1) })
}

func TestExamples(t *testing.T) {
	t.Run("Prices", testPrices)
	t.Run("RedisAway", testRedisAway)
}
