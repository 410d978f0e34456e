package redis_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
)

// each runs a step-by-step test for each kind whose members have names.
func each(t *testing.T, f func(b *board)) {
	server := redistest.Shared(t)
	s := open(t, server.URL())
	for _, kind := range keyed {
		t.Run(string(kind), func(t *testing.T) { f(newBoard(t, s, server, kind)) })
	}
}

// A load that has lost something of its own is not filled.
func TestMarksLost(t *testing.T) {
	each(t, func(b *board) {
		for _, lost := range []string{"t", "r", "l"} {
			b.server.Do(b, "FLUSHALL")
			b.acquire("t1")
			b.chunk("t1", b.el("a", 1))
			b.server.Do(b, "DEL", b.name(lost))
			if took := b.chunk("t1", b.el("b", 2)); took != (lost == "r") { // a chunk needs nothing of R
				b.Errorf("%s lost: chunk %v", lost, took)
			}
			if b.fill("t1") {
				b.Errorf("%s lost: filled", lost)
			}
			b.shows()
			if n := b.exists(b.name("l")); n != 0 {
				b.Errorf("%s lost: the lease stands", lost)
			}
		}
	})
}

// What an end does to a load that has lost something: it stops it.
func TestEndStopsALoadThatLostItsMarks(t *testing.T) {
	each(t, func(b *board) {
		for _, lost := range []string{"t", "r"} {
			b.server.Do(b, "FLUSHALL")
			b.acquire("t1")
			b.chunk("t1", b.el("a", 1))
			b.begin("w1", "b", store.Alone)
			b.server.Do(b, "DEL", b.name(lost))
			if !b.end("w1", store.Add, b.el("b", 2)).Applied || b.fill("t1") {
				b.Errorf("%s lost: the load went on", lost)
			}
			b.shows()
		}
	})
}

// Intents or clusters that were evicted: no end is applied on their word.
func TestIntentsLost(t *testing.T) {
	each(t, func(b *board) {
		for _, lost := range []string{"i", "e"} {
			b.server.Do(b, "FLUSHALL")
			b.load(b.el("a", 1))
			b.begin("w1", "b", store.Alone)
			b.server.Do(b, "DEL", b.name(lost))
			if e := b.end("w1", store.Add, b.el("b", 2)); e.Applied || e.Number != 0 {
				b.Errorf("%s lost: %+v", lost, e)
			}
			b.shows()
			if n := b.exists(b.name("i"), b.name("e")); n != 0 {
				b.Errorf("%s lost: %d names are left", lost, n)
			}
		}
		// E alone, and the row can be read again.
		b.load(b.el("a", 1))
		b.begin("w1", "b", store.Alone)
		b.server.Do(b, "DEL", b.name("e"))
		e := b.end("w1", store.Add, b.el("b", 2), again)
		if e.Number == 0 || !b.end("w1", store.Add, b.el("b", 3), again, version(e.Number)).Applied {
			b.Errorf("E lost: %+v", e)
		}
		b.shows(b.el("a", 1), b.el("b", 3))
		// I alone, of several: the others' ends are not applied, and nothing stands for ever.
		b.begin("w1", "b", store.Alone)
		b.begin("w2", "c", store.Alone)
		b.server.Do(b, "DEL", b.name("i"))
		if b.end("w1", store.Add, b.el("b", 4)).Applied || b.end("w2", store.Add, b.el("c", 4)).Applied {
			b.Error("I lost: applied")
		}
		b.shows()
	})
}

