package redis_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
)

// While its slot is on its way a collection may be read, and nothing old survives what is told of it: wherever it stands, and
// wherever what stands beside it does. What is done at all is done on enough replicas, if that is asked for.
func TestCollectionOnItsWay(t *testing.T) {
	c := redistest.SharedCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*eventually.Limit) // without a deadline replicas are waited for but shortly
	defer cancel()
	sl, n := newSlot(t, c, "{k}"), 0
	for _, replicas := range []int{0, 1} {
		s := openWith(t, c.URL(), redis.Options{Budget: eventually.Limit, Replicas: replicas})
		for _, kind := range append(keyed, store.List) {
			a, other := (&board{kind: kind}).el("a", 1), (&board{kind: kind}).el("b", 2)
			for verb, do := range map[string]func(key string) (err error, ok bool){
				"end": func(key string) (error, bool) {
					e := store.MemberEnd{Change: store.Change{Key: key, Kind: kind, Op: store.Add, Element: other}, Member: "b", Token: "w1", Again: true}
					if kind == store.List {
						e.Op, e.Member = store.PushFront, ""
					}
					ending := s.EndMember(ctx, e)
					return ending.Err, ending.Applied || ending.Number > 0
				},
				"write": func(key string) (error, bool) {
					if kind == store.List {
						return s.Invalidate(ctx, []string{key}, 0)[0].Err, false
					}
					o := s.Write(ctx, []store.Change{{Key: key, Kind: kind, Op: store.Add, Element: other}})[0]
					return o.Err, o.OK
				},
				"invalidate": func(key string) (error, bool) { return s.Invalidate(ctx, []string{key}, 0)[0].Err, false },
				"begin and end of the whole": func(key string) (error, bool) {
					o := s.Begin(ctx, []store.Intent{{Key: key, Token: "w9", Life: time.Minute}})[0]
					if o.Err == nil {
						o = s.End(ctx, []store.End{{Key: key, Token: "w9"}})[0]
					}
					return o.Err, o.OK
				},
			} {
				for _, moved := range []string{"", "k", "l", "t", "ie", "klt"} {
					for _, loading := range []bool{false, true} {
						n++
						key := fmt.Sprint("{k}", n)
						what := fmt.Sprintf("%s %s, %q there, loading %v", kind, verb, moved, loading)
						sl.stable()
						b := &board{t, s, sl.here, kind, key}
						b.load(a)
						b.begin("w1", map[bool]string{false: "b"}[kind == store.List], store.Alone)
						if loading { // a refresh
							s.Acquire(ctx, []store.Claim{{Key: key, Kind: kind, Token: "t2", Lease: time.Minute, Stale: time.Hour}})
							b.chunk("t2", a)
						}
						sl.migrating()
						for _, l := range moved {
							name := key + ":~" + string(l)
							if l == 'k' {
								name = key
							}
							sl.move(name)
						}
						if v := s.Query(ctx, []store.Query{{Key: key, Kind: kind}})[0]; !v.Found || len(v.Elements) != 1 || v.Err != nil {
							t.Errorf("%s: it reads %+v", what, v)
						}
						err, ok := do(key)
						if ok && moved == "" && loading { // all names exist, and on one node
							if v := s.Query(ctx, []store.Query{{Key: key, Kind: kind}})[0]; len(v.Elements) == 2 {
								continue
							}
						}
						if err != nil || ok {
							t.Errorf("%s: %v, %v", what, err, ok)
						}
						if loading {
							if o := s.Fill(ctx, []store.Fill{{Key: key, Kind: kind, Token: "t2", TTL: time.Minute}})[0]; o.OK {
								t.Errorf("%s: the load was filled", what)
							}
							s.Release(ctx, []store.Lease{{Key: key, Kind: kind, Token: "t2"}})
						}
						g := s.Acquire(ctx, []store.Claim{{Key: key, Kind: kind, Token: "t3", Lease: time.Minute}})[0]
						if g.State == store.Hit || g.Err != nil {
							t.Errorf("%s: it survives: %+v", what, g)
						}
						if ty := text(c.Do(t, "TYPE", key)); ty != "none" {
							t.Errorf("%s: a %s is left", what, ty)
						}
					}
				}
			}
		}
	}
}

// All names of a collection are in one slot, whatever its braces, and a load takes its place there by RENAME.
func TestCollectionInACluster(t *testing.T) {
	c := redistest.SharedCluster(t)
	c.FlushAll(t)
	s, ctx := open(t, c.URL()), t.Context()
	for i, key := range []string{"board", "board:{7}", "{board}", "a}b", "{}x", "board:1", "board:2", "board:3"} {
		b := &board{t, s, c.Master(t, key), keyed[i%3], key}
		b.load(b.el("a", 1), b.el("b", 2))
		b.begin("w1", "c", store.Alone)
		if !b.end("w1", store.Add, b.el("c", 3)).Applied {
			t.Errorf("%s: not applied", key)
		}
		v := s.Query(ctx, []store.Query{{Key: key, Kind: b.kind}})[0]
		if len(v.Elements) != 3 {
			t.Errorf("%s: got %+v", key, v)
		}
	}
	c.Invariants(t, "board", "{board}", "a}b", "{}x")
	sets := []store.Query{
		{Key: "{f}:1", Kind: store.Set, Part: store.Intersect, Other: "{f}:2"}, {Key: "{f}:1", Kind: store.Set, Part: store.Intersect, Other: "friends"},
		{Key: "board:1", Kind: keyed[2], Part: store.Size}, {Key: "board:2", Kind: keyed[0], Part: store.Size}, {Key: "board:3", Kind: keyed[1], Part: store.Size},
	}
	for _, key := range []string{"{f}:1", "{f}:2"} {
		b := &board{t, s, c.Master(t, key), store.Set, key}
		b.load(b.el("a", 0), b.el(key, 0))
	}
	vs := s.Query(ctx, sets)
	if v := vs[0]; !v.Found || !v.Other || len(v.Elements) != 1 || v.Elements[0].Member != "a" {
		t.Errorf("one slot: %+v", v)
	}
	if v := vs[1]; !errors.Is(v.Err, store.ErrApart) {
		t.Errorf("two slots: %+v", v)
	}
	for _, v := range vs[2:] {
		if v.N != 3 || !v.Found || v.TTL <= 0 {
			t.Errorf("of several nodes: %+v", v)
		}
	}
}
