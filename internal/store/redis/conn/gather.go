package conn

import (
	"sync/atomic"
	"time"
)

// The client library writes what its callers have asked for so far, in one goroutine. Under load many small writes cost more
// than they gain, for the kernel and for Redis: so while many commands wait for their replies, two writes are some
// microseconds apart, and what comes meanwhile goes out together. With few commands under way nothing is held back: the
// pause would be most of the time that a reply takes, and a timer of an idle process is up to a millisecond late.
//
// docs/benchmarks.md has the measurements.

const (
	gatherFrom    = 6 // commands that wait for replies
	defaultGather = 20 * time.Microsecond
)

// gatherer spaces the writes of a connection.
type gatherer struct {
	pause    time.Duration
	answered atomic.Int64 // commands, as the reader knows it
	wrote    time.Time    // the last time; of the writer
}

// beforeWrite waits until the next write may begin. sent is how many commands were written, with those of this write.
func (g *gatherer) beforeWrite(sent int64) {
	if sent-g.answered.Load() >= gatherFrom {
		time.Sleep(g.pause - time.Since(g.wrote))
	}
	g.wrote = time.Now()
}
