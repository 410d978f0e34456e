package conn

import (
	"sync/atomic"
	"time"
)

// The client library writes what its callers have asked for so far, in one goroutine. Under load many small writes cost more
// than they gain, for the kernel and for Redis. So while many commands wait for their replies, the writer pauses after each
// write, and sends together what was asked for meanwhile. With few commands in flight it does not pause: the pause would be
// most of the time that a reply takes, and a timer of an idle process is up to a millisecond late.
//
// docs/benchmarks.md has the measurements.

const (
	gatherFrom    = 6 // commands that wait for replies
	defaultGather = 20 * time.Microsecond
)

// gatherer pauses between the writes of a connection.
type gatherer struct {
	pause    time.Duration
	answered atomic.Int64 // commands, as the reader knows it
}

// afterWrite pauses if many commands are in flight. sent is how many commands were written so far.
func (g *gatherer) afterWrite(sent int64) {
	if sent-g.answered.Load() >= gatherFrom {
		time.Sleep(g.pause)
	}
}
