package storetest

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Sweep goes over all keys of a cache.
var sweepRules = []rule{
	{"SweepTakesValuesLeasesAndAbsences", func(k kit) {
		var keys []string
		for i := range 50 {
			// Every form of key: a plain one, one that chooses its slot, and braces that do not.
			keys = append(keys, fmt.Sprint("user:", i), fmt.Sprintf("user:{%d}", i), fmt.Sprintf("user:{%d}:x", i), fmt.Sprintf("user:}%d{", i))
		}
		for _, key := range keys {
			k.put(key+"v", "old", long)
			k.acquire(key+"l", "t1")
			k.acquire(key+"n", "t1")
			k.absent(key+"n", "t1", long)
		}
		k.sweep("user:*", nil)
		for _, key := range keys {
			k.holds(key+"v", "")
			k.is("fill of "+key, k.fill(key+"l", "t1", "old"), false)
			k.state("absence of "+key, k.acquire(key+"n", "t2"), store.Granted)
		}
	}},
	{"SweepLeavesOthers", func(k kit) {
		others := []string{"users:1", "xuser:1", "user", "user*:1", "{user:1", "~l:{1bz}:user:1", "order:user:1:~l"}
		for _, key := range others {
			k.put(key, "1", long)
			k.acquire(key+"l", "t1")
		}
		k.put("user:1", "1", long)
		k.put("user:1:cart", "1", long)
		k.acquire("user:2:cart", "t1")
		k.sweep("user:*", func(key string) bool { return strings.Count(key, ":") == 1 })
		for _, key := range others {
			k.holds(key, "1")
			k.is("fill of "+key, k.fill(key+"l", "t1", "1"), true)
		}
		k.holds("user:1:cart", "1")
		k.is("fill", k.fill("user:2:cart", "t1", "1"), true)
		k.holds("user:1", "")
	}},
	{"SweepTakesEscapesLiterally", func(k kit) {
		k.put("a*[?\\:1", "1", long)
		k.acquire("a*[?\\:2", "t1")
		k.put("ab[?\\:1", "1", long)
		k.put("a*b?\\:1", "1", long)
		k.sweep(`a\*\[\?\\:*`, nil)
		k.holds("a*[?\\:1", "")
		k.is("fill", k.fill("a*[?\\:2", "t1", "1"), false)
		k.holds("ab[?\\:1", "1")
		k.holds("a*b?\\:1", "1")
		if k.Sweep(k.ctx, "a[bc]*", nil) == nil {
			k.Error("a class of characters was taken")
		}
	}},
	{"SweepShortensNoBarrier", func(k kit) {
		k.invalidate("user:hold", long)
		k.begin("user:intent", "w1")
		k.sweep("user:*", nil)
		k.state("hold", k.acquire("user:hold", "t1"), store.Barrier)
		k.state("intent", k.acquire("user:intent", "t1"), store.Barrier)
		k.is("the intent is dirty: its end puts", k.end("user:intent", "w1", "1"), false)
		k.holds("user:intent", "")
	}},
	{"SweepIsToldToTrackers", func(k kit) { // also of keys that the store has no more
		var mu sync.Mutex
		dropped, lost := map[string]bool{}, false
		tr, err := k.Track(k.ctx, func(key string) { mu.Lock(); dropped[key] = true; mu.Unlock() }, func() { mu.Lock(); lost = true; mu.Unlock() })
		if err != nil {
			k.Fatal(err)
		}
		defer tr.Close()
		keys := []string{"user:1", "user:{2}:x", "user:3"}
		for _, key := range keys {
			k.put(key, "1", long)
		}
		for i, it := range tr.GetMany(k.ctx, keys, true) {
			k.is("found "+keys[i], it.Found, true)
		}
		mu.Lock()
		clear(dropped)
		lost = false
		mu.Unlock()
		k.sweep("user:*", nil)
		told := func() bool {
			mu.Lock()
			defer mu.Unlock()
			return lost || dropped[keys[0]] && dropped[keys[1]] && dropped[keys[2]]
		}
		for until := time.Now().Add(10 * time.Second); !told(); <-time.After(time.Millisecond) {
			if time.Now().After(until) {
				k.Fatalf("10 s after a sweep only %v are told of", dropped)
			}
		}
	}},
	{"SweepOfNothing", func(k kit) { k.sweep("user:*", nil) }},
	{"SweepEndsWithItsContext", func(k kit) {
		k.put("user:1", "1", long)
		ctx, cancel := context.WithCancel(k.ctx)
		cancel()
		if k.Sweep(ctx, "user:*", nil) == nil {
			k.Error("no error")
		}
	}},
	{"RecoveredMayBeNamedAtAnyTime", func(k kit) {
		k.Recovered(func(context.Context) int { return 0 })
		k.Recovered(nil)
		k.put("a", "1", time.Minute)
	}},
}

func (k kit) sweep(glob string, ours func(string) bool) {
	k.Helper()
	if err := k.Sweep(k.ctx, glob, ours); err != nil {
		k.Fatalf("sweep %q: %v", glob, err)
	}
}