// Somebody's list under each of our names: nothing old survives, and what stands in the way is taken away.
func TestCollectionBesideSomebodysList(t *testing.T) {
	each(t, func(b *board) {
		for _, letter := range []string{"l", "t", "r", "i", "e"} {
			foreign := func() {
				b.server.Do(b, "FLUSHALL")
				b.load(b.el("a", 1))
				b.server.Do(b, "DEL", b.name(letter))
				b.server.Do(b, "RPUSH", b.name(letter), "1")
			}
			foreign()
			if o := b.s.Invalidate(b.Context(), []string{b.key}, 0)[0]; !o.OK {
				b.Errorf("%s: invalidate: %+v", letter, o)
			}
			if v := b.s.Query(b.Context(), []store.Query{{Key: b.key, Kind: b.kind}})[0]; v.Found {
				b.Errorf("%s: it survives the invalidation", letter)
			}
			if g := b.acquire("t1"); g.State != store.Granted || !b.chunk("t1", b.el("b", 2)) || !b.fill("t1") {
				b.Errorf("%s: no load behind it: %+v", letter, g)
			}
			foreign()
			in := store.MemberIntent{Key: b.key, Kind: b.kind, Member: "a", Order: store.Alone, Token: "w1", Life: lease, Lease: lease}
			if o := b.s.BeginMember(b.Context(), in); o.Err != nil {
				b.Errorf("%s: begin: %v", letter, o.Err)
			}
			b.end("w1", store.Add, b.el("a", 5))
			v := b.s.Query(b.Context(), []store.Query{{Key: b.key, Kind: b.kind}})[0]
			if v.Found && (len(v.Elements) != 1 || v.Elements[0] != b.el("a", 5)) {
				b.Errorf("%s: after a write it shows %v", letter, v.Elements)
			}
		}
	})
}

// What is removed while a load goes on is bounded, for the server's sake: the load is stopped.
func TestRemovedIsBounded(t *testing.T) {
	each(t, func(b *board) {
		b.acquire("t1")
		b.chunk("t1", b.el("a", 1))
		var changes []store.Change
		for i := range 3001 {
			changes = append(changes, store.Change{Key: b.key, Kind: b.kind, Op: store.Remove, Element: b.el(fmt.Sprint("m", i), 0)})
		}
		b.s.Write(b.Context(), changes[:3000])
		if b.exists(b.name("l"), b.name("t"), b.name("r")) != 3 {
			b.Error("3000 removals stop the load")
		}
		b.s.Write(b.Context(), changes[:1])
		if b.exists(b.name("l"), b.name("t"), b.name("r")) != 3 {
			b.Error("one that is removed again stops the load")
		}
		b.s.Write(b.Context(), changes[3000:])
		if b.exists(b.name("l"), b.name("t"), b.name("r")) != 0 || b.fill("t1") {
			b.Error("3001 removals do not stop the load")
		}
	})
}

// The names live as long as they must: intents and clusters a lease longer than their writer, so that a load that began
// under it sees that its deadline has passed; and they are gone with the last.
func TestLives(t *testing.T) {
	each(t, func(b *board) {
		ttl := func(name string) time.Duration {
			ms, _ := b.server.Do(b, "PTTL", name).AsInt64()
			return (time.Duration(ms) * time.Millisecond).Round(time.Second)
		}
		b.load(b.el("a", 1))
		b.beginFor("w1", "a", store.Alone, 30*time.Second)
		b.beginFor("w2", "b", store.Alone, 20*time.Second)
		if got := []time.Duration{ttl(b.key), ttl(b.name("i")), ttl(b.name("e"))}; !slices.Equal(got, []time.Duration{20 * time.Second, 40 * time.Second, 40 * time.Second}) {
			b.Errorf("K, I, E live %v", got)
		}
		b.end("w2", store.Add, b.el("b", 1))
		if got := ttl(b.key); got != 30*time.Second {
			b.Errorf("K lives %v behind the first end, want the other's deadline", got)
		}
		b.acquire("t2") // a hit: it is not stale
		if n := b.exists(b.name("l")); n != 0 {
			b.Error("a fresh collection is leased")
		}
		g := b.s.Acquire(b.Context(), []store.Claim{{Key: b.key, Kind: b.kind, Token: "t2", Lease: lease, Stale: 45 * time.Second}})[0]
		if g.State != store.Hit || g.TTL < 50*time.Second {
			b.Errorf("under an intent: %+v, want the life that it gets back", g)
		}
		b.end("w1", store.Remove, b.el("a", 0))
		if got := ttl(b.key); got != time.Minute {
			b.Errorf("K lives %v behind the last end", got)
		}
		if n := b.exists(b.name("i"), b.name("e")); n != 0 {
			b.Errorf("%d of I and E are left", n)
		}
		b.shows(b.el("b", 1))
	})
}

