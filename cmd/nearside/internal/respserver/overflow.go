package respserver

import (
	"errors"
	"log/slog"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

const (
	chunkSize = 16 << 10
	burst     = 16 // chunks written under one deadline
)

// A chunk is a piece of the replies that a slow reader has not taken. Small pieces in a list: one growing slice would need
// four times the memory at its peak, and a reader who is late by a few bytes must not cost much.
type chunk struct {
	next *chunk
	n    int
	b    [chunkSize - 16]byte // the whole chunk is chunkSize, a size the allocator has
}

var chunkPool = sync.Pool{New: func() any { return new(chunk) }}

// chunks is a list of them; bytes are added at the end and taken from the front.
type chunks struct {
	first, last *chunk
	n           int // chunks, those that drain is writing included
}

// add copies as much of b as the last chunk has place for.
func (l *chunks) add(b []byte) int {
	if l.last == nil {
		return 0
	}
	n := copy(l.last.b[l.last.n:], b)
	l.last.n += n
	return n
}

// grow appends an empty chunk.
func (l *chunks) grow() {
	k := chunkPool.Get().(*chunk)
	k.next, k.n = nil, 0
	if l.last == nil {
		l.first = k
	} else {
		l.last.next = k
	}
	l.last = k
	l.n++
}

// pop takes out the first chunk; nil if there is none. It stays counted.
func (l *chunks) pop() *chunk {
	k := l.first
	if k == nil {
		return nil
	}
	if l.first = k.next; l.first == nil {
		l.last = nil
	}
	return k
}

// send writes b, or keeps what the socket does not take at once. It waits only for a reader who is far behind.
func (c *Conn) send(b []byte) {
	if len(b) == 0 {
		return
	}
	c.mu.Lock()
	wait := c.writing || c.dead
	c.mu.Unlock()
	for !wait && len(b) > 0 {
		piece := b[:min(len(b), writeSize)]
		n, err := c.w.try(piece)
		if err != nil {
			c.kill(nil)
			return
		}
		b, wait = b[n:], n < len(piece)
	}
	for len(b) > 0 {
		n := c.queue(b)
		if n == 0 {
			return
		}
		b = b[n:]
	}
}

// queue puts a part of b behind over and sees that it will be written. It returns how much it took; 0 if the connection
// is dead.
//
// Reading goes on while replies wait here, since many clients send a whole pipeline before they read the first reply: a
// server that waits for them to read, while they wait for it to read, waits for ever.
func (c *Conn) queue(b []byte) int {
	c.mu.Lock()
	for !c.dead && c.over.n*chunkSize >= c.s.cfg.MaxOutput {
		c.change.Wait()
	}
	if c.dead {
		c.mu.Unlock()
		return 0
	}
	n, grown := c.over.add(b), false
	if n == 0 {
		c.over.grow()
		n, grown = c.over.add(b), true
	}
	if !c.writing {
		c.writing = true
		go c.drain()
	}
	c.mu.Unlock()
	if grown {
		c.charge(chunkSize)
	}
	return n
}

// drain writes over until it is empty. It is the only writer meanwhile.
func (c *Conn) drain() {
	var taken [burst]*chunk
	var pieces [burst][]byte
	for {
		c.mu.Lock()
		n := 0
		for ; n < burst; n++ {
			k := c.over.pop()
			if k == nil {
				break
			}
			taken[n], pieces[n] = k, k.b[:k.n]
		}
		if n == 0 {
			_ = c.nc.SetWriteDeadline(time.Time{})
			c.writing = false
			c.change.Broadcast()
			c.mu.Unlock()
			return
		}
		c.mu.Unlock()

		_ = c.nc.SetWriteDeadline(time.Now().Add(c.s.cfg.WriteTimeout))
		bufs := net.Buffers(pieces[:n])
		_, err := bufs.WriteTo(c.nc)
		for _, k := range taken[:n] {
			chunkPool.Put(k)
		}

		c.mu.Lock()
		c.over.n -= n
		c.change.Broadcast()
		c.mu.Unlock()
		switch {
		case errors.Is(err, syscall.EPIPE), errors.Is(err, syscall.ECONNRESET):
			c.kill(nil) // the client has left: that is its right, and no news
		case err != nil:
			c.kill(err)
		}
		c.charge(int64(-n * chunkSize))
	}
}

// charge counts n more bytes against the server's budget. When it is exceeded, the connection that holds most is closed. It
// reports false if this one is closed.
func (c *Conn) charge(n int64) bool {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return false
	}
	c.held += n
	total := c.s.held.Add(n)
	c.mu.Unlock()
	if n > 0 && total > c.s.cfg.Budget {
		c.s.relieve()
		return !c.killed()
	}
	return true
}

func (c *Conn) killed() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.dead
}

func (c *Conn) holds() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.held
}

// kill closes the connection at once and drops what waits to be written. A why is logged.
func (c *Conn) kill(why error) {
	c.mu.Lock()
	if c.dead {
		c.mu.Unlock()
		return
	}
	c.dead = true
	waiting := c.over.n * chunkSize
	c.s.held.Add(-c.held)
	c.held = 0
	for k := c.over.pop(); k != nil; k = c.over.pop() {
		chunkPool.Put(k)
		c.over.n--
	}
	c.change.Broadcast()
	c.mu.Unlock()
	if why != nil {
		c.s.log(slog.LevelWarn, "client closed", reason(why), "client", c.id, "addr", c.nc.RemoteAddr().String(), "cause", why.Error(), "unsent", waiting)
	}
	c.cancel()
	_ = c.nc.Close()
}

// reason is why a client was closed, in a word.
func reason(why error) string {
	switch {
	case errors.Is(why, errBudget):
		return "memory"
	case errors.Is(why, os.ErrDeadlineExceeded):
		return "slow"
	}
	return "other"
}
