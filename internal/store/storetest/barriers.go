package storetest

import (
	"fmt"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
)

// While writers write nothing is filled: holds and intents.
var barrierRules = []rule{
	{"HoldForbidsFills", func(k kit) {
		k.put("a", "old", long)
		k.is("held a value", k.invalidate("a", 40*time.Millisecond), true)
		k.state("during it", k.acquire("a", "t1"), store.Barrier)
		k.is("fill", k.fill("a", "t1", "1"), false)
		eventually.True(k, "the hold ends", func() bool { return k.acquire("a", "t1").State == store.Granted })
	}},
	{"EveryHoldForbidsFills", func(k kit) {
		k.Put(k.ctx, []store.Put{{Key: "put", Value: []byte("1"), TTL: long}}, long)
		k.holds("put", "1")
		k.invalidate("invalidate", long)
		k.one("end", k.End(k.ctx, []store.End{{Key: "end", Token: "w1", Hold: long}}))
		k.begin("clean", "w1")
		end := store.End{Key: "clean", Token: "w1", Put: true, Value: []byte("1"), TTL: long, Hold: long}
		k.is("end", k.one("end", k.End(k.ctx, []store.End{end})), true)
		k.holds("clean", "1")
		for _, key := range []string{"put", "invalidate", "end", "clean"} {
			k.state(key, k.acquire(key, "t1", dead("1")), store.Barrier)
		}
	}},
	{"HoldEndsTheLeaseAndTheAbsence", func(k kit) {
		k.acquire("a", "t1")
		k.invalidate("a", long)
		k.is("fill", k.fill("a", "t1", "1"), false)
		k.is("release", k.release("a", "t1"), false)
		k.acquire("b", "t1")
		k.absent("b", "t1", long)
		k.invalidate("b", long)
		k.state("the absence", k.acquire("b", "t2"), store.Barrier)
	}},
	{"HoldIsNeverShortened", func(k kit) {
		const short = 15 * time.Millisecond
		shorten := map[string]func(key string){
			"invalidate":       func(key string) { k.invalidate(key, 0) },
			"invalidate, less": func(key string) { k.invalidate(key, short) },
			"put":              func(key string) { k.put(key, "1", short) },
			"put, less": func(key string) {
				k.one("put", k.Put(k.ctx, []store.Put{{Key: key, TTL: short}}, short))
			},
			"end": func(key string) { k.end(key, "w1", "") },
			"end, less": func(key string) {
				k.one("end", k.End(k.ctx, []store.End{{Key: key, Token: "w1", Hold: short}}))
			},
			"begin": func(key string) {
				k.one("begin", k.Begin(k.ctx, []store.Intent{{Key: key, Token: "w1", Life: short}}))
			},
		}
		for name, f := range shorten {
			k.invalidate(name, long)
			f(name)
		}
		k.pass(2 * short)
		for name := range shorten {
			k.state(name, k.acquire(name, "t1"), store.Barrier)
		}
	}},
	{"HoldIsLengthened", func(k kit) {
		const short = 15 * time.Millisecond
		k.invalidate("hold", short)
		k.invalidate("hold", long)
		k.one("begin", k.Begin(k.ctx, []store.Intent{{Key: "intent", Token: "w1", Life: short}}))
		k.invalidate("intent", long)
		k.pass(2 * short)
		for _, key := range []string{"hold", "intent"} {
			k.state(key, k.acquire(key, "t1"), store.Barrier)
		}
	}},
	{"HoldLeavesTheIntentClean", func(k kit) {
		k.invalidate("a", long)
		k.begin("a", "w1")
		k.is("end", k.end("a", "w1", "1"), true)
		k.holds("a", "1")
	}},
	{"BarrierForbidsRefreshes", func(k kit) {
		k.Put(k.ctx, []store.Put{{Key: "hold", Value: []byte("1"), TTL: long}}, long)
		k.begin("intent", "w1")
		k.put("intent", "1", long)
		for _, key := range []string{"hold", "intent"} {
			k.state(key+": fresh", k.acquire(key, "t1"), store.Hit)
			k.state(key+": stale", k.acquire(key, "t1", stale), store.Stale)
			k.is(key+": fill", k.fill(key, "t1", "2"), false)
		}
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
		for i, order := range [][]string{
			{"w1", "w2", "w3"}, {"w1", "w3", "w2"}, {"w2", "w1", "w3"}, {"w2", "w3", "w1"}, {"w3", "w1", "w2"}, {"w3", "w2", "w1"},
		} {
			for n := 2; n <= 3; n++ {
				key := fmt.Sprintf("%d writers, order %d", n, i)
				for _, w := range []string{"w1", "w2", "w3"}[:n] {
					k.begin(key, w)
				}
				for _, w := range order {
					if n == 2 && w == "w3" {
						continue
					}
					k.state(key+" before the end of "+w, k.acquire(key, "t1"), store.Barrier)
					k.is(key+" end of "+w, k.end(key, w, "by "+w), false)
					k.holds(key, "")
				}
				k.state(key+" at rest", k.acquire(key, "t1"), store.Granted)
			}
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
	{"DisturbedWritersPutNothing", func(k kit) {
		for name, disturb := range map[string]func(key string){
			"invalidate":       func(key string) { k.invalidate(key, 0) },
			"invalidate, hold": func(key string) { k.invalidate(key, time.Millisecond) },
			"put":              func(key string) { k.put(key, "x", long) },
			"begin and end":    func(key string) { k.begin(key, "w2"); k.end(key, "w2", "2") },
			"an end alone":     func(key string) { k.end(key, "w2", "2") },
			"an end without":   func(key string) { k.end(key, "w2", "") },
		} {
			k.begin(name, "w1")
			disturb(name)
			k.state(name+": the intent stands", k.acquire(name, "t1", dead("x")), store.Barrier)
			k.is(name+": end", k.end(name, "w1", "1"), false)
			k.holds(name, "")
			k.state(name+": at rest", k.acquire(name, "t1"), store.Granted)
		}
	}},
	{"ReadersDoNotDisturbAWriter", func(k kit) {
		k.acquire("a", "t1")
		k.begin("a", "w1")
		k.acquire("a", "t2")
		k.fill("a", "t1", "old")
		k.absent("a", "t1", long)
		k.release("a", "t1")
		k.Inspect(k.ctx, []string{"a"})
		k.is("end", k.end("a", "w1", "1"), true)
		k.holds("a", "1")
	}},
	{"BeginTwiceWithOneToken", func(k kit) {
		k.begin("clean", "w1")
		k.begin("clean", "w1")
		k.is("end", k.end("clean", "w1", "1"), true)
		k.state("nothing is left", k.acquire("clean", "t1", dead("1")), store.Granted)

		k.begin("disturbed", "w1")
		k.invalidate("disturbed", 0)
		k.begin("disturbed", "w1")
		k.is("end", k.end("disturbed", "w1", "1"), false)

		k.begin("beside another", "w1")
		k.begin("beside another", "w2")
		k.begin("beside another", "w1")
		k.end("beside another", "w1", "1")
		k.end("beside another", "w2", "2")
		k.state("nothing is left", k.acquire("beside another", "t1"), store.Granted)
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
	{"BeginSentAgainIsCleanAfterADisturbance", func(k kit) {
		k.begin("a", "w1")
		k.invalidate("a", 0) // before the write: it cannot be newer
		k.begin("a", "w2", "w1")
		k.is("end", k.end("a", "w2", "1", "w1"), true)
		k.begin("b", "w1")
		k.begin("b", "w2", "w1")
		k.begin("b", "w3", "w1", "w2")
		k.is("the third sending", k.end("b", "w3", "1", "w1", "w2"), true)
	}},
	{"BeginNamesWhatNeverStood", func(k kit) {
		k.begin("a", "w2", "w1")
		k.is("end", k.end("a", "w2", "1", "w1"), true)
		k.holds("a", "1")
	}},
	{"GhostOfABegin", func(k kit) {
		k.begin("a", "w2", "w1")
		k.begin("a", "w1") // a late copy
		k.is("end", k.end("a", "w2", "1", "w1"), false)
		k.state("it is taken out", k.acquire("a", "t1"), store.Granted)
	}},
	{"GhostOfABeginAfterItsEnd", func(k kit) {
		k.begin("a", "w1")
		k.is("end", k.end("a", "w1", "1"), true)
		k.begin("a", "w1")
		k.holds("a", "")
		k.state("it forbids fills", k.acquire("a", "t1"), store.Barrier)
		k.begin("a", "w2")
		k.is("the next writer stands beside it", k.end("a", "w2", "2"), false)
		k.is("its end is late too", k.end("a", "w1", "1"), false)
		k.state("at rest", k.acquire("a", "t1"), store.Granted)
	}},
	{"EndTakesTheEarlierOut", func(k kit) {
		k.begin("a", "w1")
		k.is("only an earlier one stands", k.end("a", "w2", "1", "w1"), false)
		k.state("nothing is left", k.acquire("a", "t1"), store.Granted)
		k.begin("b", "w1")
		k.begin("b", "w2") // late copies of two earlier sendings
		k.begin("b", "w3")
		k.is("end", k.end("b", "w3", "1", "w1", "w2"), false)
		k.state("nothing is left", k.acquire("b", "t1"), store.Granted)
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
		eventually.True(k, "reads fill again", func() bool { return k.acquire("a", "t1").State == store.Granted })
		k.is("the late end", k.end("a", "w1", "1"), false)
		k.is("a fill granted before the late end", k.fill("a", "t1", "2"), false)
	}},
	{"IntentIsNotShortenedByAnother", func(k kit) {
		const short = 15 * time.Millisecond
		k.begin("a", "w1")
		k.one("begin", k.Begin(k.ctx, []store.Intent{{Key: "a", Token: "w2", Life: short}}))
		k.begin("b", "w1")
		k.one("begin", k.Begin(k.ctx, []store.Intent{{Key: "b", Token: "w2", Life: short}}))
		k.end("b", "w2", "")
		k.pass(2 * short)
		k.state("both stand", k.acquire("a", "t1"), store.Barrier)
		k.state("the first stands", k.acquire("b", "t1"), store.Barrier)
	}},
}
