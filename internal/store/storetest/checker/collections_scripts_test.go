package checker_test

import (
	"testing"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/storetest/checker"
	"github.com/nearside/nearside/internal/testhooks"
)

// brokenScript is a rule that is taken out of a script of the Redis store.
type brokenScript struct {
	checker.BrokenCollections
	testhooks.Alteration
}

// brokenScripts are the rules that stand inside the scripts.
func brokenScripts(t *testing.T, at place) []brokenScript {
	var (
		alone     = checker.Shape{Kind: store.SortedSet}
		readAgain = checker.Shape{Kind: store.SortedSet, LoadOne: true}
		versioned = checker.Shape{Kind: store.SortedSet, Versioned: true}
		hash      = checker.Shape{Kind: store.Hash, LoadOne: true}
		list      = checker.Shape{Kind: store.List}
	)
	rule := func(name string, p checker.CollectionProfile, old, new string, shapes ...checker.Shape) brokenScript {
		p.Name, p.Enough = name, true
		return brokenScript{checker.BrokenCollections{CollectionProfile: p, Shapes: shapes}, testhooks.Alteration{Old: old, New: new}}
	}
	busy := checker.Busy()
	overlap := busy // writers of one member
	overlap.TTL, overlap.Commit, overlap.Reread, overlap.Plain = time.Minute, 8*time.Millisecond, 8*time.Millisecond, 0
	slow := busy // a load and an invalidation are done while a writer is between his begin and his end
	slow.Commit, slow.Load, slow.Invalidate, slow.Plain = 15*time.Millisecond, 2*time.Millisecond, 0.3, 0
	slow.Full, slow.Writers = 2, 3
	filled := slow // a load is, which nobody asked for
	filled.Full, filled.Sparse, filled.Writers, filled.Invalidate, filled.TTL = 4, 0, 4, 0, 15*time.Millisecond
	empty := busy // collections without elements come and go
	empty.Full, empty.Sparse, empty.Load = 0, 4, 2*time.Millisecond
	quiet := checker.Quiet()
	slowLoads := quiet
	slowLoads.Load, slowLoads.TTL = 40*time.Millisecond, 150*time.Millisecond
	slower := slowLoads // than the intents that they must not forget
	slower.Load, slower.Writers, slower.Pause = 60*time.Millisecond, 2, 40*time.Millisecond
	drops := overlap
	drops.FailLoad, drops.Load, drops.Reread, drops.Commit = 0.2, time.Millisecond, 15*time.Millisecond, 3*time.Millisecond
	evict := busy
	evict.Faults = at.lose(t, ":~t")
	evictRemoved := busy
	evictRemoved.Faults = at.lose(t, ":~r")
	return []brokenScript{
		rule("a plain write leaves a running load alone", busy, "merge(ARGV[2], ARGV[1], ARGV[3])", "if leased() then l = false end merge(ARGV[2], ARGV[1], ARGV[3])", alone),
		rule("an end leaves a running load alone", busy, "merge(op, ARGV[3], ARGV[5])", "if leased() then l = false end merge(op, ARGV[3], ARGV[5])", alone),
		rule("a write leaves a remembered absence alone", empty, "elseif l == '-' and op == 'A' then forget() end", "end", alone),
		rule("a chunk overwrites what an end has put there", busy, "'NX', unpack(ARGV, from)", "unpack(ARGV, from)", alone),
		rule("a chunk overwrites what an end has put there, hash", busy, "HSETNX", "HSET", hash),
		rule("what was removed during a load comes back", busy, "for i = 1, #gone, 1000 do", "for i = 1, 0 do", alone),
		rule("a load without its mark is filled", evict, "if not whole or not known then", "if not known then", alone),
		rule("a load without the mark of what was removed is filled", evictRemoved, "if not whole or not known then", "if not whole then", alone),
		rule("a version is not compared", overlap, "local newer = kind == 'c' or version == '' or tonumber(ARGV[6]) > tonumber(version)", "local newer = true", versioned),
		rule("a drawn number is not compared", overlap, "local newer = kind == 'c' or version == '' or tonumber(ARGV[6]) > tonumber(version)", "local newer = true", readAgain),
		rule("a drop leaves older numbers valid", drops, "if kind == 'd' then newer = newer and", "if false then newer = newer and", readAgain),
		rule("a push is applied although a load was filled since its begin", filled, "sure = note == loads() and not leased()", "sure = not leased()", list),
		rule("a push is applied beside a load", busy, "sure = note == loads() and not leased()", "sure = note == loads()", list),
		rule("an invalidation leaves the clusters", slow, "redis.call('UNLINK', KEYS[3], KEYS[4], KEYS[6])", "redis.call('UNLINK', KEYS[3], KEYS[4])", alone, list),
		rule("a life is given back whatever deadlines stand", quiet, "redis.call('PEXPIREAT', K, first[2])", "redis.call('PEXPIREAT', K, back)", alone),
		rule("a fill gives the full life under an intent", quiet, "px = math.min(px, due - now())\n  end\n  redis.call('PEXPIRE', K", "end\n  redis.call('PEXPIRE', K", alone),
		rule("a begin leaves the life as it is", quiet, "if p < 0 or p > px then redis.call('PEXPIRE', K, digits(px)) end", "", alone),
		rule("intents are forgotten with their life", slower, "local keep = px + tonumber(ARGV[3])", "local keep = px", alone, list),
		rule("a passed deadline is forgotten", slowLoads, "if gone == 0 then return false end", "if gone then return false end", alone),
	}
}
