package redis

import (
	"crypto/sha1"
	"encoding/hex"
	"strings"
	"sync/atomic"
)

// Altered takes a rule out of the scripts, in all stores, so that a test can show that its absence is found; or has them watched.
// Nothing but a test sets it.
var Altered atomic.Pointer[Alteration]

// Alteration replaces a text in every script that has it, and then gives the text of each script to Rewrite, if there is one.
type Alteration struct {
	Old, New string
	Rewrite  func(src string) string
}

// altered returns the script as it is to be sent.
func (sc *script) altered() *script {
	a := Altered.Load()
	if a == nil {
		return sc
	}
	src := sc.src
	if a.Old != "" {
		src = strings.ReplaceAll(src, a.Old, a.New)
	}
	if a.Rewrite != nil {
		src = a.Rewrite(src)
	}
	if src == sc.src {
		return sc
	}
	other := *sc
	other.src = src
	sum := sha1.Sum([]byte(other.src))
	other.sha = hex.EncodeToString(sum[:])
	return &other
}
