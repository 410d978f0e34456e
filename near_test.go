package nearside_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/codec"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/testhooks"
)

// nearby opens a client and a cache that keeps rows near.
func nearby(t testing.TB, url string, change func(*nearside.Config[int64, User])) (*nearside.Client, *nearside.Cache[int64, User]) {
	c := connect(t, url)
	cfg := nearside.Config[int64, User]{
		Load:     func(_ context.Context, id int64) (User, error) { return User{id, "Ada"}, nil },
		NearSize: 1000,
	}
	if change != nil {
		change(&cfg)
	}
	return c, nearside.New(c, "user", cfg)
}

// source reads until the answer comes from somewhere: the tier begins behind New.
func source(t *testing.T, users *nearside.Cache[int64, User], want nearside.Source) (e nearside.Entry[User]) {
	t.Helper()
	eventually.True(t, "an answer from "+string(want), func() bool {
		var err error
		if e, err = users.GetEntry(t.Context(), 42); err != nil {
			t.Fatal(err)
		}
		return e.Source == want
	})
	return e
}

// place is a store to keep values near of.
type place struct {
	name   string
	server redistest.Backend // nil: the memory store
}

func (p place) url(t testing.TB) string {
	if p.server == nil {
		return "memory:"
	}
	p.server.FlushAll(t)
	return p.server.URL()
}

func places(t testing.TB) []place {
	ps := []place{{name: "memory"}}
	for _, kind := range redistest.Kinds {
		ps = append(ps, place{kind.Name, kind.Shared(t)})
	}
	return ps
}

