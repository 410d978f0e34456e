package health

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store/redis/reply"
)

// A command on the connection that all share passes two goroutines of the client library, the one that writes and the one that
// reads. With few callers that takes longer than Redis does. So a single read has a connection for itself, while few commands
// are in flight: it is written and its reply is read in the goroutine of its caller. Under load, commands that share a connection
// also share system calls, and nothing is sent this way, nor in the short pauses of a load.
//
// The connections are made when they are first asked for, behind the callers. One whose read was not answered is closed. Until
// all have been made again, reads go over the shared connection.

const (
	// MostDirect is how many connections for single reads there are to a node.
	MostDirect = 4

	directLimit = time.Second            // to make them
	directPause = 100 * time.Millisecond // between two attempts
	quietReads  = 64                     // reads in a row that must find few commands in flight before one is sent directly
)

// direct is what a guard knows of the connections for single reads.
type direct struct {
	ready  atomic.Bool // all have been made
	making atomic.Bool
	reads  atomic.Int32 // in flight
	quiet  atomic.Int32 // reads in a row that found few commands in flight, up to quietReads
	tried  atomic.Int64 // when they were last made, nanoseconds since the guards were made; zero: never
}

// EnterDirect lets a single read in and returns when it is sent. LeaveDirect must follow if ok is true. If it is false, the read is
// sent over the shared connection.
func (g *Guard) EnterDirect() (began Moment, ok bool) {
	d := &g.direct
	if !d.few(g.places[Ordinary].taken.Load()) || !g.breaker.Closed() {
		return began, false
	}
	if !d.ready.Load() {
		g.makeDirect()
		return began, false
	}
	if d.reads.Add(1) > MostDirect {
		d.reads.Add(-1)
		return began, false
	}
	return g.Now(), true
}

// few reports whether few commands are in flight, and have been for some reads. shared is how many are on the shared connection.
func (d *direct) few(shared int64) bool {
	quiet := d.quiet.Load()
	switch {
	case shared+int64(d.reads.Load()) >= MostDirect:
		if quiet != 0 {
			d.quiet.Store(0)
		}
		return false
	case quiet < quietReads:
		d.quiet.Add(1)
		return false
	}
	return true
}

// LeaveDirect ends a single read. err is context.DeadlineExceeded if it was not answered in time. After any other error the read is
// sent over the shared connection, which shows whether the server has failed. broken says that the connection is lost.
func (g *Guard) LeaveDirect(began Moment, err error, broken bool) {
	g.direct.reads.Add(-1)
	switch {
	case broken:
		g.direct.ready.Store(false)
		if err != nil {
			g.Judge(began, err)
		}
	case err == nil:
		g.breaker.Succeeded()
	}
}

// makeDirect makes the connections in the background.
func (g *Guard) makeDirect() {
	d, now := &g.direct, time.Since(g.of.began)
	if last := d.tried.Load(); last != 0 && now-time.Duration(last) < directPause || g.of.config.MakeDirect == nil || !d.making.CompareAndSwap(false, true) {
		return
	}
	d.tried.Store(int64(now))
	g.of.gate.pass(func() {
		g.of.config.Goroutines.Go(func() {
			defer d.making.Store(false)
			ctx, cancel := context.WithTimeout(g.of.config.Ctx, directLimit)
			defer cancel()
			err := g.of.config.MakeDirect(ctx, g.address)
			if d.ready.Store(err == nil); reply.Answered(err) {
				<-ctx.Done() // the user may not ask for it, and each refusal is a line in the server's log
			}
		})
	})
}
