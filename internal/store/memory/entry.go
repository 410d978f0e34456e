package memory

import (
	"math/bits"
	"slices"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// entry is a key with its value and its sidecar. It exists while it has one of them.
type entry struct {
	key   string
	value []byte
	until int64 // the end of the value's life, on the store's clock
	last  int64 // up to when Touch may prolong it; zero: not at all
	side  *sidecar
	many  *many // of a collection; nil of a value
	cost  int64 // as accounted; zero: the shard does not know the entry

	newer, older *entry // in the shard's list
	found        bool   // there is a value
	read         bool   // since the hand came by
}

// sidecar is what goes on with a key.
type sidecar struct {
	kind   byte
	tokens []string // one of a lease, one or more of intents
	until  int64
	load   *load // what a lease's holder loads; nil: a value
}

const (
	lease  = 't'
	absent = '-'
	hold   = '!'
	clean  = 'c' // one intent that nobody disturbed
	dirty  = 'd' // several intents, or a disturbed one
)

func (c *sidecar) is(kind byte) bool            { return c != nil && c.kind == kind }
func (c *sidecar) has(token string) bool        { return c != nil && slices.Contains(c.tokens, token) }
func (c *sidecar) leased(token string) bool     { return c.is(lease) && c.has(token) }
func (c *sidecar) intents() bool                { return c.is(clean) || c.is(dirty) }
func (c *sidecar) barrier() bool                { return c.is(hold) || c.intents() }
func (c *sidecar) left(now int64) time.Duration { return time.Duration(c.until - now) }

// disturb ends what goes on with a key, for somebody who knows better: intents stay and are not clean any more, a hold
// is never shortened, all else ends.
func (e *entry) disturb(d time.Duration, now int64) {
	if e.side.intents() {
		e.side.kind = dirty
		if d > 0 {
			e.side.until = max(e.side.until, after(now, d))
		}
		return
	}
	e.hold(d, now)
}

// hold replaces the sidecar by a hold, or by nothing if there is to be none and none stands.
func (e *entry) hold(d time.Duration, now int64) {
	until := int64(0)
	if e.side.is(hold) {
		until = e.side.until
	}
	if d > 0 {
		until = max(until, after(now, d))
	}
	e.side = nil
	if until > 0 {
		e.side = &sidecar{kind: hold, until: until}
	}
}

// after is the end of a life that begins now.
func after(now int64, life time.Duration) int64 {
	return int64(store.Sum(time.Duration(now), millis(life)))
}

// millis rounds as Redis does, so that both stores agree.
func millis(d time.Duration) time.Duration {
	return max(d.Truncate(time.Millisecond), time.Millisecond)
}

const (
	entryCost   = 96 + 56 // the struct, and its slot in a map at the lowest load (25 bytes of 7/16)
	sidecarCost = 48      // with a load, too
	tokenCost   = 16 + 32
)

// size is what the heap keeps for an entry, TestHeap compares.
func (e *entry) size() int64 {
	n := entryCost + rounded(len(e.key))
	if e.found {
		n += rounded(cap(e.value))
	}
	if e.many != nil {
		n += e.many.size()
	}
	if e.side != nil {
		n += sidecarCost + tokenCost*int64(len(e.side.tokens))
		if e.side.load != nil {
			n += e.side.load.size()
		}
	}
	return n
}

// rounded is about what the runtime allocates for n bytes: eight size classes for each power of two, then pages.
func rounded(n int) int64 {
	step := 8 << 10
	if n <= 32<<10 {
		step = max(16, 1<<bits.Len(uint(n))>>4)
	}
	return int64((n + step - 1) &^ (step - 1))
}
