package recovery

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/store"
)

var errAway = errors.New("away")

// fake is a store that fails on demand, and notes what it was asked.
type fake struct {
	away   atomic.Bool
	lost   atomic.Pointer[string] // keys with this prefix fail
	during func()                 // called in a sweep; nil: nothing is

	mu      sync.Mutex
	batches []string // "hold: keys" of invalidations
	sweeps  []time.Time
}

func (f *fake) Invalidate(_ context.Context, keys []string, hold time.Duration) []store.Outcome {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.batches = append(f.batches, fmt.Sprintf("%v: %s", hold, strings.Join(keys, " ")))
	out := make([]store.Outcome, len(keys))
	for i, key := range keys {
		if f.away.Load() || f.lost.Load() != nil && strings.HasPrefix(key, *f.lost.Load()) {
			out[i].Err = errAway
		}
	}
	return out
}

func (f *fake) Sweep(context.Context, string, func(string) bool) error {
	f.mu.Lock()
	f.sweeps = append(f.sweeps, time.Now())
	f.mu.Unlock()
	if f.away.Load() {
		return errAway
	}
	if f.during != nil {
		f.during()
	}
	return nil
}

// tried returns the batches since the nth.
func (f *fake) tried(n int) []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.batches[n:]
}

// bench is recovery over a store that is unavailable at first.
type bench struct {
	*Invalidations
	store *fake
	cache *Cache
	log   *journal
}

type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) { j.mu.Lock(); defer j.mu.Unlock(); return j.b.Write(p) }

func (j *journal) String() string { j.mu.Lock(); defer j.mu.Unlock(); return j.b.String() }

func open(t *testing.T, hold time.Duration) *bench {
	b := &bench{store: new(fake), log: new(journal)}
	b.store.away.Store(true)
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	t.Cleanup(func() { cancel(); running.Wait() })
	b.Invalidations = New(ctx, Options{
		Store: b.store, WriteBudget: time.Second, Logger: slog.New(slog.NewTextHandler(b.log, nil)),
		Spawn: func(f func()) bool { running.Go(f); return true }, ResetNear: func() {},
	})
	b.cache = b.Cache(CacheConfig{Glob: "*", Hold: hold, Margin: 10 * time.Second, TTL: time.Hour})
	return b
}

// fail keeps invalidations that failed.
func (b *bench) fail(hold time.Duration, keys ...string) {
	for _, key := range keys {
		b.cache.Keep(key, hold, errAway)
	}
}

func numbered(prefix string, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprint(prefix, i))
	}
	return keys
}

func want[T comparable](t testing.TB, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// The store is bypassed for a key until its invalidation was delivered, and for no other key.
func TestBypasses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, 0)
		want(t, "idle", b.Idle(), true)
		b.fail(0, "a")
		want(t, "idle while something is deferred", b.Idle(), false)
		want(t, "a is bypassed", b.cache.Bypasses("a"), true)
		want(t, "b is bypassed", b.cache.Bypasses("b"), false)
		b.store.away.Store(false)
		time.Sleep(time.Second)
		want(t, "a is bypassed when it was delivered", b.cache.Bypasses("a"), false)
		want(t, "idle in the end", b.Idle(), true)
		want(t, "counts", b.Counts(), Counts{Repeated: 1})
	})
}

// When: quickly at first, then every two seconds at most, and not at all when everything is delivered.
func TestPauses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, 0)
		b.fail(0, "a")
		time.Sleep(time.Second)
		if n := len(b.store.tried(0)); n < 3 || n > 6 {
			t.Errorf("%d repetitions in the first second", n)
		}
		time.Sleep(59 * time.Second)
		if n := len(b.store.tried(0)); n < 30 || n > 66 {
			t.Errorf("%d repetitions in a minute", n)
		}
		b.store.away.Store(false)
		time.Sleep(2 * time.Second)
		want(t, "pending", b.Counts().Pending, 0)
		n := len(b.store.tried(0))
		time.Sleep(time.Hour)
		want(t, "repetitions when all is delivered", len(b.store.tried(n)), 0)
	})
}

// One invalidation per key, with the longest hold; and an unavailable store is not flooded.
func TestBatches(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, 5*time.Second)
		for range 3 {
			b.fail(5*time.Second, "a")
			b.fail(0, "a")
		}
		want(t, "pending", b.Counts().Pending, 1)
		b.fail(5*time.Second, numbered("k", 2500)...)
		want(t, "pending", b.Counts().Pending, 2501)
		time.Sleep(10 * time.Second)
		before := b.store.tried(0)
		for _, batch := range before {
			if n := len(strings.Fields(batch)) - 1; n > 100 {
				t.Errorf("%d keys were sent to a store that does not answer", n)
			}
		}
		b.store.away.Store(false)
		time.Sleep(2 * time.Second)
		var sizes []int
		for _, batch := range b.store.tried(len(before)) {
			if !strings.HasPrefix(batch, "5s: ") {
				t.Errorf("hold of %.20s, want 5s", batch)
			}
			sizes = append(sizes, len(strings.Fields(batch))-1)
		}
		want(t, "batches", fmt.Sprint(sizes), "[1 1000 1000 500]")
		want(t, "pending", b.Counts().Pending, 0)
	})
}

