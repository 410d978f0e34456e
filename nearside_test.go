package nearside_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

func TestMain(m *testing.M) {
	if os.Getenv(childURL) != "" {
		if row := os.Getenv(childRow); row != "" {
			os.Exit(holder(row))
		}
		os.Exit(child())
	}
	status := redistest.Main(m)
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// stores runs a test on both stores.
func stores(t *testing.T, test func(t *testing.T, c *nearside.Client)) {
	t.Run("memory", func(t *testing.T) { test(t, connect(t, "memory:")) })
	t.Run("redis", func(t *testing.T) {
		server := redistest.Shared(t)
		server.Do(t, "FLUSHALL")
		test(t, connect(t, server.URL()))
		server.Invariants(t, "user:", "v:", "account:", "sum:")
	})
}

// connect opens a client that waits for a busy machine.
func connect(t testing.TB, url string) *nearside.Client {
	t.Helper()
	return connectWith(t, url, nearside.Options{Budget: 10 * time.Second, WriteBudget: 30 * time.Second})
}

func connectWith(t testing.TB, url string, o nearside.Options) *nearside.Client {
	t.Helper()
	o.RequireRedis = true
	c, err := nearside.Open(context.Background(), url, o)
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

func TestLibrary(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		ctx := t.Context()
		var loads atomic.Int64
		users := nearside.New(c, "user", nearside.Config[int64, User]{
			Load: func(_ context.Context, id int64) (User, error) {
				loads.Add(1)
				if id < 0 {
					return User{}, fmt.Errorf("no row %d: %w", id, nearside.ErrNotFound)
				}
				return User{id, "Ada"}, nil
			},
			NotFoundTTL: time.Minute, Jitter: -1, Stale: time.Minute,
		})
		if _, err := users.Peek(ctx, 42); !errors.Is(err, nearside.ErrNotFound) {
			t.Errorf("peek at nothing: %v", err)
		}
		if _, err := users.TTL(ctx, 42); !errors.Is(err, nearside.ErrNotFound) {
			t.Errorf("TTL of nothing: %v", err)
		}
		for range 2 {
			if u, err := users.Get(ctx, 42); u.Name != "Ada" || err != nil {
				t.Errorf("get: %v, %v", u, err)
			}
			if _, err := users.Get(ctx, -1); !errors.Is(err, nearside.ErrNotFound) {
				t.Errorf("get of an absent row: %v", err)
			}
		}
		if n := loads.Load(); n != 2 {
			t.Errorf("%d loads, want 2", n)
		}
		if e, err := users.Peek(ctx, 42); e.Value.Name != "Ada" || e.Source != nearside.SourceStore || e.TTL > time.Hour || e.TTL < 59*time.Minute || e.Age < 0 || err != nil {
			t.Errorf("peek: %+v, %v", e, err)
		}
		if d, err := users.TTL(ctx, 42); d > time.Hour || d < 59*time.Minute || err != nil {
			t.Errorf("TTL: %v, %v", d, err)
		}
		if err := users.SetMany(ctx, map[int64]User{1: {1, "Grace"}, 2: {2, "Emmy"}}); err != nil {
			t.Error(err)
		}
		if err := users.Set(ctx, 3, User{3, "Joan"}); err != nil {
			t.Error(err)
		}
		many, err := users.GetMany(ctx, []int64{1, 2, 3, 42, -1})
		if len(many) != 4 || many[2].Name != "Emmy" || err != nil {
			t.Errorf("get many: %v, %v", many, err)
		}
		if err := users.Invalidate(ctx, 1, 2, -1); err != nil {
			t.Error(err)
		}
		users.Prefetch(ctx, 1, 5)
		eventually.True(t, "a prefetched value", func() bool { _, err := users.Peek(ctx, 5); return err == nil })
		if k := users.Key(42); k.String() != "user:42" {
			t.Errorf("key %q", k)
		}
		if err := c.Ping(ctx); err != nil {
			t.Error(err)
		}
		s := c.Stats(ctx)
		if s.StoreErr != nil || s.Keys < 4 || s.Caches["user"].Loads < 2 || s.Caches["user"].Negative != 2 {
			t.Errorf("stats: %+v", s)
		}
	})
}

