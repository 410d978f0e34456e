package storetest

import "github.com/nearside/nearside/internal/store"

// Writers of one member that overlap are told apart, or not. A set shows only whether a member is there, so what must win
// removes it, or the other way round.
var overlapRules = each([]shapeRule{
	{"WritersOfTwoMembersDoNotDisturb", byMember, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w1")
		k.announce("a", "y", "w2")
		k.applied("first", k.done("a", "w1", store.Add, k.el("x", 2)), true)
		k.applied("second", k.done("a", "w2", store.Remove, k.el("y", 0)), true)
		k.shows("after both", "a", k.el("x", 2))
	}},
	{"OverlapDrops", byMember, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w1")
		k.announce("a", "x", "w2")
		k.applied("first", k.done("a", "w1", store.Add, k.el("x", 2)), false)
		k.shows("it drops", "a")
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w3")
		k.applied("second", k.done("a", "w2", store.Add, k.el("x", 3)), false)
		k.shows("it drops", "a")
		k.cached("a", k.els("x", "y")...)
		k.applied("a third that began beside the second", k.done("a", "w3", store.Add, k.el("x", 4)), false)
		k.shows("it drops", "a")
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w4")
		k.applied("one alone again", k.done("a", "w4", store.Remove, k.el("x", 0)), true)
		k.shows("after it", "a", k.el("y", 1))
	}},
	{"OverlapIsReadAgain", byMember, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w1")
		k.announce("a", "x", "w2")
		low := k.numbered("first", "a", "w1", store.Add, k.el("x", 2))
		high := k.numbered("second", "a", "w2", store.Add, k.el("x", 3))
		if high <= low {
			k.Errorf("numbers %v and then %v", low, high)
		}
		k.shows("they change nothing", "a", k.els("x", "y")...)
		k.applied("the higher", k.done("a", "w2", store.Remove, k.el("x", 0), again, withVersion(high)), true)
		k.applied("the lower", k.done("a", "w1", store.Add, k.el("x", 2), again, withVersion(low)), true)
		k.shows("the higher wins", "a", k.el("y", 1))
		k.lives("its life is given back", "a", long/2, long)
	}},
	{"OverlapIsReadAgainInOrder", byMember, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		k.granted("load", "t1")
		for _, key := range []string{"a", "load"} {
			k.announce(key, "x", "w1")
			k.announce(key, "x", "w2")
			low := k.numbered("first", key, "w1", store.Add, k.el("x", 2))
			high := k.numbered("second", key, "w2", store.Add, k.el("x", 2))
			k.applied("the lower", k.done(key, "w1", store.Add, k.el("x", 2), again, withVersion(low)), true)
			k.applied("the higher", k.done(key, "w2", store.Remove, k.el("x", 0), again, withVersion(high)), true)
		}
		k.is("chunk", k.chunk("load", "t1", k.els("x", "y")...), true)
		k.is("fill", k.swap("load", "t1"), true)
		k.shows("the higher wins", "a", k.el("y", 1))
		k.shows("in a load too", "load", k.el("y", 1))
	}},
	{"DropMakesEarlierNumbersUseless", byMember, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w1")
		k.announce("a", "x", "w2")
		number := k.numbered("first", "a", "w1", store.Add, k.el("x", 2))
		k.applied("a drop", k.done("a", "w2", store.Drop, k.el("x", 0)), false)
		k.cached("a", k.el("y", 1)) // a later writer has removed it
		k.done("a", "w1", store.Add, k.el("x", 2), again, withVersion(number))
		if v := k.query(store.Query{Key: "a", Part: store.Pick, Names: []string{"x"}}); v.Found && v.Has[0] {
			k.Error("what was read before the drop is newer than what was loaded after it")
		}
	}},
	{"InvalidationTakesTheOrderAway", byMember, func(k shape) {
		for name, lose := range map[string]func(key string){
			"invalidate": func(key string) { k.invalidate(key, 0) },
			"sweep":      func(key string) { k.sweep(key+"*", nil) },
		} {
			for _, order := range []func(*store.MemberIntent){func(*store.MemberIntent) {}, versioned} {
				k.cached(name, k.els("x", "y")...)
				k.announce(name, "x", "w1", order)
				k.announce(name, "y", "w2", order)
				lose(name)
				k.cached(name, k.els("x", "y")...)
				number := k.numbered(name+", read again", name, "w1", store.Add, k.el("x", 2), withVersion(2))
				k.applied(name+", read again", k.done(name, "w1", store.Remove, k.el("x", 0), again, withVersion(number)), true)
				k.shows(name, name, k.el("y", 1))
				k.applied(name, k.done(name, "w2", store.Add, k.el("y", 2), withVersion(2)), false)
				k.shows(name+": it drops", name)
			}
		}
	}},
	{"DeadWriterTakesTheOrderAway", byMember, func(k shape) {
		for _, key := range []string{"end", "begin and end", "read again"} {
			k.announce(key, "x", "w1", versioned)
			k.announce(key, "x", "w2", versioned, lasting(short)) // its version is higher, and it dies behind its commit
		}
		k.pass(2 * short)
		k.announce("begin and end", "x", "w3", versioned)
		for _, key := range []string{"end", "begin and end"} {
			k.granted(key, "t1")
			k.applied(key, k.done(key, "w1", store.Add, k.el("x", 1), withVersion(1)), false)
			k.is("fill of what would lack the row of the dead", k.swap(key, "t1"), false)
			k.shows(key, key)
		}
		k.cached("read again", k.els("x", "y")...)
		number := k.numbered("read again", "read again", "w1", store.Add, k.el("x", 1), withVersion(1))
		k.applied("read again", k.done("read again", "w1", store.Remove, k.el("x", 0), again, withVersion(number)), true)
		k.shows("read again", "read again", k.el("y", 1))
	}},
	{"NumberFromBeforeAnInvalidationIsUseless", byMember, func(k shape) {
		k.announce("a", "x", "w1")
		k.announce("a", "x", "w2")
		number := k.numbered("before", "a", "w1", store.Add, k.el("x", 2))
		k.invalidate("a", 0)
		k.cached("a", k.els("y")...)
		later := k.numbered("after", "a", "w1", store.Add, k.el("x", 2), withVersion(number))
		if later <= number {
			k.Errorf("numbers %v and then %v", number, later)
		}
		k.shows("it changes nothing", "a", k.els("y")...)
	}},
	{"WriteTakesTheOrderOfItsMemberAway", byMember, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w1")
		k.announce("a", "y", "w2")
		k.write("a", store.Remove, k.el("x", 0))
		k.applied("another member", k.done("a", "w2", store.Add, k.el("y", 2)), true)
		k.shows("after it", "a", k.el("y", 2))
		k.applied("the member", k.done("a", "w1", store.Add, k.el("x", 2)), false)
		k.shows("it drops", "a")
	}},
	{"HigherVersionWins", byMember, func(k shape) {
		k.cached("a", k.els("x", "y")...)
		for _, w := range []string{"w1", "w2", "w3", "w4"} {
			k.announce("a", "x", w, versioned)
		}
		k.applied("7", k.done("a", "w1", store.Add, k.el("x", 7), withVersion(7)), true)
		k.applied("9", k.done("a", "w2", store.Remove, k.el("x", 0), withVersion(9)), true)
		k.applied("8", k.done("a", "w3", store.Add, k.el("x", 8), withVersion(8), again), true)
		k.applied("9 again", k.done("a", "w4", store.Add, k.el("x", 9), withVersion(9)), true)
		k.shows("9 has won", "a", k.el("y", 1))
		k.lives("its life is given back", "a", long/2, long)
	}},
	{"OrdersDoNotMix", byMember, func(k shape) {
		for _, orders := range [][]func(*store.MemberIntent){{versioned, func(*store.MemberIntent) {}}, {func(*store.MemberIntent) {}, versioned}} {
			k.cached("a", k.els("x")...)
			k.announce("a", "x", "w1", orders[0])
			k.announce("a", "x", "w2", orders[1])
			k.applied("first", k.done("a", "w1", store.Add, k.el("x", 2), withVersion(2)), false)
			k.shows("it drops", "a")
			k.cached("a", k.els("x")...)
			k.applied("second", k.done("a", "w2", store.Add, k.el("x", 3), withVersion(3)), false)
			k.shows("it drops", "a")
		}
	}},
	{"VersionIsNoNumber", byMember, func(k shape) {
		// w1 lost its order and reads the row again. Then w3 commits, with a version that says nothing beside the number of w1.
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w1", versioned)
		k.invalidate("a", 0)
		k.cached("a", k.els("x", "y")...)
		number := k.numbered("w1", "a", "w1", store.Add, k.el("x", 2), withVersion(2))
		k.announce("a", "x", "w3", versioned)
		k.applied("w1, read again", k.done("a", "w1", store.Add, k.el("x", 2), again, withVersion(number)), true)
		number = k.numbered("w3", "a", "w3", store.Remove, k.el("x", 0), withVersion(3))
		k.applied("w3, read again", k.done("a", "w3", store.Remove, k.el("x", 0), again, withVersion(number)), true)
		k.shows("w3 was the last", "a", k.el("y", 1))
	}},
	{"NumberIsNewerThanAnyVersion", byMember, func(k shape) {
		// w1 lost its order to a write. w2 brings a version that is higher than any number, such as a time in nanoseconds.
		k.cached("a", k.els("x", "y")...)
		k.announce("a", "x", "w1", versioned)
		k.write("a", store.Add, k.el("x", 2))
		k.announce("a", "x", "w2", versioned)
		k.announce("a", "x", "w3", versioned)
		k.applied("w2", k.done("a", "w2", store.Add, k.el("x", 3), withVersion(4e18)), true)
		number := k.numbered("w1", "a", "w1", store.Add, k.el("x", 4), withVersion(5e18))
		k.applied("w1, read again", k.done("a", "w1", store.Remove, k.el("x", 0), again, withVersion(number)), true)
		k.shows("w1 was the last", "a", k.el("y", 1))
	}},
	{"NumberIsNewerThanAnyVersionBeforeADrop", byMember, func(k shape) {
		// w1 brings a version that is higher than any number, w3 does not know what it did, and a load brings what w1 wrote.
		k.cached("a", k.els("x", "y")...)
		for _, w := range []string{"w1", "w2", "w3"} {
			k.announce("a", "x", w, versioned)
		}
		k.applied("w1", k.done("a", "w1", store.Add, k.el("x", 3), withVersion(4e18)), true)
		k.applied("w3", k.done("a", "w3", store.Drop, k.el("x", 0), withVersion(5e18)), false)
		k.cached("a", k.el("x", 3), k.el("y", 1))
		number := k.numbered("w2", "a", "w2", store.Add, k.el("x", 4), withVersion(6e18))
		k.applied("w2, read again", k.done("a", "w2", store.Remove, k.el("x", 0), again, withVersion(number)), true)
		k.shows("w2 was the last", "a", k.el("y", 1))
	}},
})
