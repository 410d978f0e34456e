package storetest

import (
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Writers of members write into collections, and into loads.
var memberRules = each([]shapeRule{
	{"WriteGoesIntoTheCollection", byMember, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		k.is("add", k.write("a", store.Add, k.el("z", 2)), true)
		k.is("another state", k.write("a", store.Add, k.el("x", 3)), true)
		k.is("remove", k.write("a", store.Remove, k.el("y", 0)), true)
		k.shows("after them", "a", k.el("z", 2), k.el("x", 3))
		k.is("where there is none", k.write("b", store.Add, k.el("x", 1)), true)
		k.shows("it makes none", "b")
		k.granted("b", "t1")
	}},
	{"WriteNeverProlongs", byMember, func(k shape) {
		k.granted("a", "t1")
		k.chunk("a", "t1", k.els("x", "y")...)
		k.swap("a", "t1", func(f *store.Fill) { f.TTL = short })
		k.write("a", store.Add, k.el("z", 1))
		k.write("a", store.Remove, k.el("x", 1))
		k.lives("after it", "a", -long, short)
		k.announce("a", "z", "w1")
		k.applied("end", k.done("a", "w1", store.Add, k.el("z", 2)), true)
		k.lives("after an end", "a", -long, short)
	}},
	{"WriteGoesIntoTheLoad", byMember, func(k shape) {
		k.granted("a", "t1")
		k.chunk("a", "t1", k.els("x", "y")...)
		k.write("a", store.Add, k.el("x", 2))
		k.write("a", store.Remove, k.el("y", 0))
		k.write("a", store.Add, k.el("z", 2))
		k.write("a", store.Remove, k.el("r", 0))
		k.write("a", store.Remove, k.el("s", 0))
		k.write("a", store.Add, k.el("s", 2))
		k.is("chunk of what was read before", k.chunk("a", "t1", k.els("x", "y", "z", "r", "s", "u")...), true)
		k.is("fill", k.swap("a", "t1"), true)
		k.shows("after it", "a", k.el("x", 2), k.el("z", 2), k.el("s", 2), k.el("u", 1))
	}},
	{"WriteGoesIntoBoth", byMember, func(k shape) {
		k.cached("a", k.els("x")...)
		k.state("refresh", k.claim("a", "t1", stale), store.Refresh)
		k.write("a", store.Add, k.el("y", 2))
		k.shows("before the fill", "a", k.el("x", 1), k.el("y", 2))
		k.is("chunk", k.chunk("a", "t1", k.els("x")...), true)
		k.is("fill", k.swap("a", "t1"), true)
		k.shows("after it", "a", k.el("x", 1), k.el("y", 2))
	}},
	{"LoadOfWhatWasRemovedIsEmpty", byMember, func(k shape) {
		k.granted("a", "t1")
		k.chunk("a", "t1", k.els("x")...)
		k.write("a", store.Remove, k.el("x", 0))
		k.is("fill", k.swap("a", "t1", func(f *store.Fill) { f.Empty = long }), true)
		k.shows("after it", "a")
		k.state("it is remembered", k.claim("a", "t2"), store.Absent)
	}},
	{"TooManyRemovalsStopALoad", byMember, func(k shape) {
		var changes []store.Change
		for i := range 3001 {
			changes = append(changes, store.Change{Key: "a", Kind: k.kind, Op: store.Remove, Element: k.el(fmt.Sprint(i), 0)})
		}
		k.granted("a", "t1")
		for _, o := range k.Write(k.ctx, changes) {
			k.one("write", []store.Outcome{o})
		}
		k.is("fill", k.swap("a", "t1"), false)
		k.granted("a", "t2")
	}},
	{"AddEndsTheAbsence", byMember, func(k shape) {
		empty := func(key string) {
			k.granted(key, "t1")
			k.swap(key, "t1", func(f *store.Fill) { f.Empty = long })
		}
		empty("a")
		k.write("a", store.Remove, k.el("x", 0))
		k.state("after a removal", k.claim("a", "t2"), store.Absent)
		k.write("a", store.Add, k.el("x", 1))
		k.granted("a", "t2")
		empty("b")
		k.announce("b", "x", "w1")
		k.state("after a begin", k.claim("b", "t1"), store.Granted)
		k.is("fill", k.swap("b", "t1", func(f *store.Fill) { f.Empty = long }), true)
		k.state("an absence beside the intent", k.claim("b", "t2"), store.Absent)
		k.applied("end", k.done("b", "w1", store.Add, k.el("x", 1)), true)
		k.granted("b", "t2")
	}},
	{"EmptiedCollectionIsAMiss", byMember, func(k shape) {
		k.cached("a", k.els("x")...)
		k.write("a", store.Remove, k.el("x", 0))
		k.shows("after it", "a")
		k.write("a", store.Add, k.el("y", 0))
		k.shows("an element alone is no collection", "a")
		k.granted("a", "t1")
	}},
	{"WriteOfNobodyKnowsWhatDrops", byMember, func(k shape) {
		k.cached("a", k.els("x")...)
		k.is("drop", k.write("a", store.Drop, k.el("x", 0)), false)
		k.shows("after it", "a")
		k.granted("a", "t1")
		k.chunk("a", "t1", k.els("x")...)
		k.write("a", store.Drop, k.el("x", 0))
		k.is("fill", k.swap("a", "t1"), false)
	}},
	{"UpdateOfAMember", byMember, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w1", lasting(10*time.Second))
		k.shows("meanwhile", "a", k.els("x", "y")...)
		k.lives("meanwhile", "a", 0, 10*time.Second)
		k.state("it is no barrier", k.claim("a", "t1"), store.Hit)
		k.state("and its short life is not stale", k.claim("a", "t1", func(c *store.Claim) { c.Stale = long / 2 }), store.Hit)
		k.applied("end", k.done("a", "w1", store.Add, k.el("x", 2)), true)
		k.shows("after it", "a", k.el("x", 2), k.el("y", 1))
		k.lives("its life is given back", "a", 10*time.Second, long)
		k.announce("a", "y", "w2")
		k.applied("end", k.done("a", "w2", store.Remove, k.el("y", 0)), true)
		k.shows("after a removal", "a", k.el("x", 2))
	}},
	{"LifeIsThatOfTheEarliestDeadline", byMember, func(k shape) {
		k.cached("a", k.els("x", "y", "z")...)
		k.announce("a", "x", "w1", lasting(20*time.Second))
		k.announce("a", "y", "w2", lasting(10*time.Second))
		k.announce("a", "z", "w3", lasting(30*time.Second))
		k.lives("under three", "a", 0, 10*time.Second)
		k.applied("end of the longest", k.done("a", "w3", store.Add, k.el("z", 2)), true)
		k.lives("under two", "a", 0, 10*time.Second)
		k.applied("end of the shortest", k.done("a", "w2", store.Add, k.el("y", 2)), true)
		k.lives("under one", "a", 10*time.Second, 20*time.Second)
		k.applied("end of the last", k.done("a", "w1", store.Add, k.el("x", 2)), true)
		k.lives("under none", "a", 30*time.Second, long)
	}},
	{"LoadUnderAnIntent", byMember, func(k shape) {
		k.announce("a", "x", "w1", lasting(10*time.Second))
		k.granted("a", "t1")
		k.is("chunk", k.chunk("a", "t1", k.els("x", "y")...), true)
		k.is("fill", k.swap("a", "t1"), true)
		k.lives("no longer than the intent", "a", 0, 10*time.Second)
		k.applied("end", k.done("a", "w1", store.Remove, k.el("x", 0)), true)
		k.shows("after it", "a", k.el("y", 1))
		k.lives("all of its life", "a", 10*time.Second, long)

		k.announce("b", "x", "w1", lasting(10*time.Second))
		k.granted("b", "t1")
		k.is("an absence", k.swap("b", "t1", func(f *store.Fill) { f.Empty = long }), true)
		if g := k.claim("b", "t2"); g.State != store.Absent || k.ttl && g.TTL > 10*time.Second {
			k.Errorf("an absence under an intent: %+v", g)
		}
	}},
	{"EndGoesIntoTheLoad", byMember, func(k shape) {
		k.announce("a", "x", "w1")
		k.granted("a", "t1")
		k.announce("a", "y", "w2")
		k.is("chunk", k.chunk("a", "t1", k.els("y")...), true)
		k.applied("end", k.done("a", "w1", store.Add, k.el("x", 2)), true)
		k.applied("end", k.done("a", "w2", store.Remove, k.el("y", 0)), true)
		k.is("chunk", k.chunk("a", "t1", k.els("x", "y", "z")...), true)
		k.is("fill", k.swap("a", "t1"), true)
		k.shows("after it", "a", k.el("x", 2), k.el("z", 1))
		k.lives("all of its life", "a", long/2, long)
	}},
	{"DeadWriterLeavesNothing", everyKind, func(k shape) {
		member := "x"
		if k.kind == store.List {
			member = ""
		}
		begin := func(key string) { k.announce(key, member, "w1", lasting(short)) }
		k.cached("cached", k.els("x")...)
		begin("cached")
		begin("before the load")
		for _, key := range []string{"before the load", "during the load"} {
			k.granted(key, "t1")
			k.chunk(key, "t1", k.els("x")...)
		}
		begin("during the load")
		k.pass(2 * short)
		k.shows("the collection", "cached")
		k.is("a load that overlaps", k.swap("before the load", "t1"), false)
		k.is("a load that overlaps", k.swap("during the load", "t1"), false)
		k.cached("cached", k.els("x")...)
		k.lives("what is loaded later has all of its life", "cached", long/2, long)
		op := store.Add
		if k.kind == store.List {
			op = store.PushBack
		}
		k.applied("the late end", k.done("cached", "w1", op, k.el("x", 2)), false)
		k.shows("it drops", "cached")
	}},
	{"IntentOutlivesALoadThatBeganWithIt", byMember, func(k shape) {
		k.announce("a", "x", "w1", lasting(short))
		k.granted("a", "t1")
		k.chunk("a", "t1", k.els("x")...)
		k.pass(20 * short) // many times its life
		k.is("fill", k.swap("a", "t1"), false)
	}},
	{"BeginOfAMemberSentAgain", byMember, func(k shape) {
		k.cached("a", k.els("x")...)
		k.announce("a", "x", "w1")
		k.announce("a", "x", "w1")
		k.applied("with one token", k.done("a", "w1", store.Add, k.el("x", 2)), true)
		k.announce("a", "x", "w2")
		k.announce("a", "x", "w3", instead("w2"))
		k.applied("with a fresh one", k.done("a", "w3", store.Add, k.el("x", 3)), true)
		k.shows("after it", "a", k.el("x", 3))
		k.lives("nothing is left", "a", long/2, long)
	}},
	{"GhostOfABeginOfAMember", byMember, func(k shape) {
		k.cached("a", k.els("x")...)
		k.announce("a", "x", "w2", instead("w1"))
		k.announce("a", "x", "w1", lasting(short)) // a late copy
		k.lives("under it", "a", -long, short)
		k.applied("end", k.done("a", "w2", store.Add, k.el("x", 2)), false)
		k.shows("it drops", "a")
	}},
	{"EndOfAMemberTwice", byMember, func(k shape) {
		k.cached("a", k.els("x")...)
		k.announce("a", "x", "w1")
		k.applied("once", k.done("a", "w1", store.Add, k.el("x", 2)), true)
		k.write("a", store.Add, k.el("x", 3))
		k.applied("twice", k.done("a", "w1", store.Add, k.el("x", 2)), false)
		k.shows("it drops", "a")
		k.cached("a", k.els("x")...)
		k.applied("and where the row can be read again", k.done("a", "w1", store.Add, k.el("x", 2), again), false)
		k.shows("it drops", "a")
		k.granted("a", "t1")
		k.done("a", "w1", store.Add, k.el("x", 2))
		k.is("a load under way", k.swap("a", "t1"), false)
	}},
	{"EndOfNobodyKnowsWhatDrops", everyKind, func(k shape) {
		member := k.el("x", 0)
		if k.kind == store.List {
			member = store.Element{}
		}
		k.cached("a", k.els("x", "y")...)
		k.announce("a", member.Member, "w1")
		k.state("refresh", k.claim("a", "t1", stale), store.Refresh)
		k.applied("end", k.done("a", "w1", store.Drop, member, again), false)
		k.shows("after it", "a")
		k.is("fill", k.swap("a", "t1"), false)
	}},
	{"MembersAreWrittenUnderAHold", byMember, func(k shape) {
		k.invalidate("a", long)
		k.announce("a", "x", "w1")
		k.state("the hold stands", k.claim("a", "t1"), store.Barrier)
		k.applied("end", k.done("a", "w1", store.Add, k.el("x", 2)), true)
		k.write("a", store.Add, k.el("x", 2))
		k.write("a", store.Drop, k.el("x", 2))
		k.state("the hold stands", k.claim("a", "t1"), store.Barrier)
		k.shows("nothing is made", "a")
	}},
	{"PushOfAnElement", lists, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		for i, push := range []struct {
			op   store.Op
			most int64
			want []string
		}{
			{store.PushFront, 0, []string{"n", "x", "y"}},
			{store.PushBack, 0, []string{"n", "x", "y", "n"}},
			{store.PushFront, 3, []string{"n", "n", "x"}},
			{store.PushBack, 2, []string{"x", "n"}},
			{store.PushFront, 9, []string{"n", "x", "n"}},
		} {
			token := fmt.Sprint("w", i)
			k.announce("a", "", token, lasting(10*time.Second))
			k.applied("end", k.done("a", token, push.op, k.el("n", 1), func(e *store.MemberEnd) { e.Cap = push.most }), true)
			k.shows(token, "a", k.els(push.want...)...)
		}
		k.lives("its life is given back", "a", 10*time.Second, long)
		k.applied("an end twice", k.done("a", "w4", store.PushFront, k.el("n", 1)), false)
		k.shows("it drops", "a")
		k.announce("b", "", "w1")
		k.applied("where there is none", k.done("b", "w1", store.PushFront, k.el("n", 1)), true)
		k.shows("it makes none", "b")
	}},
	{"PushStopsALoad", lists, func(k shape) {
		k.announce("a", "", "w1")
		k.granted("a", "t1")
		k.chunk("a", "t1", k.els("n")...)
		k.done("a", "w1", store.PushFront, k.el("n", 1))
		k.is("chunk", k.chunk("a", "t1", k.els("x")...), false)
		k.is("fill", k.swap("a", "t1"), false)
		k.granted("a", "t2")
	}},
	{"PushOverALoadIsUnsure", lists, func(k shape) {
		k.announce("a", "", "w1")
		k.cached("a", k.els("n", "x")...) // with what was pushed, or not: nobody knows
		k.applied("end", k.done("a", "w1", store.PushFront, k.el("n", 1)), false)
		k.shows("it drops", "a")
	}},
	{"OverlappingPushesAreUnsure", lists, func(k shape) {
		k.cached("a", k.els("x")...)
		k.announce("a", "", "w1")
		k.announce("a", "", "w2")
		k.applied("end of the first", k.done("a", "w1", store.PushFront, k.el("m", 1)), false)
		k.shows("it drops", "a")
		k.cached("a", k.els("m", "n", "x")...)
		k.applied("end of the second", k.done("a", "w2", store.PushFront, k.el("n", 1)), false)
		k.shows("it drops", "a")
	}},
	{"ListTakesNoWrite", lists, func(k shape) {
		k.cached("a", k.els("x")...)
		for _, op := range []store.Op{store.Add, store.Remove, store.PushFront, store.PushBack} {
			if o := k.Write(k.ctx, []store.Change{{Key: "a", Kind: k.kind, Op: op, Element: k.el("y", 1)}})[0]; o.Err == nil || o.OK {
				k.Errorf("write %c: %+v, want an error", op, o)
			}
		}
		k.shows("nothing has changed", "a", k.els("x")...)
	}},
})
