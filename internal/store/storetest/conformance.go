// Package storetest is what every store must pass: one conformance suite, and one randomized checker.
package storetest

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/store"
)

const long = time.Minute

// kit is a store under test, with the verbs for one key.
type kit struct {
	testing.TB
	store.Store
	ctx context.Context
}

func (k kit) acquire(key, token string, change ...func(*store.Claim)) store.Grant {
	k.Helper()
	c := store.Claim{Key: key, Token: token, Lease: long}
	for _, f := range change {
		f(&c)
	}
	g := k.Acquire(k.ctx, []store.Claim{c})[0]
	if g.Err != nil {
		k.Fatalf("acquire %q: %v", key, g.Err)
	}
	return g
}

func (k kit) one(verb string, out []store.Outcome) bool {
	k.Helper()
	if out[0].Err != nil {
		k.Fatalf("%s: %v", verb, out[0].Err)
	}
	return out[0].OK
}

func (k kit) fill(key, token, value string) bool {
	k.Helper()
	return k.one("fill", k.Fill(k.ctx, []store.Fill{{Key: key, Token: token, Value: []byte(value), TTL: long}}))
}

func (k kit) absent(key, token string, ttl time.Duration) bool {
	k.Helper()
	return k.one("fill", k.Fill(k.ctx, []store.Fill{{Key: key, Token: token, Absent: true, TTL: ttl}}))
}

func (k kit) release(key, token string) bool {
	k.Helper()
	return k.one("release", k.Release(k.ctx, []store.Lease{{Key: key, Token: token}}))
}

func (k kit) invalidate(key string, hold time.Duration) bool {
	k.Helper()
	return k.one("invalidate", k.Invalidate(k.ctx, []string{key}, hold))
}

func (k kit) put(key, value string, ttl time.Duration) {
	k.Helper()
	k.one("put", k.Put(k.ctx, []store.Put{{Key: key, Value: []byte(value), TTL: ttl}}, 0))
}

func (k kit) begin(key, token string, earlier ...string) {
	k.Helper()
	k.one("begin", k.Begin(k.ctx, []store.Intent{{Key: key, Token: token, Earlier: earlier, Life: long}}))
}

func (k kit) end(key, token, value string, earlier ...string) bool {
	k.Helper()
	return k.one("end", k.End(k.ctx, []store.End{{Key: key, Token: token, Earlier: earlier, Value: []byte(value), Put: value != "", TTL: long}}))
}

// holds checks the value of a key; "" stands for none.
func (k kit) holds(key, want string) {
	k.Helper()
	it := k.Get(k.ctx, key, false)
	if it.Err != nil {
		k.Fatalf("get %q: %v", key, it.Err)
	}
	if string(it.Value) != want || it.Found != (want != "") {
		k.Errorf("%q holds %q (found %v), want %q", key, it.Value, it.Found, want)
	}
}

func (k kit) state(what string, g store.Grant, want store.State) {
	k.Helper()
	if g.State != want {
		k.Errorf("%s: state %c, want %c", what, g.State, want)
	}
}

