package storetest

import (
	"strings"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
)

const short = 30 * time.Millisecond

// Collections are loaded by one, and are whole or missing.
var loadRules = each([]shapeRule{
	{"LeaseOfACollectionIsGrantedOnce", everyKind, func(k shape) {
		k.granted("a", "t1")
		g := k.claim("a", "t2")
		k.state("second", g, store.Waiting)
		if g.Holder != "t1" {
			k.Errorf("holder %q", g.Holder)
		}
		k.is("chunk", k.chunk("a", "t1", k.els("x")...), true)
		k.state("first again", k.claim("a", "t1"), store.Granted)
		k.is("fill", k.swap("a", "t1"), true)
		k.shows("the lease asked for twice has kept its chunk", "a", k.els("x")...)
		k.state("after it", k.claim("a", "t2"), store.Hit)
	}},
	{"LoadAppearsWhole", everyKind, func(k shape) {
		k.granted("a", "t1")
		k.shows("after the lease", "a")
		k.is("first", k.chunk("a", "t1", k.els("x", "y")...), true)
		k.is("second", k.chunk("a", "t1", k.els("z")...), true)
		k.shows("before the fill", "a")
		k.is("fill", k.swap("a", "t1"), true)
		k.shows("after it", "a", k.els("x", "y", "z")...)
		k.lives("after it", "a", long/2, long)
		if info := k.Inspect(k.ctx, []string{"a"})[0]; info.Type != string(k.kind) || info.TTL <= 0 {
			k.Errorf("inspect: %+v", info)
		}
		k.is("fill again", k.swap("a", "t1"), false)
		k.is("chunk after it", k.chunk("a", "t1", k.els("w")...), false)
		k.shows("after all", "a", k.els("x", "y", "z")...)
	}},
	{"LastChunkComesWithTheFill", everyKind, func(k shape) {
		k.granted("all", "t1")
		k.is("fill with all", k.swap("all", "t1", bringing(k.els("x", "y")...)), true)
		k.shows("after it", "all", k.els("x", "y")...)
		k.lives("after it", "all", long/2, long)
		k.state("refresh", k.claim("all", "t2", stale), store.Refresh)
		k.is("fill again", k.swap("all", "t2", bringing(k.els("y", "z")...)), true)
		k.shows("in the place of the old one", "all", k.els("y", "z")...)

		k.granted("rest", "t1")
		k.is("chunk", k.chunk("rest", "t1", k.els("x", "y")...), true)
		k.is("fill with the rest", k.swap("rest", "t1", bringing(k.els("z", "w")...)), true)
		k.shows("behind the chunk", "rest", k.els("x", "y", "z", "w")...)

		k.is("fill without a lease", k.swap("none", "t1", bringing(k.els("x")...)), false)
		k.shows("refused", "none")
		k.granted("lost", "t1")
		k.invalidate("lost", 0)
		k.is("fill after an invalidation", k.swap("lost", "t1", bringing(k.els("old")...)), false)
		k.shows("refused", "lost")
		k.granted("lost", "t2")
		k.is("late fill of another", k.swap("lost", "t1", bringing(k.els("old")...)), false)
		k.is("fill of the next", k.swap("lost", "t2", bringing(k.els("new")...)), true)
		k.shows("nothing of the other", "lost", k.els("new")...)
	}},
	{"LastChunkIsOlderThanWhatEnded", byMember, func(k shape) {
		k.granted("a", "t1")
		k.write("a", store.Add, k.el("x", 2))
		k.write("a", store.Remove, k.el("y", 2))
		k.write("a", store.Add, k.el("new", 2))
		k.is("fill", k.swap("a", "t1", bringing(k.els("x", "y", "z")...)), true)
		k.shows("what ended is newer", "a", k.el("x", 2), k.el("z", 1), k.el("new", 2))
		k.granted("b", "t1")
		k.write("b", store.Remove, k.el("x", 2))
		k.is("fill of what was removed", k.swap("b", "t1", bringing(k.els("x")...)), true)
		k.shows("nothing is left", "b")
	}},
	{"LoadNeedsTheToken", everyKind, func(k shape) {
		k.is("chunk without a lease", k.chunk("a", "t1", k.els("x")...), false)
		k.is("fill without a lease", k.swap("a", "t1"), false)
		k.granted("a", "t1")
		k.is("chunk of another", k.chunk("a", "t2", k.els("y")...), false)
		k.is("fill of another", k.swap("a", "t2"), false)
		k.is("release of another", k.one("release", k.Release(k.ctx, []store.Lease{{Key: "a", Token: "t2", Kind: k.kind}})), false)
		k.is("chunk", k.chunk("a", "t1", k.els("x")...), true)
		k.is("fill", k.swap("a", "t1"), true)
		k.shows("after it", "a", k.els("x")...)
	}},
	{"LoadThatLostItsLeaseIsRefused", everyKind, func(k shape) {
		for name, lose := range map[string]func(key string){
			"invalidate": func(key string) { k.is("held one", k.invalidate(key, 0), false) },
			"begin":      func(key string) { k.begin(key, "w1"); k.end(key, "w1", ""); k.invalidate(key, 0) },
			"release": func(key string) {
				k.is("release", k.one("release", k.Release(k.ctx, []store.Lease{{Key: key, Token: "t1", Kind: k.kind}})), true)
			},
			"sweep": func(key string) { k.sweep(key+"*", nil) },
		} {
			k.granted(name, "t1")
			k.is(name+": chunk before", k.chunk(name, "t1", k.els("old")...), true)
			lose(name)
			k.is(name+": chunk", k.chunk(name, "t1", k.els("old")...), false)
			k.is(name+": fill", k.swap(name, "t1"), false)
			k.granted(name, "t2")
			k.is(name+": chunk of the next", k.chunk(name, "t2", k.els("new")...), true)
			k.is(name+": late chunk", k.chunk(name, "t1", k.els("old")...), false)
			k.is(name+": late fill", k.swap(name, "t1"), false)
			k.is(name+": fill of the next", k.swap(name, "t2"), true)
			k.shows(name, name, k.els("new")...)
		}
	}},
	{"LeaseOfACollectionExpires", everyKind, func(k shape) {
		k.state("first", k.claim("a", "t1", life(short)), store.Granted)
		k.chunk("a", "t1", k.els("old")...)
		eventually.True(k, "the next one is granted", func() bool { return k.claim("a", "t2").State == store.Granted })
		k.is("late chunk", k.chunk("a", "t1", k.els("old")...), false)
		k.is("late fill", k.swap("a", "t1"), false)
		k.is("chunk", k.chunk("a", "t2", k.els("new")...), true)
		k.is("fill", k.swap("a", "t2"), true)
		k.shows("after it", "a", k.els("new")...)
	}},
	{"CollectionExpires", everyKind, func(k shape) {
		k.granted("a", "t1")
		k.chunk("a", "t1", k.els("x")...)
		k.is("fill", k.swap("a", "t1", func(f *store.Fill) { f.TTL = short }), true)
		eventually.True(k, "it is gone", func() bool { return k.claim("a", "t2").State == store.Granted })
	}},
	{"StaleCollectionIsRefreshedByOne", everyKind, func(k shape) {
		k.cached("a", k.els("old", "both")...)
		k.state("no stale window", k.claim("a", "t0"), store.Hit)
		k.state("still fresh", k.claim("a", "t0", func(c *store.Claim) { c.Stale = time.Second }), store.Hit)
		k.state("the first", k.claim("a", "t1", stale), store.Refresh)
		k.state("the second", k.claim("a", "t2", stale), store.Stale)
		k.state("the first again", k.claim("a", "t1", stale), store.Refresh)
		k.is("chunk", k.chunk("a", "t1", k.els("both", "new")...), true)
		k.shows("meanwhile", "a", k.els("old", "both")...)
		k.is("fill", k.swap("a", "t1"), true)
		k.shows("after it", "a", k.els("both", "new")...)
		k.state("refresh", k.claim("a", "t3", stale), store.Refresh)
		k.is("empty", k.swap("a", "t3"), true)
		k.shows("an empty load replaces it too", "a")
	}},
	{"EmptyCollectionIsRemembered", everyKind, func(k shape) {
		empty := func(d time.Duration) func(*store.Fill) { return func(f *store.Fill) { f.Empty = d } }
		k.granted("a", "t1")
		k.is("fill", k.swap("a", "t1", empty(long)), true)
		k.shows("after it", "a")
		g := k.claim("a", "t2")
		k.state("after it", g, store.Absent)
		if k.ttl && (g.TTL <= 0 || g.TTL > long) {
			k.Errorf("TTL %v", g.TTL)
		}
		k.is("held a value", k.invalidate("a", 0), false)
		k.granted("a", "t3")
		k.is("fill, for a while", k.swap("a", "t3", empty(short)), true)
		eventually.True(k, "it is forgotten", func() bool { return k.claim("a", "t4").State == store.Granted })
		k.is("fill, not remembered", k.swap("a", "t4"), true)
		k.granted("a", "t5")
		k.is("chunk", k.chunk("a", "t5", k.els("x")...), true)
		k.is("fill, not empty", k.swap("a", "t5", empty(long)), true)
		k.state("is not absent", k.claim("a", "t6"), store.Hit)
	}},
	{"InvalidationRemovesTheCollection", everyKind, func(k shape) {
		k.cached("a", k.els("x")...)
		k.is("held one", k.invalidate("a", 0), true)
		k.shows("after it", "a")
		k.cached("a", k.els("x")...)
		k.state("refresh", k.claim("a", "t1", stale), store.Refresh)
		k.chunk("a", "t1", k.els("x")...)
		k.is("held one", k.invalidate("a", 0), true)
		k.is("fill", k.swap("a", "t1"), false)
		k.shows("after it", "a")
		k.cached("b", k.els("x")...)
		k.sweep("b*", nil)
		k.shows("after a sweep", "b")
	}},
	{"AnotherTypeIsForeign", everyKind, func(k shape) {
		judged := func(ty string) func(*store.Claim) {
			return func(c *store.Claim) { c.Dead = &store.Dead{Type: ty} }
		}
		foreign := func(g store.Grant, ty string) {
			k.Helper()
			if k.state("claim", g, store.Foreign); g.Holder != ty {
				k.Errorf("holder %q, want %q", g.Holder, ty)
			}
		}
		k.put("a", "hello", long)
		k.shows("a value is no collection", "a")
		foreign(k.claim("a", "t1"), "string")
		foreign(k.claim("a", "t1", judged("stream")), "string")
		k.holds("a", "hello")
		k.state("judged dead", k.claim("a", "t1", judged("string")), store.Granted)
		k.holds("a", "")
		k.is("chunk", k.chunk("a", "t1", k.els("x")...), true)
		k.is("fill", k.swap("a", "t1"), true)
		k.state("what was dead is gone", k.claim("a", "t2", judged("string")), store.Hit)
		k.holds("a", "")
		foreign(k.acquire("a", "t2"), string(k.kind))
		for _, other := range everyKind {
			if other != k.kind {
				foreign(shape{k.kit, other}.claim("a", "t2"), string(k.kind))
				shape{k.kit, other}.shows("of another kind", "a")
			}
		}
		k.shows("it stays", "a", k.els("x")...)
		k.state("judged dead by a reader of values", k.acquire("a", "t2", judged(string(k.kind))), store.Granted)
		k.is("fill", k.fill("a", "t2", "1"), true)
		k.holds("a", "1")
	}},
	{"DeadMemberDropsTheCollection", everyKind, func(k shape) {
		judged := func(member string) func(*store.Claim) {
			return func(c *store.Claim) { c.Dead = &store.Dead{Member: member} }
		}
		k.cached("a", k.els("x", "y")...)
		k.state("not there", k.claim("a", "t1", judged("z")), store.Hit)
		k.shows("it stays", "a", k.els("x", "y")...)
		k.state("there", k.claim("a", "t1", judged("y")), store.Granted)
		k.shows("it is gone", "a")
	}},
	{"BarriersForbidLoads", everyKind, func(k shape) {
		k.cached("hold", k.els("x")...)
		k.granted("load", "t1")
		k.chunk("load", "t1", k.els("x")...)
		for _, key := range []string{"hold", "load"} {
			k.invalidate(key, 2*short)
			k.state(key, k.claim(key, "t2"), store.Barrier)
			k.shows(key, key)
		}
		k.is("fill", k.swap("load", "t1"), false)
		eventually.True(k, "the hold ends", func() bool { return k.claim("hold", "t2").State == store.Granted })
	}},
	{"BeginIsAboutTheWhole", everyKind, func(k shape) {
		k.cached("a", k.els("x")...)
		k.state("refresh", k.claim("a", "t1", stale), store.Refresh)
		k.begin("a", "w1")
		k.shows("after begin", "a")
		k.is("chunk", k.chunk("a", "t1", k.els("x")...), false)
		k.is("fill", k.swap("a", "t1"), false)
		k.state("meanwhile", k.claim("a", "t2"), store.Barrier)
		k.is("end", k.end("a", "w1", ""), false)
		k.granted("a", "t3")
		k.end("a", "w1", "")
		k.is("an end alone ends the lease", k.swap("a", "t3"), false)
		k.cached("b", k.els("x")...)
		k.end("b", "w1", "")
		k.shows("an end alone drops", "b")
	}},
	{"ListKeepsWhatComesTwice", lists, func(k shape) {
		k.granted("a", "t1")
		k.chunk("a", "t1", k.els("x", "y", "x")...)
		k.chunk("a", "t1", k.els("x")...)
		k.is("fill", k.swap("a", "t1"), true)
		k.shows("in its order", "a", k.els("x", "y", "x", "x")...)
	}},
	{"NoNumberIsRefused", []store.Kind{store.SortedSet}, func(k shape) {
		k.cached("a", k.els("x")...)
		k.announce("a", "x", "w1")
		e := store.Element{Member: "x", Score: nan}
		change := store.Change{Key: "a", Kind: k.kind, Op: store.Add, Element: e}
		errs := map[string]error{
			"write": k.Write(k.ctx, []store.Change{change})[0].Err,
			"end":   k.EndMember(k.ctx, store.MemberEnd{Change: change, Member: "x", Token: "w1"}).Err,
		}
		k.granted("b", "t1")
		errs["chunk"] = k.Chunk(k.ctx, store.Chunk{Key: "b", Token: "t1", Kind: k.kind, Elements: []store.Element{e}}).Err
		errs["fill"] = k.Fill(k.ctx, []store.Fill{{Key: "b", Token: "t1", Kind: k.kind, TTL: long, Last: []store.Element{e}}})[0].Err
		k.is("the lease stands", k.swap("b", "t1", bringing(k.els("y")...)), true)
		for verb, err := range errs {
			if err == nil || !strings.Contains(err.Error(), `"x"`) {
				k.Errorf("%s: error %v, want one that names the member", verb, err)
			}
		}
		k.shows("nothing has changed", "a", k.els("x")...)
	}},
})
