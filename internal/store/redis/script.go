package redis

import (
	"context"
	_ "embed"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/lua"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

//go:embed sidecar.lua
var prelude string

var (
	//go:embed acquire.lua
	acquireSrc string
	//go:embed claims.lua
	claimsSrc string
	//go:embed collection/bound.lua
	boundSrc string
	//go:embed renew.lua
	renewSrc string
	//go:embed fill.lua
	fillSrc string
	//go:embed release.lua
	releaseSrc string
	//go:embed invalidate.lua
	invalidateSrc string
	//go:embed put.lua
	putSrc string
	//go:embed begin.lua
	beginSrc string
	//go:embed end.lua
	endSrc string
	//go:embed touch.lua
	touchSrc string
	//go:embed save.lua
	saveSrc string

	acquireScript    = newScript(pair, givenUp, boundSrc, acquireSrc)
	claimsScript     = newScript(pair, givenUp, claimsSrc)
	fillScript       = newScript(pair, givenUp, fillSrc)
	renewScript      = newScript(side, givenUp, renewSrc)
	releaseScript    = newScript(side, givenUp, releaseSrc)
	invalidateScript = newScript(family, inSteps, prelude, invalidateSrc).told()
	putScript        = newScript(pair, inSteps, prelude, putSrc)
	beginScript      = newScript(pair, inSteps, prelude, beginSrc)
	endScript        = newScript(pair, inSteps, prelude, endSrc).told()
	touchScript      = newScript(pair, givenUp, touchSrc)
	saveScript       = newScript(pair, givenUp, saveSrc)
)

// script is a Lua script about keys.
type script struct {
	lua.Script
	keys   func(key string) []string // the names that it takes, of one key
	parted parted
	tells  bool // of a change in the database, which a failover must not lose; see wait.go
	shaped bool // it is about collections
	fill   bool // it ends a load of one
}

// parted is what becomes of a script while a slot moves; see apart.go.
type parted int

const (
	givenUp     parted = iota
	inSteps            // the sidecar first
	invalidated        // the key is invalidated in its place
)

func newScript(keys func(key string) []string, p parted, src ...string) *script {
	return &script{Script: lua.New(strings.Join(src, "")), keys: keys, parted: p}
}

func (sc *script) told() *script {
	sc.tells = true
	return sc
}

// leases reports whether a script is about leases of values.
func (sc *script) leases() bool {
	switch sc {
	case acquireScript, claimsScript, renewScript, fillScript, releaseScript:
		return true
	}
	return false
}

// fills reports whether a script ends a lease with what was loaded.
func (sc *script) fills() bool { return sc == fillScript || sc.shaped && sc.fill }

func pair(key string) []string { return []string{key, sidecar(key)} }
func side(key string) []string { return []string{sidecar(key)} }

// aside is the script with the sidecar alone: one of two steps; see apart.go.
func (sc *script) aside() *script {
	alone := *sc
	alone.keys = side
	return &alone
}

// command is a script for one key: by its text, or by the name that the server may know it by.
func (sc *script) command(b rueidis.Builder, text bool, key string, args []string) rueidis.Completed {
	return sc.Call(b, text, sc.keys(key), args)
}

// run sends the script once for each key, in one trip to each node: one command per element, so that each fails alone.
func (s *Store) run(ctx context.Context, k health.Kind, sc *script, keys []string, args func(i int) []string) []rueidis.RedisResult {
	return s.calls(ctx, k, sc, len(keys), func(i int) ([]string, []string) { return sc.keys(keys[i]), args(i) })
}

// calls sends the script n times, in one trip to each node. A server that has forgotten it (a restart, a failover, SCRIPT
// FLUSH) is sent its text.
func (s *Store) calls(ctx context.Context, k health.Kind, sc *script, n int, call func(i int) (names, args []string)) []rueidis.RedisResult {
	if n == 1 {
		names, args := call(0)
		out := s.one(ctx, k, names[0], func() rueidis.Completed { return sc.Call(s.c.B(), false, names, args) })
		if reply.Forgotten(out) {
			out = s.one(ctx, k, names[0], func() rueidis.Completed { return sc.Call(s.c.B(), true, names, args) })
		}
		return []rueidis.RedisResult{out}
	}
	send := func(which []int, text bool) []rueidis.RedisResult {
		cmds := make(rueidis.Commands, len(which))
		for at, i := range which {
			names, args := call(i)
			cmds[at] = sc.Call(s.c.B(), text, names, args)
		}
		return s.send(ctx, k, cmds)
	}
	all := make([]int, n)
	for i := range all {
		all[i] = i
	}
	out := send(all, false)
	var left []int
	for i := range out {
		if reply.Forgotten(out[i]) {
			left = append(left, i)
		}
	}
	for at, r := range send(left, true) {
		out[left[at]] = r
	}
	return out
}

// px is a life in milliseconds, never none: a key without an end would stay for ever.
func px(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// px0 is px for durations of which zero means none.
func px0(d time.Duration) string {
	if d <= 0 {
		return "0"
	}
	return px(d)
}
