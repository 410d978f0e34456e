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

// run sends the script once for each key, in one trip: one command per element, so that each fails alone. A server that
// has forgotten the script (a restart, a failover, SCRIPT FLUSH) is sent its text.
func (s *Store) run(ctx context.Context, sc *script, keys []string, args func(i int) []string) []rueidis.RedisResult {
	if len(keys) == 1 {
		side, a := sidecar(keys[0]), args(0)
		r := s.c.Do(ctx, s.c.B().Evalsha().Sha1(sc.sha).Numkeys(2).Key(keys[0], side).Arg(a...).Build())
		if forgotten(r) {
			r = s.c.Do(ctx, s.c.B().Eval().Script(sc.src).Numkeys(2).Key(keys[0], side).Arg(a...).Build())
		}
		return []rueidis.RedisResult{r}
	}
	cmds := make(rueidis.Commands, len(keys))
	for i, key := range keys {
		cmds[i] = s.c.B().Evalsha().Sha1(sc.sha).Numkeys(2).Key(key, sidecar(key)).Arg(args(i)...).Build()
	}
	out := s.c.DoMulti(ctx, cmds...)
	var again []int
	for i := range out {
		if forgotten(out[i]) {
			again = append(again, i)
		}
	}
	if len(again) == 0 {
		return out
	}
	cmds = make(rueidis.Commands, len(again))
	for n, i := range again {
		cmds[n] = s.c.B().Eval().Script(sc.src).Numkeys(2).Key(keys[i], sidecar(keys[i])).Arg(args(i)...).Build()
	}
	for n, r := range s.c.DoMulti(ctx, cmds...) {
		out[again[n]] = r
	}
	return out
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
