package respserver

import (
	"context"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

// A Conn is one client. Its methods and Value are for the handler, during a call for this connection.
type Conn struct {
	Value any // the handler's own

	s      *Server
	id     uint64
	nc     net.Conn
	w      wire
	ctx    context.Context
	cancel context.CancelFunc
	gone   context.Context // ends with ctx, and when the client has hung up; see hangup.go
	leave  context.CancelFunc

	// Only the goroutine that serves the connection touches these.
	name    string
	proto   int
	authed  bool
	closing bool         // nothing more is read
	lim     *resp.Limits // of the parser; changes with authed
	turn    *turn        // nil while the connection waits for input
	p       *resp.Parser // its place in an unfinished command, else nil
	rest    []byte       // the beginning of an unfinished command
	grown   bool         // the turn's input is rest itself, since the command no longer fits
	need    int          // bytes of the unfinished command without which parsing is useless

	tables   int64         // bytes of the tables of the unfinished command that count against the budget
	borrowed atomic.Int64  // bytes that the call under way holds
	commands atomic.Uint64 // stored by the serving goroutine, read by Stats
	turns    atomic.Uint64 // begun and ended: odd during one
	seen     atomic.Uint64 // what turns was, when the sweeper last looked
	due      atomic.Int64  // when the sweeper closes the connection, in Unix nanoseconds; 0: never

	mu      sync.Mutex
	change  sync.Cond // over has shrunk, writing has ended, or the connection is dead
	over    chunks    // mu; replies that the socket did not take
	writing bool      // mu; drain runs. Set by the serving goroutine only, cleared by drain
	held    int64     // mu; bytes that count against the server's budget: of over, of rest, and what the handler counts
	dead    bool      // mu; killed: nothing is written any more, nothing counted
	ending  bool      // mu; Shutdown need not wake it
}

func newConn(s *Server, nc net.Conn, id uint64) *Conn {
	c := &Conn{s: s, id: id, nc: nc, w: newWire(nc), proto: 2}
	c.change.L = &c.mu
	c.ctx, c.cancel = context.WithCancel(s.ctx)
	c.gone, c.leave = context.WithCancel(c.ctx)
	if s.cfg.RequireAuth {
		c.lim = &s.cfg.PreAuth
		c.due.Store(time.Now().Add(s.cfg.IdleTimeout).UnixNano())
	} else {
		c.SetAuthed()
	}
	return c
}

// ID is unique in the life of the server and grows with each connection.
func (c *Conn) ID() uint64 { return c.id }

// Name is what the client calls itself, "" until SetName.
func (c *Conn) Name() string { return c.name }

// SetName sets Name.
func (c *Conn) SetName(name string) { c.name = name }

// Proto is the version of the protocol for replies: 2, or 3 after SetProto.
func (c *Conn) Proto() int { return c.proto }

// SetProto sets Proto to 2 or 3.
func (c *Conn) SetProto(version int) { c.proto = version }

// Authed reports whether the client has authenticated, or need not.
func (c *Conn) Authed() bool { return c.authed }

// SetAuthed lifts the limits of clients that have not authenticated, and GETs go to Get from now on.
func (c *Conn) SetAuthed() {
	c.authed, c.lim = true, &c.s.cfg.Limits
	c.due.Store(0)
}

// RemoteAddr is the client's address.
func (c *Conn) RemoteAddr() net.Addr { return c.nc.RemoteAddr() }

// CloseAfterReply ends the connection when the reply of this call has been sent. What the client sent behind it is dropped.
func (c *Conn) CloseAfterReply() { c.closing = true }

// Hold counts n bytes that the handler keeps for the client between calls; a negative n gives them back. It reports false if
// the connection is closed, which may be because of these bytes: then nothing may be kept. It may be called from several
// goroutines during a call.
func (c *Conn) Hold(n int64) bool { return c.charge(n) }

// Borrow counts n bytes that the call under way holds until its replies are sent, or until a negative n gives them back. It
// reports false if the connection is closed, as Hold does.
func (c *Conn) Borrow(n int64) bool {
	c.borrowed.Add(n)
	return c.charge(n)
}

// giveBack ends the count of what calls have borrowed.
func (c *Conn) giveBack() {
	if n := c.borrowed.Load(); n != 0 {
		c.borrowed.Store(0)
		c.charge(-n)
	}
}

// Abort closes the connection at once and logs why. It is for a reply that has begun and cannot be finished.
func (c *Conn) Abort(why error) { c.kill(why) }

// serve takes turns until either side has had enough.
func (c *Conn) serve() {
	defer c.s.leave(c)
	defer c.finish()
	for !c.closing {
		n, err := c.w.read(c)
		if err != nil {
			return
		}
		c.take(n)
	}
}

// room takes a turn, if there is none, and returns the place to read into.
func (c *Conn) room() []byte {
	if c.turn == nil {
		c.turn = turns.Get().(*turn)
	}
	if c.grown = len(c.rest) > readSize/2; !c.grown {
		return c.turn.in[copy(c.turn.in, c.rest):]
	}
	if cap(c.rest) < len(c.rest)+readSize/2 {
		// Twice what has arrived, whatever was announced.
		bigger := make([]byte, len(c.rest), 2*len(c.rest)+readSize)
		copy(bigger, c.rest)
		c.replaceRest(bigger)
	}
	return c.rest[len(c.rest):min(cap(c.rest), len(c.rest)+writeSize)]
}

// noRoom gives back what room took: there was nothing to read.
func (c *Conn) noRoom() {
	turns.Put(c.turn)
	c.turn = nil
}

// take answers what n bytes read into room have completed, and keeps the rest.
func (c *Conn) take(n int) {
	t := c.turn
	var b []byte
	if c.grown { // what has arrived may be longer than the turn's own input
		c.rest = c.rest[:len(c.rest)+n]
		b = c.rest
	} else {
		b = t.in[: len(c.rest)+n : readSize]
	}
	c.turns.Add(1)
	defer func() { t.free(); c.turn = nil; c.turns.Add(1) }()

	if c.p != nil && len(b) < c.need {
		c.keepRest(b)
		return
	}
	if c.p != nil {
		// The parser of the unfinished command goes on in this turn.
		t.p, *c.p = *c.p, t.p
		parsers.Put(c.p)
		c.p = nil
		c.countTables(0)
	}
	if c.authed && c.due.Load() != 0 {
		c.due.Store(0)
	}
	t.p.Lim = c.lim
	b = b[c.answer(b):]
	if c.closing || len(b) == 0 {
		c.replaceRest(nil)
		return
	}
	c.p = parsers.Get().(*resp.Parser)
	t.p, *c.p = *c.p, t.p
	c.keepRest(b)
	c.countTables(c.p.Size())
}

// countTables sets how many bytes the tables of the unfinished command count. Below a page they do not: they come from a pool.
func (c *Conn) countTables(n int64) {
	if n < 4<<10 {
		n = 0
	}
	if n != c.tables {
		c.charge(n - c.tables)
		c.tables = n
	}
}

var parsers = sync.Pool{New: func() any { return new(resp.Parser) }}

// keepRest keeps b, the beginning of a command, until more arrives.
func (c *Conn) keepRest(b []byte) {
	if c.authed {
		c.due.Store(time.Now().Add(c.s.cfg.IdleTimeout).UnixNano())
	}
	switch {
	case c.grown && len(b) > readSize/2 && 4*len(b) > cap(c.rest):
		c.rest = c.rest[:copy(c.rest, b)]
	case !c.grown && len(b) <= cap(c.rest):
		c.rest = append(c.rest[:0], b...)
	default:
		c.replaceRest(append([]byte(nil), b...))
	}
}

func (c *Conn) replaceRest(b []byte) {
	more := int64(cap(b) - cap(c.rest))
	c.rest = b
	if more != 0 {
		c.charge(more)
	}
}

// finish ends the connection so that the client gets every reply: if input is left unread when a socket is closed, the
// kernel resets the connection, and what the client has not read yet is lost. So the end of the replies is said first,
// and what still comes in is read for a moment.
func (c *Conn) finish() {
	if c.turn != nil {
		c.turn.free()
		c.turn = nil
	}
	c.mu.Lock()
	for c.writing {
		c.change.Wait()
	}
	dead := c.dead
	c.ending = true
	if !dead {
		_ = c.nc.SetReadDeadline(time.Now().Add(c.s.cfg.linger))
	}
	c.mu.Unlock()
	if half, ok := c.nc.(interface{ CloseWrite() error }); ok && !dead && half.CloseWrite() == nil {
		_, _ = io.Copy(io.Discard, c.nc)
	}
	c.kill(nil)
}

// wake ends a wait for input; turns in progress go on to their end.
func (c *Conn) wake() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.ending {
		_ = c.nc.SetReadDeadline(time.Unix(1, 0))
	}
}