// A transaction over two caches: while it runs nothing is cached, afterwards everybody sees what it left.
func TestMutate(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		ctx := t.Context()
		rows := map[string]*atomic.Int64{"a": {}, "b": {}}
		sums := nearside.New(c, "sum", nearside.Config[string, int64]{
			Load: func(context.Context, string) (int64, error) { return rows["a"].Load() + rows["b"].Load(), nil },
		})
		accounts := nearside.New(c, "account", nearside.Config[string, int64]{
			Load: func(_ context.Context, k string) (int64, error) { return rows[k].Load(), nil },
		})
		balances := func(when string, a, b, sum int64) {
			t.Helper()
			for _, want := range []struct {
				of  *nearside.Cache[string, int64]
				key string
				n   int64
			}{{accounts, "a", a}, {accounts, "b", b}, {sums, "all", sum}} {
				if n, err := want.of.Get(ctx, want.key); n != want.n || err != nil {
					t.Errorf("%s: %s is %d (%v), want %d", when, want.key, n, err, want.n)
				}
			}
		}
		keys := []nearside.Key{accounts.Key("a"), accounts.Key("b"), sums.Key("all"), accounts.Key("a")}
		balances("before", 0, 0, 0)
		err := c.Mutate(ctx, func(ctx context.Context) error {
			rows["a"].Store(5)
			balances("meanwhile", 5, 0, 5) // and is not kept
			rows["b"].Store(2)
			return nil
		}, keys...)
		if err != nil {
			t.Error(err)
		}
		balances("after it", 5, 2, 7)

		conflict := errors.New("conflict")
		if err := c.Mutate(ctx, func(context.Context) error { rows["a"].Store(6); return nearside.NotCommitted(conflict) }, keys...); !errors.Is(err, conflict) || errors.Is(err, nearside.ErrInDoubt) {
			t.Errorf("got %v, want the error of the write", err)
		}
		balances("after an error that had an effect all the same", 6, 2, 8)
		called := false
		err = c.Mutate(ctx, func(context.Context) error { called = true; return nil }, accounts.Key("a"), accounts.Key("x:~l"))
		if !errors.Is(err, nearside.ErrKey) || called {
			t.Errorf("a bad key: %v, the write was called: %v", err, called)
		}
	})
}

// Law 4 and the price of a hit: the value in Redis is what the codec wrote.
func TestValuesArePlain(t *testing.T) {
	server := redistest.Shared(t)
	server.Do(t, "FLUSHALL")
	c := connect(t, server.URL())
	users := nearside.New(c, "user", nearside.Config[int64, User]{Load: database{42: {42, "Ada"}}.User})
	users.Get(t.Context(), 42)
	shows := func() (v string) {
		for range 1000 { // it is stored behind the answer
			if v, _ = server.Do(t, "GET", "user:42").ToString(); v == `{"id":42,"name":"Ada"}` {
				break
			}
			time.Sleep(time.Millisecond)
		}
		return v
	}
	if v := shows(); v != `{"id":42,"name":"Ada"}` {
		t.Errorf("redis-cli GET user:42 shows %q", v)
	}
	// Another program writes the key, and another one leaves rubbish there.
	server.Do(t, "SETEX", "user:42", "3600", `{"id":42,"name":"from Python"}`)
	if u, err := users.Get(t.Context(), 42); u.Name != "from Python" || err != nil {
		t.Errorf("got %v, %v", u, err)
	}
	for _, rubbish := range [][]string{{"SET", "user:42", "hello"}, {"RPUSH", "user:42", "a"}} {
		server.Do(t, "DEL", "user:42")
		server.Do(t, rubbish...)
		if u, err := users.Get(t.Context(), 42); u.Name != "Ada" || err != nil {
			t.Errorf("%v: got %v, %v", rubbish, u, err)
		}
		if v := shows(); v != `{"id":42,"name":"Ada"}` {
			t.Errorf("%v was not replaced: %q", rubbish, v)
		}
	}
	if n := users.Stats().CodecErrors; n == 0 {
		t.Error("rubbish was not counted")
	}
}

