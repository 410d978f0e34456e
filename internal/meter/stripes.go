package meter

import (
	"math/rand/v2"
	"sync/atomic"
	"unsafe"
)

// stripes is a counter for the hottest path: goroutines that count at once mostly do not wait for each other's cache line.
type stripes [8]stripe

type stripe struct {
	n    atomic.Uint64
	next atomic.Uint64 // the count that is examined
	_    [48]byte
}

// add counts on a stripe that the place of the caller's stack chooses: it costs nothing to know, and differs between
// goroutines. It returns the stripe and its count; from next on that is to be chosen.
func (s *stripes) add() (*stripe, uint64) {
	var here byte
	at := &s[uintptr(unsafe.Pointer(&here))>>11%uintptr(len(s))]
	return at, at.n.Add(1)
}

// chosen reports whether the caller, whose count reached next, is the one to examine its hit. The next one follows at random, so
// that a loop over some keys has no pattern in common with it, a sample apart on average.
func (s *stripe) chosen(n, sample uint64) bool {
	next := s.next.Load()
	return n >= next && s.next.CompareAndSwap(next, n+1+rand.Uint64N(2*sample-1))
}

func (s *stripes) sum() (n uint64) {
	for i := range s {
		n += s[i].n.Load()
	}
	return n
}