func TestNear(t *testing.T) {
	for _, at := range places(t) {
		t.Run(at.name, func(t *testing.T) {
			ctx := t.Context()
			c, users := nearby(t, at.url(t), nil)
			if e := source(t, users, nearside.SourceNear); e.Value.Name != "Ada" || e.Age < 0 || e.Age > time.Minute || e.TTL < 50*time.Minute {
				t.Errorf("got %+v", e)
			}
			for _, write := range []struct {
				name string
				do   func() error
				want string
			}{
				{"set", func() error { return users.Set(ctx, 42, User{42, "Grace"}) }, "Grace"},
				{"update", func() error {
					_, err := users.Update(ctx, 42, func(context.Context) (User, error) { return User{42, "Barbara"}, nil })
					return err
				}, "Barbara"},
				{"invalidate", func() error { return users.Invalidate(ctx, 42) }, "Ada"},
			} {
				if err := write.do(); err != nil {
					t.Fatal(write.name, err)
				}
				if u, err := users.Get(ctx, 42); u.Name != write.want || err != nil {
					t.Errorf("after %s: %v, %v, want %s", write.name, u, err, write.want)
				}
				source(t, users, nearside.SourceNear)
			}
			if us, err := users.GetMany(ctx, []int64{42, 43}); len(us) != 2 || err != nil {
				t.Errorf("get many: %v, %v", us, err)
			}
			if s := c.Stats(ctx).Caches["user"]; s.Near == 0 || s.NearEntries == 0 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

// A change by another process, or by hand, is seen as soon as it is pushed.
func TestNearHearsOfChanges(t *testing.T) {
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			_, users := nearby(t, server.URL(), nil)
			client, others := nearby(t, server.URL(), nil)
			for name, change := range map[string]func(){
				"set":     func() { others.Set(t.Context(), 42, User{42, "set"}) },
				"by hand": func() { server.Node(t, "user:42").Do(t, "SET", "user:42", `{"ID":42,"Name":"by hand"}`, "PX", "60000") },
				"flush":   func() { server.FlushAll(t); others.Set(t.Context(), 42, User{42, "flush"}) },
				"lost": func() {
					killTracking(t, server)
					eventually.True(t, "a value was set", func() bool { // its own connection is cut too: what fails is invalidated, once
						return client.Stats(t.Context()).Deferred == 0 && others.Set(t.Context(), 42, User{42, "lost"}) == nil
					})
				},
				"invalidate": func() { others.Invalidate(t.Context(), 42); others.Set(t.Context(), 42, User{42, "invalidate"}) },
			} {
				eventually.True(t, "the value before", func() bool {
					if others.Set(t.Context(), 42, User{42, "before"}) != nil {
						return false
					}
					e, err := users.GetEntry(t.Context(), 42)
					return err == nil && e.Source == nearside.SourceNear && e.Value.Name == "before"
				})
				change()
				begin := time.Now()
				for {
					u, err := users.Get(t.Context(), 42)
					if err != nil {
						t.Fatal(err)
					}
					if u.Name == name {
						break
					}
					if u.Name == "Ada" { // an invalidation that is repeated after a flush or a lost connection has removed what was set
						others.Set(t.Context(), 42, User{42, name})
					}
					if time.Since(begin) > 5*time.Second {
						t.Fatalf("%s: still %v", name, u)
					}
				}
			}
		})
	}
}

// That there is no such row is kept near too, and whatever ends that is heard of: by whomever, and however.
func TestNearAbsence(t *testing.T) {
	for _, at := range places(t) {
		t.Run(at.name, func(t *testing.T) {
			ctx := t.Context()
			url := at.url(t)
			var exists atomic.Bool
			absences := func(cfg *nearside.Config[int64, User]) {
				cfg.NotFoundTTL = time.Minute
				cfg.Load = func(_ context.Context, id int64) (User, error) {
					if !exists.Load() {
						return User{}, nearside.ErrNotFound
					}
					return User{id, "Ada"}, nil
				}
			}
			c, users := nearby(t, url, absences)
			absent := func() {
				t.Helper()
				var e nearside.Entry[User]
				eventually.True(t, "an absence from near", func() bool {
					var err error
					if e, err = users.GetEntry(ctx, 42); !errors.Is(err, nearside.ErrNotFound) {
						t.Fatalf("got %+v, %v", e, err)
					}
					return e.Source == nearside.SourceNear
				})
				if e.TTL <= 0 || e.TTL > time.Minute || e.Value != (User{}) {
					t.Errorf("got %+v", e)
				}
				if _, err := users.Get(ctx, 42); !errors.Is(err, nearside.ErrNotFound) || !strings.Contains(err.Error(), "user:42") {
					t.Errorf("get: %v", err)
				}
				if us, err := users.GetMany(ctx, []int64{42}); len(us) != 0 || err != nil {
					t.Errorf("get many: %v, %v", us, err)
				}
			}
			becomes := func(want, after string) {
				t.Helper()
				for until := time.Now().Add(500 * time.Millisecond); ; { // less than what an absence has in a cluster
					if u, err := users.Get(ctx, 42); u.Name == want && err == nil {
						return
					} else if time.Now().After(until) {
						t.Fatalf("after %s: %v, %v", after, u, err)
					}
				}
			}
			invalidate := func(by *nearside.Cache[int64, User]) error { exists.Store(true); return by.Invalidate(ctx, 42) }
			update := func(by *nearside.Cache[int64, User]) error {
				_, err := by.Update(ctx, 42, func(context.Context) (User, error) { exists.Store(true); return User{42, "Ada"}, nil })
				return err
			}
			set := func(by *nearside.Cache[int64, User]) error { return by.Set(ctx, 42, User{42, "Ada"}) }
			for name, write := range map[string]func(*nearside.Cache[int64, User]) error{"invalidate": invalidate, "update": update, "set": set} {
				absent()
				if err := write(users); err != nil {
					t.Fatal(name, err)
				}
				if u, err := users.Get(ctx, 42); u.Name != "Ada" || err != nil {
					t.Errorf("after an own %s: %v, %v", name, u, err)
				}
				exists.Store(false)
				users.Invalidate(ctx, 42)
				if at.server == nil { // nobody else has this store
					continue
				}
				_, others := nearby(t, url, absences)
				absent()
				if err := write(others); err != nil {
					t.Fatal(name, err)
				}
				becomes("Ada", "another's "+name)
				exists.Store(false)
				users.Invalidate(ctx, 42)
			}
			if at.server != nil {
				absent()
				at.server.Node(t, "user:42").Do(t, "SET", "user:42", `{"ID":42,"Name":"by hand"}`, "PX", "60000")
				becomes("by hand", "a change by hand")
			}
			if s := c.Stats(ctx).Caches["user"]; s.Near == 0 {
				t.Errorf("stats: %+v", s)
			}
		})
	}
}

// killTracking cuts the connections that are told of changes.
func killTracking(t *testing.T, b redistest.Backend) {
	b.Node(t, "user:42").Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
}

func TestNearClone(t *testing.T) {
	c := connect(t, "memory:")
	lists := nearside.New(c, "list", nearside.Config[string, []int]{
		Load:     func(context.Context, string) ([]int, error) { return []int{1, 2, 3}, nil },
		NearSize: 10, Clone: func(v []int) []int { return append([]int(nil), v...) },
	})
	for until := time.Now().Add(10 * time.Second); c.Stats(t.Context()).Caches["list"].Near < 100; {
		v, err := lists.Get(t.Context(), "a")
		if err != nil || v[0] != 1 || time.Now().After(until) {
			t.Fatalf("got %v, %v", v, err)
		}
		v[0] = 7 // a caller who modifies what he gets
	}
}

// coherence is what a run found.
type coherence struct {
	gets, near, writes atomic.Int64
	absent             atomic.Int64 // of near
	own                atomic.Int64 // reads of something older than their own process had written
	kept               atomic.Int64 // old values that a process still had at rest
}

func (c *coherence) String() string {
	return fmt.Sprintf("%d gets, %d of them near, %d of these absences, %d writes: %d older than own writes, %d kept", c.gets.Load(), c.near.Load(), c.absent.Load(), c.writes.Load(), c.own.Load(), c.kept.Load())
}

// A value that a Get returns is not older than what its own process has written before, and at rest nobody keeps an old one.
func TestNearCoherence(t *testing.T) {
	run := func(t *testing.T, url string) {
		r := coherent(t, url, time.Second, func() {})
		if t.Log(r); r.own.Load() > 0 || r.kept.Load() > 0 {
			t.Error(r)
		}
		if r.near.Load() == 0 || r.absent.Load() == 0 || r.writes.Load() == 0 {
			t.Error("nothing happened")
		}
	}
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			run(t, server.URL())
		})
	}
	t.Run("memory", func(t *testing.T) { run(t, "memory:") })
}

