package engine

import (
	"sync/atomic"
	"unsafe"
)

// stripes is a counter for the hottest path: goroutines that count at once mostly do not wait for each other's cache line.
type stripes [8]struct {
	n atomic.Uint64
	_ [56]byte
}

// add counts on a stripe that the place of the caller's stack chooses: it costs nothing to know, and differs between
// goroutines. It returns the stripe's count.
func (s *stripes) add() uint64 {
	var here byte
	return s[uintptr(unsafe.Pointer(&here))>>11%uintptr(len(s))].n.Add(1)
}

func (s *stripes) sum() (n uint64) {
	for i := range s {
		n += s[i].n.Load()
	}
	return n
}
