package respserver

import (
	"log/slog"
	"runtime/debug"
	"sync"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

const (
	readSize  = 16 << 10 // of a turn's input; a connection that waits holds none
	writeSize = 64 << 10 // replies are sent when so many bytes are ready, and at most so many by one system call
	batchKeys = 256      // keys of one GetMany
	maxTables = 40 << 10 // bytes of the tables of a command, above which they count against the budget while it runs
	maxBuffer = 1 << 20  // bytes of a buffer that are used again
)

// A turn is what a connection needs between a read and the write of the replies. It is taken from a pool when there is
// something to read and given back when all of it is answered, so that idle connections cost next to nothing.
type turn struct {
	p    resp.Parser
	in   []byte   // what was read, unless it belongs to a command that has outgrown it
	out  []byte   // replies in order, but for those of keys
	keys [][]byte // waiting for GetMany; slices of the input
	gaps []int    // the reply to keys[i] belongs at out[gaps[i]]
	r    Replies
	head head
}

var turns = sync.Pool{New: func() any { return &turn{in: make([]byte, readSize)} }}

func (t *turn) free() {
	t.p.Reset()
	clear(t.keys)
	t.keys, t.gaps = t.keys[:0], t.gaps[:0]
	t.out, t.r = keep(t.out), Replies{out: keep(t.r.out)}
	turns.Put(t)
}

func keep(b []byte) []byte {
	if cap(b) > maxBuffer {
		return nil
	}
	return b[:0]
}

// answer runs every complete command of b and returns how many bytes they were. All replies have been sent when it
// returns. It sets c.closing if b was the last that the client may say.
func (c *Conn) answer(b []byte) (done int) {
	t, h := c.turn, c.s.cfg.Handler
	ran := uint64(0)
	defer func() {
		if v := recover(); v != nil {
			c.crashed(v)
		}
		c.commands.Store(c.commands.Load() + ran)
	}()
	for !c.closing {
		n, need, err := t.p.Next(b[done:])
		if err != nil {
			c.closing = true
			c.settle()
			t.out = resp.AppendError(t.out, "ERR "+err.Error())
			break
		}
		if n == 0 {
			c.need = need
			break
		}
		done += n
		ran++
		if args := t.p.Args; c.authed && isGet(args) {
			if out, ok := h.Get(c, t.out, args[1]); ok {
				t.out = out
			} else {
				t.keys, t.gaps = append(t.keys, args[1]), append(t.gaps, len(t.out))
			}
		} else if len(args) > 0 {
			c.settle()
			if t.p.Size() > maxTables {
				c.Borrow(t.p.Size())
			}
			t.out = h.Do(c.ctx, c, t.out, args)
			t.p.Lim = c.lim
			if c.borrowed.Load() != 0 {
				c.send(t.out)
				t.out = keep(t.out)
				c.giveBack()
			}
		}
		if len(t.keys) == batchKeys || len(t.out) >= writeSize {
			c.settle()
		}
		if len(t.out) >= writeSize {
			c.send(t.out)
			t.out = keep(t.out)
		}
	}
	c.settle()
	c.send(t.out)
	return done
}

// Flush sends the replies of a command that is still at work, if they are many bytes, and returns what Do goes on with. It
// waits for a reader who is far behind: so a reply is never as large in memory as it may be.
func (c *Conn) Flush(out []byte) []byte {
	if len(out) < writeSize {
		return out
	}
	c.send(out)
	out = keep(out)
	c.turn.out = out
	return out
}

// AppendBulk appends a string of any bytes. A large one is sent instead of copied, as Flush does it.
func (c *Conn) AppendBulk(out, v []byte) []byte {
	if len(v) < writeSize {
		return resp.AppendBulk(out, v)
	}
	c.turn.out = c.sendBulk(out, v)
	return c.turn.out
}

// sendBulk sends out and a string, and returns the end of the string, which is yet to be sent.
func (c *Conn) sendBulk(out, v []byte) []byte {
	c.send(resp.AppendBulkHeader(out, len(v)))
	c.send(v)
	return resp.AppendBulkEnd(keep(out))
}

func isGet(args [][]byte) bool {
	if len(args) != 2 || len(args[0]) != 3 {
		return false
	}
	name := args[0]
	return name[0]|0x20 == 'g' && name[1]|0x20 == 'e' && name[2]|0x20 == 't'
}

// settle has the waiting keys answered and weaves their replies in, so that out is complete.
func (c *Conn) settle() {
	t := c.turn
	if len(t.keys) == 0 {
		return
	}
	t.r.c = c
	if first := t.gaps[0]; first > 0 {
		t.head.arm(c, t.out[:first])
	}
	c.s.cfg.Handler.GetMany(c.ctx, c, t.keys, &t.r)
	for t.r.n < len(t.keys) {
		c.s.log(slog.LevelError, "a GET was left without a reply", "", "client", c.id)
		t.r.Error("ERR internal error")
	}
	t.out, t.r.out = append(t.r.out, t.out[t.r.from:]...), t.out[:0]
	t.r.n, t.r.from = 0, 0
	if c.borrowed.Load() != 0 {
		c.send(t.out)
		t.out = keep(t.out)
		c.giveBack()
	}
	clear(t.keys)
	t.keys, t.gaps = t.keys[:0], t.gaps[:0]
}

// crashed answers for a handler that has panicked: what was answered before, an error, and the end.
func (c *Conn) crashed(v any) {
	c.s.log(slog.LevelError, "a command panicked", "", "client", c.id, "panic", v, "stack", string(debug.Stack()))
	c.closing = true
	t := c.turn
	if t.r.part { // an error has no place in the middle of a reply
		c.kill(nil)
		return
	}
	if len(t.gaps) > 0 {
		if t.r.c = c; t.r.n < len(t.gaps) {
			t.r.weave()
		}
		t.out, t.r.out = t.r.out, nil // the turn is used again: its two buffers must not be one
	}
	c.send(resp.AppendError(t.out, "ERR internal error"))
}

// Replies takes the answers to a batch of GETs, in the order of the keys. They are sent as they come once there are
// enough of them, so a call may wait for a slow client.
type Replies struct {
	c    *Conn
	out  []byte // woven and not yet sent
	n    int    // replies taken
	part bool   // a reply has begun
	from int    // the turn's replies from here on are not yet woven
}

// Bulk answers with a value.
func (r *Replies) Bulk(v []byte) {
	r.weave()
	if len(v) < writeSize {
		r.took(resp.AppendBulk(r.out, v))
		return
	}
	r.out = r.c.sendBulk(r.out, v)
	r.n++
}

// Null answers that there is no value.
func (r *Replies) Null() { r.weave(); r.took(resp.AppendNull(r.out, r.c.Proto())) }

// Error answers with an error; msg begins with its code.
func (r *Replies) Error(msg string) { r.weave(); r.took(resp.AppendError(r.out, msg)) }

// Raw gives a reply that is already written in the client's version of the protocol, or the end of one that Part has begun.
func (r *Replies) Raw(reply []byte) {
	if !r.part {
		r.weave()
	}
	r.part = false
	r.took(append(r.out, reply...))
}

// Part gives a part of such a reply that is not its end.
func (r *Replies) Part(b []byte) {
	if !r.part {
		r.weave()
	}
	r.part = true
	if r.out = append(r.out, b...); len(r.out) >= writeSize {
		r.c.send(r.out)
		r.out = keep(r.out)
	}
}

// weave appends what stands before the next gap.
func (r *Replies) weave() {
	t := r.c.turn
	gap := t.gaps[r.n]
	if r.n == 0 && gap > 0 && t.head.disarm() {
		r.from = gap
	}
	r.out = append(r.out, t.out[r.from:gap]...)
	r.from = gap
}

func (r *Replies) took(out []byte) {
	r.out = out
	r.n++
	if len(out) >= writeSize {
		r.c.send(out)
		r.out = keep(out)
	}
}