// The test is itself tested: with a rule left out it must find violations.
func TestNearCoherenceFindsBrokenRules(t *testing.T) {
	for name, rule := range map[string]*atomic.Bool{"no reservation": &testhooks.WithoutReservation, "no drop before own writes": &testhooks.WithoutDrop} {
		t.Run(name, func(t *testing.T) {
			rule.Store(true)
			defer rule.Store(false)
			server := redistest.Shared(t)
			for range 10 {
				server.FlushAll(t)
				r := coherent(t, server.URL(), time.Second, func() {})
				if t.Log(r); r.own.Load() > 0 || r.kept.Load() > 0 {
					return
				}
			}
			t.Error("no violation found in 10 runs")
		})
	}
}

var chaosFor = flag.Duration("near", 3*time.Second, "how long the near tier's test with faults runs")

// The same while connections are cut, the database of Redis is emptied, servers hang, and masters change in agreement.
func TestNearCoherenceUnderFaults(t *testing.T) {
	single := redistest.Start(t)
	cluster := redistest.StartCluster(t, 3, 1, "--cluster-node-timeout", "4000") // no election, which may lose what was acknowledged; a shard votes again after two timeouts
	for name, at := range map[string]struct {
		on     redistest.Backend
		nodes  []*redistest.Server
		change func()
	}{
		"single":  {single, []*redistest.Server{single}, func() {}},
		"cluster": {cluster, cluster.Nodes[:3], func() { cluster.Failover(t, cluster.Replica(t, cluster.Master(t, "row:1"))) }},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), *chaosFor)
			defer cancel()
			var faults sync.WaitGroup
			rng := seed.Rand(t)
			counts := map[string]int{}
			began := make(chan struct{})
			faults.Go(func() {
				<-began
				for n := 0; ctx.Err() == nil; n++ {
					node := at.nodes[rng.IntN(len(at.nodes))]
					what := []string{"cut", "flush", "cut", "hang", "change"}[n%5]
					counts[what]++
					switch what {
					case "cut":
						node.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
					case "flush":
						at.on.FlushAll(t)
					case "hang":
						node.Pause()
						time.Sleep(200 * time.Millisecond)
						node.Continue()
					case "change":
						at.change()
					}
					time.Sleep(time.Duration(rng.IntN(100)) * time.Millisecond)
				}
			})
			r := coherent(t, at.on.URL(), *chaosFor, func() { close(began) })
			faults.Wait()
			if t.Log(r, counts); r.own.Load() > 0 || r.kept.Load() > 0 {
				t.Error(r)
			}
		})
	}
}