// Law 3: a server that dies, or hangs, costs its budget and no answer.
func TestRedisDiesAndHangs(t *testing.T) {
	for name, hurt := range map[string]func(*redistest.Server){"dies": (*redistest.Server).Kill, "hangs": (*redistest.Server).Pause} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			c, err := nearside.Open(t.Context(), server.URL(), nearside.Options{WriteBudget: 300 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			users := nearside.New(c, "user", nearside.Config[int64, User]{
				Load: func(_ context.Context, id int64) (User, error) { return User{id, "Ada"}, nil },
			})
			users.Get(t.Context(), 1)
			hurt(server)
			begin := time.Now()
			for id := range int64(5) {
				if u, err := users.Get(t.Context(), id); u.Name != "Ada" || err != nil {
					t.Errorf("got %v, %v", u, err)
				}
			}
			// Five gets wait for at most 25 ms each, and then the circuit is open: ten times that, for a busy machine.
			if took := time.Since(begin); took > 10*5*25*time.Millisecond {
				t.Errorf("5 gets took %v", took)
			}
			if err := users.Invalidate(t.Context(), 1); !errors.Is(err, nearside.ErrUnavailable) {
				t.Errorf("invalidate: %v", err)
			}
			u, err := users.Update(t.Context(), 1, func(context.Context) (User, error) { return User{1, "Grace"}, nil })
			if u.Name != "Grace" || !errors.Is(err, nearside.ErrUnavailable) {
				t.Errorf("update: %v, %v", u, err)
			}
		})
	}
}

type userID int64

type point struct{ x, y int }

func (p point) MarshalText() ([]byte, error) { return fmt.Appendf(nil, "%d,%d", p.x, p.y), nil }

func keyOf[K comparable](t *testing.T, c *nearside.Client, name string, k K) string {
	t.Helper()
	cache := nearside.New(c, name, nearside.Config[K, int]{Load: func(context.Context, K) (int, error) { return 0, nil }})
	return cache.Key(k).String()
}

func TestKeys(t *testing.T) {
	c := connect(t, "memory:")
	for got, want := range map[string]string{
		keyOf(t, c, "a", "x:y"): "a:x:y", keyOf(t, c, "b", -7): "b:-7", keyOf(t, c, "c", uint64(1<<63)): "c:9223372036854775808",
		keyOf(t, c, "d", true): "d:true", keyOf(t, c, "e", userID(42)): "e:42", keyOf(t, c, "f", point{1, 2}): "f:1,2", keyOf(t, c, "g", int8(-1)): "g:-1",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	names := nearside.New(c, "name", nearside.Config[string, []byte]{Load: func(_ context.Context, k string) ([]byte, error) { return []byte(k), nil }})
	for _, key := range []string{strings.Repeat("k", 64<<10), "x:~l"} {
		if _, err := names.Get(t.Context(), key); !errors.Is(err, nearside.ErrKey) {
			t.Errorf("%.20q: %v", key, err)
		}
	}
	if v, err := names.Get(t.Context(), "plain"); string(v) != "plain" || err != nil {
		t.Errorf("bytes: %q, %v", v, err)
	}
}

func TestNewPanics(t *testing.T) {
	c := connect(t, "memory:")
	load := func(context.Context, string) (int, error) { return 0, nil }
	nearside.New(c, "taken", nearside.Config[string, int]{Load: load})
	for want, f := range map[string]func(){
		"already":           func() { nearside.New(c, "taken", nearside.Config[string, int]{Load: load}) },
		"expected a name":   func() { nearside.New(c, "Bad:Name", nearside.Config[string, int]{Load: load}) },
		"expected Config.L": func() { nearside.New(c, "a", nearside.Config[string, int]{}) },
		"Config.Jitter":     func() { nearside.New(c, "a", nearside.Config[string, int]{Load: load, Jitter: 2}) },
		"set Config.Key": func() {
			nearside.New(c, "a", nearside.Config[[2]int, int]{Load: func(context.Context, [2]int) (int, error) { return 0, nil }})
		},
	} {
		func() {
			defer func() {
				if text := fmt.Sprint(recover()); !strings.Contains(text, want) {
					t.Errorf("got %q, want %q", text, want)
				}
			}()
			f()
		}()
	}
}

func TestOpenErrors(t *testing.T) {
	for url, want := range map[string]string{"localhost": "no scheme", "memory:x": "nothing is expected", "http://a:s3cret@b": "unknown scheme"} {
		c, err := nearside.Open(t.Context(), url, nearside.Options{})
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v, %v", url, c, err)
		}
	}
}

