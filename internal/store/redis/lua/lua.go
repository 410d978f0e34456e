// Package lua is a Lua script as the server takes it: by its text, or by the SHA-1 of that.
package lua

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/testhooks"
)

// Script is a Lua script.
type Script struct{ Src, SHA string }

// New returns a script of a text.
func New(src string) Script {
	sum := sha1.Sum([]byte(src))
	return Script{src, hex.EncodeToString(sum[:])}
}

// Call is a command that runs the script: by its text, or by the name that the server may know it by.
func (sc *Script) Call(b rueidis.Builder, text bool, names, args []string) rueidis.Completed {
	now := sc.altered()
	if text {
		return b.Eval().Script(now.Src).Numkeys(int64(len(names))).Key(names...).Arg(args...).Build()
	}
	return b.Evalsha().Sha1(now.SHA).Numkeys(int64(len(names))).Key(names...).Arg(args...).Build()
}

// altered returns the script as it is to be sent.
func (sc *Script) altered() Script {
	a := testhooks.Altered.Load()
	if a == nil {
		return *sc
	}
	src := sc.Src
	if a.Old != "" {
		src = strings.ReplaceAll(src, a.Old, a.New)
	}
	if a.Rewrite != nil {
		src = a.Rewrite(src)
	}
	if src == sc.Src {
		return *sc
	}
	return New(src)
}