// Each version of a row that is a multiple of absentEach is its absence.
const absentEach = 3

// newest is the newest version, up to the row's, that an answer may be of.
func newest(e nearside.Entry[int64], err error, row int64) (v int64, failed error) {
	if errors.Is(err, nearside.ErrNotFound) {
		return row - row%absentEach, nil
	}
	return e.Value, err
}

// coherent runs readers and writers of several processes. A write that Redis was not told of counts as not made.
func coherent(t *testing.T, url string, length time.Duration, began func()) *coherence {
	const keys = 40
	r, rng := &coherence{}, seed.Rand(t)
	jitter := seed.Locked(rng)
	var rows [keys]atomic.Int64 // the database: a version of each row
	caches := make([]*nearside.Cache[int64, int64], 3)
	if url == "memory:" {
		caches = caches[:1]
	}
	for i := range caches {
		caches[i] = nearside.New(connect(t, url), "row", nearside.Config[int64, int64]{
			Load: func(_ context.Context, k int64) (int64, error) {
				v := rows[k].Load()
				time.Sleep(time.Duration(jitter.IntN(300)) * time.Microsecond)
				if v%absentEach == 0 {
					return 0, nearside.ErrNotFound
				}
				return v, nil
			},
			NearSize: 1000, NotFoundTTL: time.Minute,
		})
	}
	began()
	ctx, cancel := context.WithTimeout(t.Context(), length)
	defer cancel()
	var own [3][keys]atomic.Int64 // what a process has written and been told of
	var at [3][keys]atomic.Int64  // and when
	older := func(who string, p int, k, got, wrote int64, e nearside.Entry[int64], err error) {
		if r.own.Add(1) <= 12 {
			t.Logf("%s of process %d read %d of %d from %s (%v), age %v, at %s, and has written %d, acknowledged at %s", who, p, got, k, e.Source, err, e.Age,
				time.Now().Format("15:04:05.000"), wrote, time.UnixMicro(at[p][k].Load()).Format("15:04:05.000"))
		}
	}
	var all sync.WaitGroup
	for g := range 9 {
		p, rng := g%len(caches), seed.Split(rng)
		all.Go(func() {
			for ctx.Err() == nil {
				k := rng.Int64N(keys)
				before := own[p][k].Load()
				e, err := caches[p].GetEntry(t.Context(), k)
				got, failed := newest(e, err, rows[k].Load())
				if failed != nil {
					t.Error(failed)
					return
				}
				if got < before {
					older("a reader", p, k, got, before, e, err)
				}
				if r.gets.Add(1)%64 == 0 {
					time.Sleep(50 * time.Microsecond) // so that the writers have their turn
				}
				if e.Source == nearside.SourceNear {
					if r.near.Add(1); err != nil {
						r.absent.Add(1)
					}
				}
			}
		})
	}
	for g := range 4 {
		p, rng := g%len(caches), seed.Split(rng)
		all.Go(func() {
			for ctx.Err() == nil {
				k := rng.Int64N(keys/4)*4 + int64(g) // one writer for each row
				var v int64
				var err error
				if (rows[k].Load()+1)%absentEach != 0 && rng.IntN(2) == 0 {
					v, err = caches[p].Update(t.Context(), k, func(context.Context) (int64, error) { return rows[k].Add(1), nil })
				} else {
					v = rows[k].Add(1)
					err = caches[p].Invalidate(t.Context(), k)
				}
				if errors.Is(err, nearside.ErrUnavailable) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				at[p][k].Store(time.Now().UnixMicro())
				own[p][k].Store(v)
				r.writes.Add(1)
				e, err := caches[p].GetEntry(t.Context(), k)
				if got, failed := newest(e, err, rows[k].Load()); failed != nil || got < v {
					older("the writer", p, k, got, v, e, errors.Join(err, failed))
				}
			}
		})
	}
	all.Wait()
	agrees := func(c *nearside.Cache[int64, int64], k int64) {
		for until := time.Now().Add(5 * time.Second); ; { // a push may be on its way, and what was not delivered is repeated
			e, err := c.GetEntry(t.Context(), k)
			v, failed := newest(e, err, rows[k].Load())
			if v == rows[k].Load() && failed == nil {
				return
			}
			if time.Now().After(until) {
				t.Logf("%d of %d (%v) is kept, from %s: it is %d", v, k, err, e.Source, rows[k].Load())
				r.kept.Add(1)
				return
			}
		}
	}
	for k := range int64(keys) {
		for _, c := range caches {
			agrees(c, k)
		}
		// What everybody keeps, and one then changes: the next who asks is the first to load it anew, so nobody else's fill
		// tells him.
		for n := range 2 * absentEach {
			for range 3 {
				for _, c := range caches {
					agrees(c, k)
				}
			}
			rows[k].Add(1)
			for caches[n%len(caches)].Invalidate(t.Context(), k) != nil {
			}
			agrees(caches[(n+1)%len(caches)], k)
		}
		if r.kept.Load() > 0 {
			return r
		}
	}
	return r
}