// The keys of an unavailable node do not keep the keys of others from theirs.
func TestKeysOfOneNodeFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, 0)
		b.fail(0, append(numbered("down", 3000), "up")...)
		time.Sleep(3 * time.Second)
		down := "down"
		b.store.lost.Store(&down)
		b.store.away.Store(false)
		time.Sleep(time.Minute) // it is found among 111 keys in 2 s
		want(t, "pending", b.Counts().Pending, 3000)
		b.store.lost.Store(nil)
		time.Sleep(3 * time.Second)
		want(t, "pending", b.Counts().Pending, 0)
	})
}

// A later invalidation that succeeds makes the repetition needless; not one that began before it was kept.
func TestDone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, 0)
		before := b.Mark()
		b.fail(0, "a")
		b.Done("a", before)
		want(t, "pending after an older invalidation", b.Counts().Pending, 1)
		b.Done("b", b.Mark())
		b.Done("a", b.Mark())
		want(t, "pending after a newer one", b.Counts().Pending, 0)
		synctest.Wait()
		if !strings.Contains(b.log.String(), "invalidations delivered") {
			t.Errorf("the end is not in the log:\n%s", b.log)
		}
		want(t, "repetitions", len(b.store.tried(0)), 0)
	})
}

// What has outlived everything that could be cached is given up.
func TestExpires(t *testing.T) {
	for _, ttl := range []time.Duration{time.Hour, 3 * time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			b := open(t, 0)
			b.cache.StoredFor(ttl)
			b.cache.StoredFor(time.Second) // shorter ones do not matter
			b.fail(0, "a")
			time.Sleep(ttl)
			want(t, "pending", b.Counts().Pending, 1)
			time.Sleep(20 * time.Second)
			want(t, "pending", b.Counts().Pending, 0)
			if !strings.Contains(b.log.String(), "expired=1") {
				t.Errorf("the log:\n%s", b.log)
			}
		})
	}
}

// When the store answers again, what is deferred goes first, at once. The store learns how much it was, and reports it itself.
func TestRecovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, 0)
		want(t, "delivered while nothing is deferred", b.Recovered(t.Context()), 0)
		b.fail(0, "a", "b")
		time.Sleep(20 * time.Second)
		b.store.away.Store(false)
		want(t, "delivered", b.Recovered(t.Context()), 2)
		want(t, "pending", b.Counts().Pending, 0)
		synctest.Wait()
		if n := strings.Count(b.log.String(), "\n"); n != 1 || strings.Contains(b.log.String(), "delivered=") {
			t.Errorf("want the line of their failure alone in\n%s", b.log)
		}
		b.store.away.Store(true)
		b.fail(0, "c")
		time.Sleep(20 * time.Second)
		b.store.away.Store(false)
		time.Sleep(5 * time.Second) // this time it is repeated by the clock
		if !strings.Contains(b.log.String(), "delivered=1 after=2") {
			t.Errorf("no line of the delivery in\n%s", b.log)
		}
	})
}

// An invalidation that is not kept while the cache is swept may be about a key that the sweep has passed.
func TestOverflowDuringTheSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, 0)
		b.Max = 2
		swept := 0
		b.store.during = func() {
			if swept++; swept == 1 {
				b.fail(0, "b", "c", "d")
			}
		}
		b.fail(0, "a", "b", "c")
		want(t, "counts", b.Counts(), Counts{Past: 1})
		want(t, "every key is bypassed", b.cache.Bypasses("any"), true)
		b.store.away.Store(false)
		time.Sleep(10 * time.Second)
		want(t, "counts", b.Counts(), Counts{Repeated: b.Counts().Repeated})
		if swept < 2 {
			t.Error("it was not swept again")
		}
	})
}

// A cache whose writes are in doubt is not swept before their commits must be visible.
func TestBypassUntil(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, time.Second)
		b.store.away.Store(false)
		began := time.Now()
		b.fail(0, "a")
		want(t, "news", b.cache.BypassUntil(began.Add(time.Minute)), true)
		want(t, "news again", b.cache.BypassUntil(began.Add(30*time.Second)), false)
		want(t, "counts", b.Counts(), Counts{Past: 1})
		time.Sleep(time.Minute)
		want(t, "bypassed", b.cache.Bypasses("a"), true)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		want(t, "bypassed in the end", b.cache.Bypasses("a"), false)
		if n := len(b.store.sweeps); n != 1 || b.store.sweeps[0].Sub(began) < time.Minute+time.Second {
			t.Errorf("swept %d times, at first after %v; want once, after the hold", n, b.store.sweeps[0].Sub(began))
		}
	})
}

func TestDrain(t *testing.T) {
	for name, c := range map[string]struct {
		keys []string
		want string
	}{
		"few":  {[]string{"user:42", "b", "c"}, `3 invalidations could not be delivered, such as "user:42": the cache could not be told: away`},
		"one":  {[]string{"user:42"}, `1 invalidation could not be delivered, such as "user:42": the cache could not be told: away`},
		"many": {numbered("k", 5), `those of the keys "*" were too many to be kept, and a sweep was not finished: the cache could not be told: away`},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, 0)
				b.Max = 4
				b.fail(0, c.keys...)
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				began := time.Now()
				err := b.Drain(ctx)
				if err == nil || !strings.HasPrefix(err.Error(), c.want) || !errors.Is(err, ErrUnavailable) || !errors.Is(err, errAway) {
					t.Errorf("got  %v\nwant %s", err, c.want)
				}
				want(t, "time", time.Since(began), 5*time.Second)
				time.AfterFunc(3*time.Second, func() { b.store.away.Store(false) })
				if err := b.Drain(t.Context()); err != nil || time.Since(began) < 8*time.Second {
					t.Errorf("after %v: %v", time.Since(began), err)
				}
			})
		})
	}
}