func (k kit) is(what string, got, want bool) {
	k.Helper()
	if got != want {
		k.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// eventually waits for what time brings.
func (k kit) eventually(what string, f func() bool) {
	k.Helper()
	for until := time.Now().Add(5 * time.Second); !f(); time.Sleep(2 * time.Millisecond) {
		if time.Now().After(until) {
			k.Fatalf("did not happen within 5 s: %s", what)
		}
	}
}

// Run checks every rule of package store. open returns an empty store.
func Run(t *testing.T, open func(testing.TB) store.Store) {
	for _, r := range rules {
		t.Run(r.name, func(t *testing.T) {
			s := open(t)
			defer s.Close()
			r.check(kit{t, s, t.Context()})
		})
	}
}

var rules = []struct {
	name  string
	check func(kit)
}{
	{"NothingIsThere", func(k kit) {
		k.holds("a", "")
		if i := k.Inspect(k.ctx, []string{"a"})[0]; i.Type != "none" || i.Err != nil {
			k.Errorf("inspect: %+v", i)
		}
		k.is("invalidate", k.invalidate("a", 0), false)
	}},
	{"PutGetInvalidate", func(k kit) {
		k.put("a", "1", long)
		it := k.Get(k.ctx, "a", true)
		if string(it.Value) != "1" || it.TTL <= long-5*time.Second || it.TTL > long {
			k.Errorf("got %+v", it)
		}
		i := k.Inspect(k.ctx, []string{"a"})[0]
		if i.Type != "string" || i.TTL <= long-5*time.Second || i.TTL > long {
			k.Errorf("inspect: %+v", i)
		}
		k.is("held a value", k.invalidate("a", 0), true)
		k.holds("a", "")
	}},
	{"EverythingExpires", func(k kit) {
		k.put("a", "1", 30*time.Millisecond)
		k.put("b", "1", 0) // at least a millisecond, never for ever
		k.eventually("the values are gone", func() bool {
			return !k.Get(k.ctx, "a", false).Found && !k.Get(k.ctx, "b", false).Found
		})
	}},
	{"EmptyValueIsAValue", func(k kit) {
		k.one("put", k.Put(k.ctx, []store.Put{{Key: "a", TTL: long}}, 0))
		if it := k.Get(k.ctx, "a", false); !it.Found || len(it.Value) != 0 {
			k.Errorf("got %+v", it)
		}
		if it := k.GetMany(k.ctx, []string{"a"}, false)[0]; !it.Found || len(it.Value) != 0 {
			k.Errorf("many: got %+v", it)
		}
	}},
	{"LargeValue", func(k kit) {
		v := strings.Repeat("x", 1<<20)
		k.put("a", v, long)
		k.holds("a", v)
	}},
	{"OddKeys", func(k kit) {
		for _, key := range []string{"", "a b", "{x}y", "a}b", "a{}b", "}{", "{", "a{b", "\x00\r\n\xff", strings.Repeat("k", store.MaxKey)} {
			k.state(key, k.acquire(key, "t1"), store.Granted)
			k.is(key, k.fill(key, "t1", "v"+key), true)
			k.holds(key, "v"+key)
			k.begin(key, "w1")
			k.is(key, k.end(key, "w1", "w"), true)
			k.is(key, k.invalidate(key, 0), true)
		}
	}},
	{"Batches", func(k kit) {
		k.put("b", "2", long)
		gs := k.Acquire(k.ctx, []store.Claim{{Key: "a", Token: "ta", Lease: long}, {Key: "b", Token: "tb", Lease: long}, {Key: "c", Token: "tc", Lease: long}})
		k.state("a", gs[0], store.Granted)
		k.state("b", gs[1], store.Hit)
		k.state("c", gs[2], store.Granted)
		out := k.Fill(k.ctx, []store.Fill{{Key: "a", Token: "ta", Value: []byte("1"), TTL: long}, {Key: "b", Token: "tb", Value: []byte("x"), TTL: long}, {Key: "c", Token: "tc", Absent: true, TTL: long}})
		if !out[0].OK || out[1].OK || !out[2].OK {
			k.Errorf("fill: %+v", out)
		}
		for _, ttl := range []bool{false, true} {
			its := k.GetMany(k.ctx, []string{"b", "c", "a", "b"}, ttl)
			if string(its[0].Value) != "2" || its[1].Found || string(its[2].Value) != "1" || string(its[3].Value) != "2" {
				k.Errorf("get many: %+v", its)
			}
			if ttl && (its[0].TTL <= 0 || its[0].TTL > long) {
				k.Errorf("TTL %v", its[0].TTL)
			}
		}
		out = k.Invalidate(k.ctx, []string{"a", "c", "b", "b"}, 0)
		if !out[0].OK || out[1].OK || !out[2].OK || out[3].OK {
			k.Errorf("invalidate: %+v", out)
		}
	}},

	{"LeaseIsGrantedOnce", func(k kit) {
		k.state("first", k.acquire("a", "t1"), store.Granted)
		g := k.acquire("a", "t2")
		k.state("second", g, store.Waiting)
		if g.Holder != "t1" || g.TTL <= 0 || g.TTL > long {
			k.Errorf("holder %q, TTL %v", g.Holder, g.TTL)
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
	{"LeaseExpires", func(k kit) {
		k.acquire("a", "t1", func(c *store.Claim) { c.Lease = 20 * time.Millisecond })
		k.eventually("the next one is granted", func() bool { return k.acquire("a", "t2").State == store.Granted })
		k.is("the old fill", k.fill("a", "t1", "old"), false)
		k.is("the new fill", k.fill("a", "t2", "new"), true)
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
		if g.TTL <= 0 || g.TTL > long {
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
		k.eventually("the next one is granted", func() bool { return k.acquire("a", "t2").State == store.Granted })
	}},
	{"AbsenceReplacesAStaleValue", func(k kit) {
		k.put("a", "old", long)
		k.state("refresh", k.acquire("a", "t1", stale), store.Refresh)
		k.is("fill", k.absent("a", "t1", long), true)
		k.holds("a", "")
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

	{"HoldForbidsFills", func(k kit) {
		k.put("a", "old", long)
		k.is("held a value", k.invalidate("a", 40*time.Millisecond), true)
		k.state("during it", k.acquire("a", "t1"), store.Barrier)
		k.is("fill", k.fill("a", "t1", "1"), false)
		k.eventually("the hold ends", func() bool { return k.acquire("a", "t1").State == store.Granted })
	}},
	{"HoldIsNeverShortened", func(k kit) {
		for name, shorten := range map[string]func(key string){
			"invalidate":         func(key string) { k.invalidate(key, 0) },
			"invalidate, less":   func(key string) { k.invalidate(key, 10*time.Millisecond) },
			"put":                func(key string) { k.put(key, "1", 10*time.Millisecond) },
			"end":                func(key string) { k.begin(key, "w1"); k.end(key, "w1", "") },
			"end, no such token": func(key string) { k.end(key, "w1", "") },
		} {
			k.invalidate(name, long)
			shorten(name)
			k.eventually("the value is gone", func() bool { return !k.Get(k.ctx, name, false).Found })
			if name == "end" {
				continue // an intent replaces the hold, and lasts no less: checked below
			}
			k.state(name, k.acquire(name, "t1"), store.Barrier)
		}
	}},
	{"EndSetsTheHold", func(k kit) {
		k.begin("a", "w1")
		k.one("end", k.End(k.ctx, []store.End{{Key: "a", Token: "w1", Hold: long}}))
		k.state("after it", k.acquire("a", "t1"), store.Barrier)
	}},

	{"CleanEndPuts", func(k kit) {
		k.put("a", "old", long)
		k.begin("a", "w1")
		k.holds("a", "")
		k.is("end", k.end("a", "w1", "new"), true)
		k.holds("a", "new")
		k.is("the end again", k.end("a", "w1", "new"), false)
		k.holds("a", "")
		k.state("at rest", k.acquire("a", "t1"), store.Granted)
	}},
	{"EndWithoutAValueDrops", func(k kit) {
		k.begin("a", "w1")
		k.is("end", k.end("a", "w1", ""), false)
		k.state("after it", k.acquire("a", "t1"), store.Granted)
	}},
	{"OverlappingWritersPutNothing", func(k kit) {
		for _, order := range [][]string{{"w1", "w2"}, {"w2", "w1"}} {
			k.begin("a", "w1")
			k.begin("a", "w2")
			for i, w := range order {
				k.is("end of "+w, k.end("a", w, "by "+w), false)
				k.holds("a", "")
				if i == 0 {
					k.state("one is left", k.acquire("a", "t1"), store.Barrier)
				}
			}
			k.state("none is left", k.acquire("a", "t1"), store.Granted)
			k.release("a", "t1")
		}
	}},
	{"WriterAfterAnEndIsStillDisturbed", func(k kit) {
		k.begin("a", "w1")
		k.begin("a", "w2")
		k.end("a", "w1", "1")
		k.begin("a", "w3")
		k.is("end of w2", k.end("a", "w2", "2"), false)
		k.is("end of w3", k.end("a", "w3", "3"), false)
		k.holds("a", "")
	}},
	{"InvalidationDisturbsAWriter", func(k kit) {
		k.begin("a", "w1")
		k.invalidate("a", 0)
		k.state("the intent stands", k.acquire("a", "t1"), store.Barrier)
		k.is("end", k.end("a", "w1", "1"), false)
		k.holds("a", "")
	}},
	{"PutDisturbsAWriter", func(k kit) {
		k.begin("a", "w1")
		k.put("a", "x", long)
		k.is("end", k.end("a", "w1", "1"), false)
		k.holds("a", "")
	}},
	{"BeginTwiceWithOneToken", func(k kit) {
		k.begin("a", "w1")
		k.begin("a", "w1")
		k.is("end", k.end("a", "w1", "1"), true)
	}},
	{"BeginSentAgainTakesTheEarlierOut", func(k kit) {
		k.begin("a", "w1")
		k.begin("a", "w2", "w1")
		k.is("end", k.end("a", "w2", "1", "w1"), true)
		k.holds("a", "1")
		k.state("nothing is left", k.acquire("a", "t1"), store.Hit)
		k.invalidate("a", 0)
		k.state("nothing is left", k.acquire("a", "t1"), store.Granted)
	}},
	{"BeginSentAgainBesideAnother", func(k kit) {
		k.begin("a", "w1")
		k.begin("a", "x1")
		k.begin("a", "w2", "w1")
		k.is("end", k.end("a", "w2", "1", "w1"), false)
		k.is("end of the other", k.end("a", "x1", "2"), false)
		k.state("nothing is left", k.acquire("a", "t1"), store.Granted)
	}},
	{"GhostOfABegin", func(k kit) {
		k.begin("a", "w2", "w1")
		k.begin("a", "w1") // a late copy
		k.is("end", k.end("a", "w2", "1", "w1"), false)
		k.state("it is taken out", k.acquire("a", "t1"), store.Granted)
	}},
	{"EndWithoutAnIntentDrops", func(k kit) {
		k.put("a", "old", long)
		k.is("end", k.end("a", "w1", "new"), false)
		k.holds("a", "")
	}},
	{"EndOfAnotherLeavesTheIntent", func(k kit) {
		k.begin("a", "w1")
		k.is("a stranger's end", k.end("a", "w9", "9"), false)
		k.state("the intent stands", k.acquire("a", "t1"), store.Barrier)
		k.is("its end", k.end("a", "w1", "1"), false)
	}},
	{"IntentExpires", func(k kit) {
		k.one("begin", k.Begin(k.ctx, []store.Intent{{Key: "a", Token: "w1", Life: 30 * time.Millisecond}}))
		k.state("during it", k.acquire("a", "t1"), store.Barrier)
		k.eventually("reads fill again", func() bool { return k.acquire("a", "t1").State == store.Granted })
		k.is("the late end", k.end("a", "w1", "1"), false)
		k.is("a fill granted before the late end", k.fill("a", "t1", "2"), false)
	}},

	{"DeadValueIsDeleted", func(k kit) {
		k.put("a", "hello", long)
		k.state("another value", k.acquire("a", "t1", dead("hallo")), store.Hit)
		k.state("the value", k.acquire("a", "t1", dead("hello")), store.Granted)
		k.holds("a", "")
		k.put("a", "1", long)
		k.state("a new value", k.acquire("a", "t1", dead("hello")), store.Hit)
	}},

	{"CancelledContext", func(k kit) {
		ctx, cancel := context.WithCancel(k.ctx)
		cancel()
		if err := k.Get(ctx, "a", false).Err; !errors.Is(err, context.Canceled) {
			k.Errorf("get: %v", err)
		}
	}},
	{"Usage", func(k kit) {
		before, err := k.Usage(k.ctx)
		k.put("a", strings.Repeat("x", 1000), long)
		after, err2 := k.Usage(k.ctx)
		if err != nil || err2 != nil || after.Keys != before.Keys+1 || after.Bytes <= 0 {
			k.Errorf("before %+v %v, after %+v %v", before, err, after, err2)
		}
	}},
	{"ValuesAreNotMixed", func(k kit) {
		k.put("a", "1", long)
		first := k.Get(k.ctx, "a", false).Value
		k.put("a", "2", long)
		if !bytes.Equal(first, []byte("1")) {
			k.Errorf("a value that was handed out became %q", first)
		}
	}},
	{"Closed", func(k kit) {
		k.Close()
		errs := []error{
			k.Get(k.ctx, "a", false).Err, k.GetMany(k.ctx, []string{"a"}, true)[0].Err, k.Inspect(k.ctx, []string{"a"})[0].Err,
			k.Acquire(k.ctx, []store.Claim{{Key: "a", Token: "t1", Lease: long}})[0].Err,
			k.Put(k.ctx, []store.Put{{Key: "a", TTL: long}}, 0)[0].Err, k.Ping(k.ctx),
		}
		for i, err := range errs {
			if !errors.Is(err, store.ErrClosed) {
				k.Errorf("call %d: %v", i, err)
			}
		}
	}},
}

func stale(c *store.Claim) { c.Stale = 2 * long }

func dead(value string) func(*store.Claim) {
	return func(c *store.Claim) { c.Dead = &store.Dead{Value: []byte(value)} }
}
