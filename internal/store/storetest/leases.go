package storetest

import (
	"bytes"
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
)

// One loads for everybody: leases, absences, the stale window, dead values.
var leaseRules = []rule{
	{"LeaseIsGrantedOnce", func(k kit) {
		k.state("first", k.acquire("a", "t1"), store.Granted)
		g := k.acquire("a", "t2")
		k.state("second", g, store.Waiting)
		if g.Holder != "t1" {
			k.Errorf("holder %q", g.Holder)
		}
		k.state("first again", k.acquire("a", "t1"), store.Granted)
	}},
	{"FillNeedsTheToken", func(k kit) {
		k.is("without a lease", k.fill("a", "t1", "1"), false)
		k.acquire("a", "t1")
		k.is("with another token", k.fill("a", "t2", "1"), false)
		k.is("with the token", k.fill("a", "t1", "1"), true)
		k.is("twice", k.fill("a", "t1", "2"), false)
		k.holds("a", "1")
		k.state("after it", k.acquire("a", "t2"), store.Hit)
	}},
	{"FilledTwiceByOneToken", func(k kit) {
		k.acquire("a", "t1")
		k.is("an absence", k.absent("a", "t1", long), true)
		k.is("a value after it", k.fill("a", "t1", "1"), false)
		k.state("after both", k.acquire("a", "t2"), store.Absent)
	}},
	{"BatchesAreManySingles", func(k kit) { // the keys of one slot may go in one command, and those of others not
		own, one := func(i int) string { return fmt.Sprintf("t%d", i) }, func(int) string { return "t" }
		for _, names := range []struct{ key, token func(i int) string }{
			{func(i int) string { return fmt.Sprintf("{slot}%d", i) }, own}, {func(i int) string { return fmt.Sprintf("slots%d", i) }, own},
			{func(i int) string { return fmt.Sprintf("{token}%d", i) }, one}, {func(i int) string { return fmt.Sprintf("tokens%d", i) }, one},
		} {
			const n = 300 // of one slot: several commands
			key, token := names.key, names.token
			large := bytes.Repeat([]byte("v"), 100<<10) // several commands of few keys
			var claims []store.Claim
			var fills []store.Fill
			for i := range n {
				switch i % 6 {
				case 1:
					k.put(key(i), "there", long)
				case 2:
					k.acquire(key(i), "other")
				case 3:
					k.acquire(key(i), "other")
					k.absent(key(i), "other", long)
				case 4:
					k.invalidate(key(i), long)
				case 5:
					k.acquire(key(i), token(i))
				}
				claims = append(claims, store.Claim{Key: key(i), Token: token(i), Lease: long, TTL: k.ttl})
				f := store.Fill{Key: key(i), Token: token(i), Value: fmt.Append(nil, i), TTL: long}
				switch {
				case i%60 == 0:
					f.Value = large
				case i%12 == 0:
					f.Value, f.Absent = nil, true
				}
				fills = append(fills, f)
			}
			for i, g := range k.Acquire(k.ctx, claims) {
				want := []store.State{store.Granted, store.Hit, store.Waiting, store.Absent, store.Barrier, store.Granted}[i%6]
				if g.Err != nil || g.State != want || want == store.Hit && string(g.Value) != "there" || want == store.Waiting && g.Holder != "other" {
					k.Errorf("claim of %s: %+v, want %c", key(i), g, want)
				}
			}
			for i := 5; i < n; i += 12 { // of some somebody has taken the lease
				k.invalidate(key(i), 0)
			}
			filled := k.Fill(k.ctx, fills)
			for i, it := range k.GetMany(k.ctx, keysOf(fills), false) {
				stands := i%6 == 0 || i%12 == 11
				want := ""
				switch {
				case i%6 == 1:
					want = "there"
				case stands && !fills[i].Absent:
					want = string(fills[i].Value)
				}
				if o := filled[i]; o.Err != nil || o.OK != stands {
					k.Errorf("fill of %s: %+v, want %v", key(i), o, stands)
				}
				if string(it.Value) != want {
					k.Errorf("%s holds %.20q, want %.20q", key(i), it.Value, want)
				}
				if stands && fills[i].Absent {
					k.state("an absence of a batch", k.acquire(key(i), "next"), store.Absent)
				}
			}
			k.state("behind a fill", k.acquire(key(6), "next"), store.Hit)
			k.state("a hold", k.acquire(key(4), "next"), store.Barrier)
			k.is("a lease of somebody else", k.fill(key(2), "other", "1"), true)
		}
	}},
	{"FillExpires", func(k kit) {
		k.acquire("a", "t1")
		k.one("fill", k.Fill(k.ctx, []store.Fill{{Key: "a", Token: "t1", Value: []byte("1"), TTL: 20 * time.Millisecond}}))
		eventually.True(k, "the value is gone", func() bool { return !k.Get(k.ctx, "a", false).Found })
	}},
	{"InvalidationEndsTheLease", func(k kit) {
		k.acquire("a", "t1")
		k.invalidate("a", 0)
		k.is("fill", k.fill("a", "t1", "old"), false)
		k.is("release", k.release("a", "t1"), false)
		k.holds("a", "")
		k.state("the next one", k.acquire("a", "t2"), store.Granted)
	}},
	{"PutEndsTheLease", func(k kit) {
		k.acquire("a", "t1")
		k.put("a", "new", long)
		k.is("fill", k.fill("a", "t1", "old"), false)
		k.holds("a", "new")
	}},
	{"BeginEndsTheLease", func(k kit) {
		k.acquire("a", "t1")
		k.begin("a", "w1")
		k.is("fill", k.fill("a", "t1", "old"), false)
		k.is("fill an absence", k.absent("a", "t1", long), false)
		k.state("meanwhile", k.acquire("a", "t2"), store.Barrier)
	}},
	{"EndWithoutAnIntentEndsTheLease", func(k kit) {
		k.acquire("a", "t1")
		k.end("a", "w1", "")
		k.is("fill", k.fill("a", "t1", "old"), false)
		k.acquire("a", "t2")
		k.is("remember an absence", k.absent("a", "t2", long), true)
		k.end("a", "w1", "")
		k.state("the absence is ended too", k.acquire("a", "t3"), store.Granted)
	}},
	{"TheNextLeaseRejectsTheLast", func(k kit) {
		k.acquire("a", "t1")
		k.invalidate("a", 0)
		k.state("the next", k.acquire("a", "t2"), store.Granted)
		k.is("fill of the last", k.fill("a", "t1", "old"), false)
		k.is("release of the last", k.release("a", "t1"), false)
		k.is("fill of the next", k.fill("a", "t2", "new"), true)
		k.holds("a", "new")
	}},
	{"LeaseExpires", func(k kit) {
		k.acquire("a", "t1", func(c *store.Claim) { c.Lease = 20 * time.Millisecond })
		eventually.True(k, "the next one is granted", func() bool { return k.acquire("a", "t2").State == store.Granted })
		k.is("the old fill", k.fill("a", "t1", "old"), false)
		k.is("the new fill", k.fill("a", "t2", "new"), true)
	}},
	{"RenewalProlongsALease", func(k kit) {
		const short = 500 * time.Millisecond // longer than a machine stalls
		k.acquire("a", "t1", life(short))
		k.is("renewal", k.renew("a", "t1", long), true)
		k.pass(short)
		k.state("another one", k.acquire("a", "t2"), store.Waiting)
		k.is("its fill", k.fill("a", "t1", "1"), true)
		k.is("a renewal behind it", k.renew("a", "t1", long), false)
		k.holds("a", "1")
	}},
	{"RenewalEnds", func(k kit) {
		k.acquire("a", "t1")
		k.is("renewal", k.renew("a", "t1", 20*time.Millisecond), true)
		eventually.True(k, "the next one is granted", func() bool { return k.acquire("a", "t2").State == store.Granted })
		k.is("a late renewal", k.renew("a", "t1", long), false)
		k.is("the old fill", k.fill("a", "t1", "old"), false)
		k.is("the new fill", k.fill("a", "t2", "new"), true)
	}},
	{"RenewalNeedsTheToken", func(k kit) {
		k.is("of nothing", k.renew("a", "t1", long), false)
		k.state("nothing is left", k.acquire("a", "t2"), store.Granted)
		k.is("of another's lease", k.renew("a", "t1", long), false)
		k.is("the lease is the other's", k.fill("a", "t2", "1"), true)
	}},
	{"RenewalBringsNothingBack", func(k kit) {
		for what, end := range map[string]struct {
			do   func(key string)
			next store.State
		}{
			"an invalidation":        {func(key string) { k.invalidate(key, 0) }, store.Granted},
			"an invalidation, held":  {func(key string) { k.invalidate(key, long) }, store.Barrier},
			"a write that began":     {func(key string) { k.begin(key, "w1") }, store.Barrier},
			"a write that ended":     {func(key string) { k.begin(key, "w1"); k.end(key, "w1", "") }, store.Granted},
			"an absence":             {func(key string) { k.absent(key, "t1", long) }, store.Absent},
			"a put":                  {func(key string) { k.put(key, "1", long) }, store.Hit},
			"a release":              {func(key string) { k.release(key, "t1") }, store.Granted},
			"a sweep":                {func(key string) { k.swept(key) }, store.Granted},
			"a lease of another one": {func(key string) { k.invalidate(key, 0); k.acquire(key, "t2") }, store.Waiting},
		} {
			k.acquire(what, "t1")
			end.do(what)
			k.is("renewal after "+what, k.renew(what, "t1", long), false)
			k.is("fill after "+what, k.fill(what, "t1", "old"), false)
			k.state("the next one after "+what, k.acquire(what, "t3"), end.next)
		}
	}},
	{"RenewalOfMany", func(k kit) { // more than one command takes, of several slots, some of which are gone
		const n = 300
		for _, key := range []func(int) string{func(i int) string { return fmt.Sprintf("{slot}%d", i) }, func(i int) string { return fmt.Sprintf("slots%d", i) }} {
			var leases []store.Lease
			for i := range n {
				token := fmt.Sprintf("t%d", i%7)
				k.acquire(key(i), token, life(long/2))
				leases = append(leases, store.Lease{Key: key(i), Token: token})
				if i%3 == 0 {
					k.invalidate(key(i), 0)
				}
			}
			for i, o := range k.Renew(k.ctx, leases, 20*time.Millisecond) {
				if o.Err != nil || o.OK != (i%3 != 0) {
					k.Errorf("%s: %+v", key(i), o)
				}
			}
			for i := range n {
				eventually.True(k, "it has the new end", func() bool { return k.acquire(key(i), "next").State == store.Granted })
			}
		}
	}},
	{"RenewalOfACollection", func(k kit) {
		const short = 500 * time.Millisecond
		kinds := []store.Kind{store.List, store.Set, store.SortedSet, store.Hash}
		claim := func(kind store.Kind, token string) store.Grant {
			return k.acquire(string(kind), token, life(short), func(c *store.Claim) { c.Kind = kind })
		}
		renew := func(kind store.Kind, token string) bool {
			return k.one("renew", k.Renew(k.ctx, []store.Lease{{Key: string(kind), Token: token, Kind: kind}}, long))
		}
		for _, kind := range kinds {
			k.state("claim", claim(kind, "t1"), store.Granted)
			k.is("renewal", renew(kind, "t1"), true)
			k.is("another's renewal", renew(kind, "t2"), false)
		}
		k.pass(short)
		for _, kind := range kinds {
			c := store.Chunk{Key: string(kind), Kind: kind, Token: "t1", Elements: []store.Element{{Member: "m", Value: "v"}}}
			k.is("chunk", k.one("chunk", []store.Outcome{k.Chunk(k.ctx, c)}), true)
			k.is("fill", k.one("fill", k.Fill(k.ctx, []store.Fill{{Key: c.Key, Kind: kind, Token: "t1", TTL: long}})), true)
			k.is("renewal behind it", renew(kind, "t1"), false)
			k.invalidate(c.Key, 0)
			k.state("claim", claim(kind, "t1"), store.Granted)
			k.invalidate(c.Key, 0)
			k.is("renewal behind an invalidation", renew(kind, "t1"), false)
			k.state("the next one", claim(kind, "t2"), store.Granted)
		}
	}},
	{"LeaseThatIsTooLongIsCut", func(k kit) {
		again := func(c *store.Claim) { c.Again = true }
		k.acquire("a", "t1")
		k.state("it is found", k.acquire("a", "t2"), store.Waiting)
		k.state("it is waited for", k.acquire("a", "t2", again, life(20*time.Millisecond)), store.Waiting)
		eventually.True(k, "it ends", func() bool { return k.acquire("a", "t2", again, life(20*time.Millisecond)).State == store.Granted })
		const short = 500 * time.Millisecond
		k.acquire("b", "t1")
		k.state("cut", k.acquire("b", "t2", again, life(short)), store.Waiting)
		k.is("a holder that lives", k.renew("b", "t1", long), true)
		k.pass(short)
		k.is("its fill", k.fill("b", "t1", "1"), true)
	}},
	{"Release", func(k kit) {
		k.acquire("a", "t1")
		k.is("another token", k.release("a", "t2"), false)
		k.is("the token", k.release("a", "t1"), true)
		k.is("twice", k.release("a", "t1"), false)
		k.state("after it", k.acquire("a", "t2"), store.Granted)
	}},
	{"AbsenceIsRemembered", func(k kit) {
		k.acquire("a", "t1")
		k.is("fill", k.absent("a", "t1", long), true)
		g := k.acquire("a", "t2")
		k.state("after it", g, store.Absent)
		if k.ttl && (g.TTL <= 0 || g.TTL > long) {
			k.Errorf("TTL %v", g.TTL)
		}
		k.holds("a", "")
		k.is("held a value", k.invalidate("a", 0), false)
		k.state("after an invalidation", k.acquire("a", "t2"), store.Granted)
	}},
	{"AbsenceEndsWithAPut", func(k kit) {
		k.acquire("a", "t1")
		k.absent("a", "t1", long)
		k.put("a", "1", long)
		k.state("after a put", k.acquire("a", "t2"), store.Hit)
		k.invalidate("a", 0)
		k.state("and an invalidation", k.acquire("a", "t3"), store.Granted)
	}},
	{"AbsenceEndsWithABegin", func(k kit) {
		k.acquire("a", "t1")
		k.absent("a", "t1", long)
		k.begin("a", "w1")
		k.is("end", k.end("a", "w1", "1"), true)
		k.holds("a", "1")
	}},
	{"AbsenceExpires", func(k kit) {
		k.acquire("a", "t1")
		k.absent("a", "t1", 20*time.Millisecond)
		eventually.True(k, "the next one is granted", func() bool { return k.acquire("a", "t2").State == store.Granted })
	}},
	{"AbsenceReplacesAStaleValue", func(k kit) {
		k.put("a", "old", long)
		k.state("refresh", k.acquire("a", "t1", stale), store.Refresh)
		k.is("fill", k.absent("a", "t1", long), true)
		k.holds("a", "")
	}},
	{"AbsenceDoesNotSurviveTheRefreshOfALaterValue", func(k kit) {
		k.acquire("a", "t1")
		k.absent("a", "t1", long)
		k.put("a", "1", long)
		k.state("refresh", k.acquire("a", "t2", stale), store.Refresh)
		k.is("fill", k.fill("a", "t2", "2"), true)
		k.invalidate("a", 0)
		k.state("nothing is left", k.acquire("a", "t3"), store.Granted)
	}},
	{"StaleIsRefreshedByOne", func(k kit) {
		k.put("a", "old", long)
		k.state("no stale window", k.acquire("a", "t0"), store.Hit)
		k.state("still fresh", k.acquire("a", "t0", func(c *store.Claim) { c.Stale = time.Second }), store.Hit)
		g := k.acquire("a", "t1", stale)
		k.state("the first", g, store.Refresh)
		if string(g.Value) != "old" || g.TTL <= 0 {
			k.Errorf("got %+v", g)
		}
		k.state("the second", k.acquire("a", "t2", stale), store.Stale)
		k.state("the first again", k.acquire("a", "t1", stale), store.Refresh)
		k.holds("a", "old")
		k.is("fill", k.fill("a", "t1", "new"), true)
		k.holds("a", "new")
	}},
	{"StaleIsNotRefreshedAfterAnInvalidation", func(k kit) {
		k.put("a", "old", long)
		k.acquire("a", "t1", stale)
		k.invalidate("a", 0)
		k.is("fill", k.fill("a", "t1", "old"), false)
		k.holds("a", "")
	}},
	{"PutEndsARefresh", func(k kit) {
		k.put("a", "old", long)
		k.acquire("a", "t1", stale)
		k.put("a", "new", long)
		k.is("fill", k.fill("a", "t1", "old"), false)
		k.is("fill an absence", k.absent("a", "t1", long), false)
		k.holds("a", "new")
	}},
	{"RefreshReleasedOrExpiredIsGrantedAgain", func(k kit) {
		k.put("a", "old", long)
		k.acquire("a", "t1", stale)
		k.is("release", k.release("a", "t1"), true)
		k.holds("a", "old")
		k.state("after the release", k.acquire("a", "t2", stale, life(20*time.Millisecond)), store.Refresh)
		eventually.True(k, "the lease ends", func() bool { return k.acquire("a", "t3", stale).State == store.Refresh })
		k.is("the old fill", k.fill("a", "t2", "2"), false)
		k.holds("a", "old")
	}},
	{"DeadValueIsDeleted", func(k kit) {
		k.put("a", "hello", long)
		k.state("another value", k.acquire("a", "t1", dead("hallo")), store.Hit)
		k.state("the value", k.acquire("a", "t1", dead("hello")), store.Granted)
		k.holds("a", "")
		k.put("a", "1", long)
		k.state("a new value", k.acquire("a", "t1", dead("hello")), store.Hit)
	}},
	{"DeadIsJudgedByBytes", func(k kit) {
		ofType := func(c *store.Claim) { c.Dead = &store.Dead{Type: "list"} }
		k.put("a", "list", long)
		k.state("dead of another type", k.acquire("a", "t1", ofType), store.Hit)
		k.state("dead is empty, the value is not", k.acquire("a", "t1", dead("")), store.Hit)
		k.state("a prefix", k.acquire("a", "t1", dead("lis")), store.Hit)
		k.put("a", "", long)
		k.state("both are empty", k.acquire("a", "t1", dead("")), store.Granted)
		k.state("nothing to be dead", k.acquire("b", "t1", dead("x")), store.Granted)
	}},
	{"DeadValueDoesNotLiftWhatGoesOn", func(k kit) {
		k.put("lease", "dead", long)
		k.acquire("lease", "t1", stale)
		k.state("a lease", k.acquire("lease", "t2", dead("dead")), store.Waiting)
		k.is("its fill", k.fill("lease", "t1", "1"), true)
		k.begin("intent", "w1")
		k.put("intent", "dead", long)
		k.state("an intent", k.acquire("intent", "t1", dead("dead")), store.Barrier)
		k.holds("intent", "")
	}},
}

func keysOf(fills []store.Fill) []string {
	keys := make([]string, len(fills))
	for i, f := range fills {
		keys[i] = f.Key
	}
	return keys
}
