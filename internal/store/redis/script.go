package redis

import (
	"context"
	"crypto/sha1"
	_ "embed"
	"encoding/hex"
	"strconv"
	"time"

	"github.com/redis/rueidis"
)

//go:embed sidecar.lua
var prelude string

var (
	//go:embed acquire.lua
	acquireSrc string
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

	acquireScript    = newScript(acquireSrc)
	fillScript       = newScript(fillSrc)
	releaseScript    = newScript(releaseSrc)
	invalidateScript = newScript(prelude + invalidateSrc)
	putScript        = newScript(prelude + putSrc)
	beginScript      = newScript(prelude + beginSrc)
	endScript        = newScript(prelude + endSrc)
)

// script is a Lua script, known to the server by the SHA-1 of its text.
type script struct{ src, sha string }

func newScript(src string) *script {
	sum := sha1.Sum([]byte(src))
	return &script{src, hex.EncodeToString(sum[:])}
}

// run sends the script once for each key, in one trip to each node: one command per element, so that each fails alone. A
// server that has forgotten the script (a restart, a failover, SCRIPT FLUSH) is sent its text. While a slot moves to
// another node its keys may stand on two, and a script that needs both is told to try again: it is, until ctx ends.
func (s *Store) run(ctx context.Context, sc *script, keys []string, args func(i int) []string) []rueidis.RedisResult {
	build := func(i int, whole bool) rueidis.Completed {
		key, side := keys[i], sidecar(keys[i])
		if whole {
			return s.c.B().Eval().Script(sc.src).Numkeys(2).Key(key, side).Arg(args(i)...).Build()
		}
		return s.c.B().Evalsha().Sha1(sc.sha).Numkeys(2).Key(key, side).Arg(args(i)...).Build()
	}
	if len(keys) == 1 {
		r := s.c.Do(ctx, build(0, false))
		for pause := firstPause; unfinished(r) && (!split(r) || pauseFor(ctx, pause)); pause = min(2*pause, lastPause) {
			r = s.c.Do(ctx, build(0, true))
		}
		return []rueidis.RedisResult{r}
	}
	cmds := make(rueidis.Commands, len(keys))
	for i := range keys {
		cmds[i] = build(i, false)
	}
	out := s.c.DoMulti(ctx, cmds...)
	for pause := firstPause; ; pause = min(2*pause, lastPause) {
		var left []int
		wait := false
		for i := range out {
			if unfinished(out[i]) {
				left = append(left, i)
				wait = wait || split(out[i])
			}
		}
		if len(left) == 0 || wait && !pauseFor(ctx, pause) {
			return out
		}
		cmds = make(rueidis.Commands, len(left))
		for n, i := range left {
			cmds[n] = build(i, true)
		}
		for n, r := range s.c.DoMulti(ctx, cmds...) {
			out[left[n]] = r
		}
	}
}

const (
	firstPause = time.Millisecond // between attempts at keys that stand on two nodes
	lastPause  = 20 * time.Millisecond
)

// unfinished reports whether the script did not run and may be sent again.
func unfinished(r rueidis.RedisResult) bool { return forgotten(r) || split(r) }

// split reports whether the two keys stand on two nodes.
func split(r rueidis.RedisResult) bool {
	e, ok := rueidis.IsRedisErr(r.Error())
	return ok && e.IsTryAgain()
}

func forgotten(r rueidis.RedisResult) bool {
	e, ok := rueidis.IsRedisErr(r.Error())
	return ok && e.IsNoScript()
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