// Scores travel as they are, those without a short form too.
func TestScores(t *testing.T) {
	server := redistest.Shared(t)
	b := newBoard(t, open(t, server.URL()), server, store.SortedSet)
	scores := []float64{0.1, 1.0 / 3, 9007199254740993, -1e300, 1.7976931348623157e308, 5e-324, 0, 123456789.123456789}
	var want []store.Element
	for i, f := range scores {
		want = append(want, store.Element{Member: fmt.Sprint("m", i), Score: f})
	}
	b.load(want...)
	b.shows(want...)
	for i := range want {
		want[i].Score = -want[i].Score / 3
		b.begin("w1", want[i].Member, store.Versioned)
		b.end("w1", store.Add, want[i], version(1.0/3))
	}
	b.shows(want...)
	v := b.s.Query(t.Context(), []store.Query{{Key: "board", Kind: store.SortedSet, Part: store.Pick, Names: []string{"m1", "none"}}, {Key: "board", Kind: store.SortedSet, Part: store.Around, Names: []string{"m1"}}})
	if v[0].Elements[0] != want[1] || v[1].Elements[0] != want[1] {
		t.Errorf("got %+v, want %v", v, want[1])
	}
}

// Versions of writers who overlap, below a microsecond apart or without an end: the higher one wins whoever comes last.
func TestVersions(t *testing.T) {
	each(t, func(b *board) {
		if b.kind == store.Set {
			return
		}
		b.load(b.el("a", 1))
		b.begin("w1", "a", store.Versioned)
		b.begin("w2", "a", store.Versioned)
		if !b.end("w1", store.Add, b.el("a", 3), version(1e15+0.25)).Applied || !b.end("w2", store.Add, b.el("a", 2), version(1e15+0.125)).Applied {
			b.Error("not applied")
		}
		b.shows(b.el("a", 3))
	})
}

// A version of the row is no number that was drawn, however high: beside a writer who has none it does not decide.
func TestAVersionIsNoDrawnNumber(t *testing.T) {
	each(t, func(b *board) {
		b.load(b.el("a", 1))
		b.begin("w1", "a", store.Versioned)
		b.begin("w2", "a", store.Versioned)
		b.end("w2", store.Add, b.el("a", 2), version(1e18))
		b.begin("w3", "a", store.Alone)
		e := b.end("w3", store.Add, b.el("a", 3), again)
		if e.Number == 0 || !b.end("w3", store.Add, b.el("a", 3), again, version(e.Number)).Applied {
			b.Fatalf("got %+v", e)
		}
		b.shows(b.el("a", 3))
		if e := b.end("w1", store.Add, b.el("a", 9), again, version(1e18)); e.Number == 0 {
			b.Errorf("the version was taken for a number: %+v", e)
		}
	})
}

