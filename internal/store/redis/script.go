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
	//go:embed touch.lua
	touchSrc string
	//go:embed save.lua
	saveSrc string

	acquireScript    = newScript(acquireSrc)
	fillScript       = newScript(fillSrc)
	releaseScript    = newScript(releaseSrc)
	invalidateScript = newScript(prelude + invalidateSrc)
	putScript        = newScript(prelude + putSrc)
	beginScript      = newScript(prelude + beginSrc)
	endScript        = newScript(prelude + endSrc)
	touchScript      = newScript(touchSrc)
	saveScript       = newScript(saveSrc)
)

// script is a Lua script, known to the server by the SHA-1 of its text.
type script struct{ src, sha string }

func newScript(src string) *script {
	sum := sha1.Sum([]byte(src))
	return &script{src, hex.EncodeToString(sum[:])}
}

// reach is which keys a script is sent with.
type reach int

const (
	whole       reach = iota // the value and its sidecar
	sidecarOnly              // one of two steps; see apart.go
)

// command is a script for one key: by its text, or by the name that the server may know it by.
func (s *Store) command(sc *script, text bool, key string, r reach, args []string) rueidis.Completed {
	keys := []string{key, sidecar(key)}[r:]
	if text {
		return s.c.B().Eval().Script(sc.src).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
	}
	return s.c.B().Evalsha().Sha1(sc.sha).Numkeys(int64(len(keys))).Key(keys...).Arg(args...).Build()
}

// run sends the script once for each key, in one trip to each node: one command per element, so that each fails alone. A
// server that has forgotten the script (a restart, a failover, SCRIPT FLUSH) is sent its text.
func (s *Store) run(ctx context.Context, sc *script, keys []string, r reach, args func(i int) []string) []rueidis.RedisResult {
	if len(keys) == 1 {
		out := s.one(ctx, write, keys[0], func() rueidis.Completed { return s.command(sc, false, keys[0], r, args(0)) })
		if forgotten(out) {
			out = s.one(ctx, write, keys[0], func() rueidis.Completed { return s.command(sc, true, keys[0], r, args(0)) })
		}
		return []rueidis.RedisResult{out}
	}
	cmds := make(rueidis.Commands, len(keys))
	for i, key := range keys {
		cmds[i] = s.command(sc, false, key, r, args(i))
	}
	out := s.send(ctx, write, cmds)
	var left []int
	for i := range out {
		if forgotten(out[i]) {
			left = append(left, i)
		}
	}
	if len(left) == 0 {
		return out
	}
	cmds = make(rueidis.Commands, len(left))
	for n, i := range left {
		cmds[n] = s.command(sc, true, keys[i], r, args(i))
	}
	for n, r := range s.send(ctx, write, cmds) {
		out[left[n]] = r
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
