package meter

import (
	"sync/atomic"
	"time"
)

const (
	failingAfter = 3           // failed loads in a row, of any keys
	refreshPause = time.Second // between refreshes of stale values, while all loads fail
)

// LoadHealth knows when the database fails all loads. Stale values are then served without a refresh after each of them: one in a
// while finds out whether the database is back. Reads that have nothing to serve load all the same. The zero value is ready.
type LoadHealth struct {
	failed atomic.Int32
	next   atomic.Int64 // when the next attempt is due; Unix nanoseconds
}

// Note records how a load ended: ok if the database answered.
func (h *LoadHealth) Note(ok bool) {
	if ok {
		if h.failed.Load() != 0 {
			h.failed.Store(0)
		}
		return
	}
	if h.failed.Add(1) >= failingAfter {
		h.next.Store(time.Now().Add(refreshPause).UnixNano())
	}
}

// SkipRefresh reports whether a stale value is served without a refresh now.
func (h *LoadHealth) SkipRefresh() bool {
	if h.failed.Load() < failingAfter {
		return false
	}
	next, now := h.next.Load(), time.Now()
	return now.UnixNano() < next || !h.next.CompareAndSwap(next, now.Add(refreshPause).UnixNano())
}
