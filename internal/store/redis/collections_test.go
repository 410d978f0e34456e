package redis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
)

// board is a collection under test, with the names of all that may stand beside it.
type board struct {
	*testing.T
	s      *redis.Store
	server *redistest.Server
	kind   store.Kind
	key    string
}

const (
	life  = time.Minute
	lease = 10 * time.Second
)

func newBoard(t *testing.T, s *redis.Store, server *redistest.Server, kind store.Kind) *board {
	server.Do(t, "FLUSHALL")
	return &board{t, s, server, kind, "board"}
}

func (b *board) name(letter string) string { return "{" + b.key + "}:~" + letter }

func (b *board) acquire(token string) store.Grant {
	return b.s.Acquire(b.Context(), []store.Claim{{Key: b.key, Kind: b.kind, Token: token, Lease: lease}})[0]
}

func (b *board) chunk(token string, es ...store.Element) bool {
	o := b.s.Chunk(b.Context(), store.Chunk{Key: b.key, Kind: b.kind, Token: token, Elements: es})
	if o.Err != nil {
		b.Error(o.Err)
	}
	return o.OK
}

func (b *board) fill(token string) bool {
	o := b.s.Fill(b.Context(), []store.Fill{{Key: b.key, Kind: b.kind, Token: token, TTL: life, Empty: life}})[0]
	if o.Err != nil {
		b.Error(o.Err)
	}
	return o.OK
}

// load puts a collection there.
func (b *board) load(es ...store.Element) {
	b.Helper()
	if g := b.acquire("t1"); g.State != store.Granted {
		b.Fatalf("acquire: %+v", g)
	}
	if !b.chunk("t1", es...) || !b.fill("t1") {
		b.Fatal("the load was refused")
	}
}

func (b *board) begin(token, member string, order store.Order) {
	b.Helper()
	b.beginFor(token, member, order, lease)
}

func (b *board) beginFor(token, member string, order store.Order, life time.Duration) {
	b.Helper()
	if o := b.s.BeginMember(b.Context(), store.MemberIntent{Key: b.key, Kind: b.kind, Member: member, Order: order, Token: token, Life: life, Lease: lease}); !o.OK || o.Err != nil {
		b.Fatalf("begin: %+v", o)
	}
}

func (b *board) end(token string, op store.Op, e store.Element, more ...func(*store.MemberEnd)) store.Ending {
	b.Helper()
	end := store.MemberEnd{Change: store.Change{Key: b.key, Kind: b.kind, Op: op, Element: e}, Member: e.Member, Token: token}
	if b.kind == store.List {
		end.Member = ""
	}
	for _, f := range more {
		f(&end)
	}
	ending := b.s.EndMember(b.Context(), end)
	if ending.Err != nil {
		b.Error(ending.Err)
	}
	return ending
}

func again(e *store.MemberEnd) { e.Again = true }

func version(v float64) func(*store.MemberEnd) { return func(e *store.MemberEnd) { e.Version = v } }

// shows compares what a reader sees. No want at all: there is no collection.
func (b *board) shows(want ...store.Element) {
	b.Helper()
	v := b.s.Query(b.Context(), []store.Query{{Key: b.key, Kind: b.kind, Part: store.All}})[0]
	if v.Err != nil || v.Found != (len(want) > 0) {
		b.Errorf("got %+v, want %v", v, want)
	}
	got := make(map[store.Element]int)
	for _, e := range v.Elements {
		got[e]++
	}
	for _, e := range want {
		got[e]--
	}
	for e, n := range got {
		if n != 0 {
			b.Errorf("got %v, want %v (%+v)", v.Elements, want, e)
		}
	}
	for _, key := range []string{b.key, b.name("l"), b.name("t"), b.name("r"), b.name("i"), b.name("e")} {
		if ttl, _ := b.server.Do(b, "PTTL", key).AsInt64(); ttl == -1 {
			b.Errorf("%s has no TTL", key)
		}
	}
}

func (b *board) exists(names ...string) int64 {
	n, _ := b.server.Do(b, append([]string{"EXISTS"}, names...)...).AsInt64()
	return n
}

// el is an element of any kind.
func (b *board) el(name string, n int) store.Element {
	e := store.Element{Member: name}
	switch b.kind {
	case store.SortedSet:
		e.Score = float64(n)
	case store.Hash:
		e.Value = fmt.Sprint(n)
	}
	return e
}

var keyed = []store.Kind{store.SortedSet, store.Set, store.Hash}

func TestCollection(t *testing.T) {
	server := redistest.Shared(t)
	s := open(t, server.URL())
	for _, kind := range append(keyed, store.List) {
		t.Run(string(kind), func(t *testing.T) {
			b := newBoard(t, s, server, kind)
			if b.acquire("t1").State != store.Granted || b.acquire("t2").State != store.Waiting {
				t.Error("the lease")
			}
			b.chunk("t1", b.el("a", 1), b.el("b", 2))
			b.chunk("t1", b.el("c", 3))
			b.shows()
			b.fill("t1")
			b.shows(b.el("a", 1), b.el("b", 2), b.el("c", 3))
			if ty, _ := server.Do(t, "TYPE", "board").ToString(); ty != string(kind) {
				t.Errorf("it is a %s", ty)
			}
			if n := b.exists(b.name("l"), b.name("t"), b.name("r"), b.name("i"), b.name("e")); n != 0 {
				t.Errorf("%d names are left beside it", n)
			}
			if kind == store.List {
				b.begin("w1", "", store.Pushed)
				if !b.end("w1", store.PushFront, b.el("z", 0), func(e *store.MemberEnd) { e.Cap = 3 }).Applied {
					t.Error("the push was not applied")
				}
				b.shows(b.el("z", 0), b.el("a", 1), b.el("b", 2))
			} else {
				b.begin("w1", "d", store.Alone)
				if !b.end("w1", store.Add, b.el("d", 4)).Applied {
					t.Error("the end was not applied")
				}
				b.shows(b.el("a", 1), b.el("b", 2), b.el("c", 3), b.el("d", 4))
				s.Write(t.Context(), []store.Change{{Key: "board", Kind: kind, Op: store.Remove, Element: b.el("a", 1)}})
				b.shows(b.el("b", 2), b.el("c", 3), b.el("d", 4))
			}
			if ms, _ := server.Do(t, "PTTL", "board").AsInt64(); ms < 50_000 {
				t.Errorf("it has %d ms left, the life was not given back", ms)
			}
			s.Invalidate(t.Context(), []string{"board"}, 0)
			b.shows()
		})
	}
}
