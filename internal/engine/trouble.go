package engine

import (
	"sync/atomic"
	"time"
)

const (
	troubleAfter = 3           // failed loads in a row, of any keys
	troublePause = time.Second // between attempts to load behind stale values, while all loads fail
)

// trouble knows when the database fails all loads. Stale values are then served without an attempt to load behind each of
// them: one in a while finds out whether it is back. Reads that have nothing to serve load all the same.
type trouble struct {
	failed atomic.Int32
	next   atomic.Int64 // when the next attempt is due; Unix nanoseconds
}

func (t *trouble) note(ok bool) {
	if ok {
		if t.failed.Load() != 0 {
			t.failed.Store(0)
		}
		return
	}
	if t.failed.Add(1) >= troubleAfter {
		t.next.Store(time.Now().Add(troublePause).UnixNano())
	}
}

// pause reports whether a load behind a stale value is left out now.
func (t *trouble) pause() bool {
	if t.failed.Load() < troubleAfter {
		return false
	}
	next, now := t.next.Load(), time.Now()
	return now.UnixNano() < next || !t.next.CompareAndSwap(next, now.Add(troublePause).UnixNano())
}