// Where the server does not let us be told of changes, nothing is kept near, and it is said; unless the cache allows values to
// be stale for a while.
func TestNearUntracked(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, append([]string{"ACL", "SETUSER", "app", "on", ">s3cret", "-@all"}, redistest.Rights...)...)
	server.Do(t, "ACL", "SETUSER", "app", "-client|tracking")
	url := "redis://app:s3cret@" + server.Addr
	c, users := nearby(t, url, nil)
	says := func(what string) bool {
		return strings.Contains(strings.Join(c.Stats(t.Context()).Problems, "\n"), what)
	}
	eventually.True(t, "a problem, and the command that repairs it", func() bool {
		return says("nothing is kept near") && says("ACL SETUSER app +client|tracking")
	})
	for range 10 {
		if e, err := users.GetEntry(t.Context(), 42); err != nil || e.Source == nearside.SourceNear {
			t.Errorf("got %+v, %v", e, err)
		}
	}
	_, allowed := nearby(t, url, func(cfg *nearside.Config[int64, User]) { cfg.NearUntracked = 200 * time.Millisecond })
	source(t, allowed, nearside.SourceNear)
	server.Do(t, "SET", "user:42", `{"ID":42,"Name":"by hand"}`, "PX", "60000")
	eventually.True(t, "NearUntracked ends", func() bool { u, err := allowed.Get(t.Context(), 42); return err != nil || u.Name == "by hand" })
}

// The bound in bytes that caches share is kept.
func TestNearBytesAreShared(t *testing.T) {
	c := connectWith(t, "memory:", nearside.Options{NearBytes: 1 << 20})
	var caches []*nearside.Cache[int, string]
	for i := range 4 {
		caches = append(caches, nearside.New(c, fmt.Sprint("c", i), nearside.Config[int, string]{
			Load: func(context.Context, int) (string, error) { return strings.Repeat("v", 1000), nil }, NearSize: 100_000,
		}))
	}
	total := func() (n uint64) {
		for _, s := range c.Stats(t.Context()).Caches {
			n += s.NearBytes
		}
		return n
	}
	for range 3 {
		for k := range 2000 {
			for _, one := range caches {
				if _, err := one.Get(t.Context(), k); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if n := total(); n < 1<<18 || n > 1<<20+1<<17 {
		t.Errorf("%d bytes are kept, at most 1 MiB", n)
	}
}

// A near cache weighs what its values have in the process, and not what is stored: text may shrink to a hundredth.
func TestNearWeighsDecodedValues(t *testing.T) {
	redis := redistest.Shared(t)
	redis.FlushAll(t)
	client, err := nearside.Open(t.Context(), redis.URL(), nearside.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	const size, most = 100_000, 1 << 20
	texts := nearside.New(client, "text", nearside.Config[int, []byte]{
		Load:  func(_ context.Context, n int) ([]byte, error) { return bytes.Repeat([]byte{byte(n)}, size), nil },
		Codec: codec.Compressed(codec.Bytes(), codec.Compression{}), NearBytes: most,
	})
	for n := range 300 {
		for range 3 { // loaded, read from Redis, near
			if _, err := texts.Get(t.Context(), n%100); err != nil {
				t.Fatal(err)
			}
		}
	}
	eventually.True(t, "the bound in bytes is kept", func() bool {
		s := client.Stats(t.Context()).Caches["text"]
		return s.NearEntries > 0 && s.NearEntries*size <= most && s.NearBytes <= most
	})
}