// Law 2 in one process: 1,000 goroutines on a cold key. The time is bounded from below by the load alone; what it took is
// logged, since a busy machine is no fault.
func TestThousandCallers(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		loads, took, _ := storm(c, 1000)
		t.Logf("%d loads, the last answered after %v of a load of %v", loads, took, stormLoad)
		if loads != 1 {
			t.Errorf("%d loads, want 1", loads)
		}
	})
}

const stormLoad = 50 * time.Millisecond

// storm sends callers to one cold key at once. loaded is when its load ended, in Unix microseconds; zero if it had none.
func storm(c *nearside.Client, callers int) (loads int64, took time.Duration, loaded int64) {
	var n, ended atomic.Int64
	cache := nearside.New(c, "v", nearside.Config[string, int]{Load: func(context.Context, string) (int, error) {
		n.Add(1)
		time.Sleep(stormLoad)
		ended.Store(time.Now().UnixMicro())
		return 1, nil
	}})
	begin := time.Now()
	var wg sync.WaitGroup
	for range callers {
		wg.Go(func() {
			if v, err := cache.Get(context.Background(), "cold"); v != 1 || err != nil {
				n.Add(1000) // shows as too many loads
			}
		})
	}
	wg.Wait()
	return n.Load(), time.Since(begin), ended.Load()
}

// What a user may not do is named in the statistics, with the command that grants it; reads go on.
func TestProblemsInStats(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, append([]string{"ACL", "SETUSER", "app", "on", ">s3cret", "-@all"}, redistest.Rights...)...)
	server.Do(t, "ACL", "SETUSER", "app", "resetkeys", "~user:*", "~nearside:*")
	c := connect(t, "redis://app:s3cret@"+server.Addr)
	users := nearside.New(c, "user", nearside.Config[int64, User]{
		Load: func(_ context.Context, id int64) (User, error) { return User{id, "Ada"}, nil },
	})
	if u, err := users.Get(t.Context(), 42); u.Name != "Ada" || err != nil {
		t.Errorf("got %+v, %v", u, err)
	}
	const grant = "ACL SETUSER app ~{user:*}:~?"
	eventually.True(t, "one problem with "+grant, func() bool { // the keys are looked at after New
		ps := c.Stats(t.Context()).Problems
		return len(ps) == 1 && strings.Contains(ps[0], grant)
	})
}

func TestBudgetsAreNotNegative(t *testing.T) {
	for _, o := range []nearside.Options{{Budget: -1}, {WriteBudget: -1}} {
		if c, err := nearside.Open(t.Context(), "memory:", o); err == nil {
			c.Close()
			t.Errorf("%+v was accepted", o)
		}
	}
}