// Whoever is denied what collections need is told once, and nothing is kept.
func TestCollectionsDenied(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, append([]string{"ACL", "SETUSER", "app", "on", ">s3cret", "-@all"}, redistest.Rights...)...)
	s := openWith(t, "redis://app:s3cret@"+server.Addr, redis.Options{})
	b := &board{t, s, server, store.SortedSet, "board"}
	full := &board{t, open(t, server.URL()), server, store.SortedSet, "board"}
	full.load(b.el("a", 1))
	if g := s.Acquire(t.Context(), []store.Claim{{Key: "board", Kind: b.kind, Token: "t1", Lease: lease}})[0]; g.State != store.Hit {
		t.Errorf("acquire: %+v", g)
	}
	if o := s.BeginMember(t.Context(), store.MemberIntent{Key: "board", Kind: b.kind, Token: "w1", Life: lease}); o.Err == nil {
		t.Error("begin: no error")
	}
	if e := s.EndMember(t.Context(), store.MemberEnd{Change: store.Change{Key: "board", Kind: b.kind, Op: store.Add, Element: b.el("a", 2)}, Member: "a", Token: "w1"}); e.Applied || e.Err != nil {
		t.Errorf("end: %+v", e)
	}
	full.shows()
	if g := s.Acquire(t.Context(), []store.Claim{{Key: "board", Kind: b.kind, Token: "t1", Lease: lease}})[0]; g.State != store.Barrier {
		t.Errorf("acquire: %+v", g)
	}
	full.load(b.el("a", 1))
	if o := s.Write(t.Context(), []store.Change{{Key: "board", Kind: b.kind, Op: store.Add, Element: b.el("a", 2)}})[0]; o.OK || o.Err != nil {
		t.Errorf("write: %+v", o)
	}
	full.shows()
	ps := s.Problems()
	if len(ps) != 1 {
		t.Fatalf("problems: %q", ps)
	}
	_, grant, _ := strings.Cut(ps[0], "grant it: ")
	server.Do(t, strings.Fields(grant)...)
	claim := func() store.Grant {
		return s.Acquire(t.Context(), []store.Claim{{Key: "other", Kind: b.kind, Token: "t1", Lease: lease}})[0]
	}
	eventually.True(t, "the command that grants it is noticed", func() bool { return claim().State == store.Granted }) // it tries now and then
	filled := s.Fill(t.Context(), []store.Fill{{Key: "other", Kind: b.kind, Token: "t1", Last: []store.Element{b.el("a", 1)}, TTL: time.Minute}})[0]
	if ps := s.Problems(); !filled.OK || len(ps) != 0 {
		t.Errorf("filled %+v, problems %q", filled, ps)
	}
	b.load(b.el("a", 1))
	b.begin("w1", "b", store.Alone)
	if !b.end("w1", store.Remove, b.el("b", 1)).Applied {
		t.Error("the command that grants it does not help")
	}
}

// A place in the middle of a sorted set, in two trips where scripts are denied.
func TestAround(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, append(append([]string{"ACL", "SETUSER", "app", "on", ">s3cret", "-@all"}, redistest.Rights...), redistest.CollectionRights...)...)
	s := openWith(t, "redis://app:s3cret@"+server.Addr, redis.Options{})
	b := &board{t, s, server, store.SortedSet, "board"}
	var es []store.Element
	for i := range 9 {
		es = append(es, store.Element{Member: string(rune('a' + i)), Score: float64(i)})
	}
	b.load(es...)
	around := func(name string, n int64, reverse bool) string {
		v := s.Query(t.Context(), []store.Query{{Key: "board", Kind: b.kind, Part: store.Around, Names: []string{name}, To: n, Reverse: reverse}})[0]
		if v.Err != nil || !v.Found || v.TTL <= 0 {
			t.Errorf("got %+v", v)
		}
		var names strings.Builder
		for _, e := range v.Elements {
			names.WriteString(e.Member)
		}
		return fmt.Sprint(v.N, names.String())
	}
	for _, denied := range []bool{false, true} {
		if denied {
			server.Do(t, "ACL", "SETUSER", "app", "-eval", "-evalsha")
		}
		for want, got := range map[string]string{
			"2cdefg": around("e", 2, false), "0abc": around("a", 2, false), "7hi": around("i", 1, false), "-1": around("none", 1, false),
			"0ihg": around("i", 2, true), "2gfedc": around("e", 2, true), "4e": around("e", 0, false),
		} {
			if got != want {
				t.Errorf("scripts denied %v: got %s, want %s", denied, got, want)
			}
		}
	}
}
