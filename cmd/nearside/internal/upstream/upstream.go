// Package upstream passes commands to Redis and replies back, byte by byte: clients of the Redis protocol turn replies into
// values of their own, and lose how they were written.
//
// conn.go is one connection, upstream.go the pool of them, route.go who in a cluster is asked, pass.go what a client's
// command becomes there, command.go what the server says of its commands.
package upstream

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

const (
	dialTimeout = time.Second
	timeout     = 10 * time.Second       // of one exchange: commands that wait for others are not passed, so a longer one hangs
	maxOpen     = 512                    // connections, for each node and version of the protocol; more commands wait for one
	keepIdle    = 10 * time.Second       // a connection that was not used for so long is closed
	tlsWait     = 5 * time.Millisecond   // for what follows a message of TLS's own
	checkIdle   = 100 * time.Millisecond // after which it is looked at before it is used: the server may have closed it
)

// Route tells which node has which keys.
type Route interface {
	// Reachable returns nil if the node of a slot, or of none for Anywhere, is asked at the moment, and why it is not. It waits for a
	// node that has been unavailable for less than a second.
	Reachable(ctx context.Context, slot int) error
	// Address returns who serves a slot, "" if it is not known.
	Address(slot uint16) string
	// Masters returns all who serve slots.
	Masters() []string
	// Suspect asks the node at an address, if nothing else does, and returns why it is not asked any more; nil: it is.
	Suspect(ctx context.Context, address string) error
	// LookSoon says that what the route told is wrong.
	LookSoon()
}

// Pool is connections to one Redis, which may be a cluster. It is safe for concurrent use.
type Pool struct {
	to    redisurl.Target
	route Route

	mu     sync.Mutex              // guards the rest
	idle   map[place][]*conn       // the one that was used last is the last
	reaper *time.Timer             // closes those that were not used for long; nil: there are none
	open   map[place]chan struct{} // full while maxOpen connections are open or being made
	table  table                   // of commands
	asked  time.Time               // when it came
	closed bool

	watchers map[string]*watcher // by address
	ctx      context.Context     // ends with the pool
	end      context.CancelFunc
}

// Client is what a reply is made for.
type Client struct {
	Proto int // version of the protocol: 2 or 3

	// Hold counts bytes of replies that are collected in memory, and reports whether there is place for them. Nil: they are
	// not counted.
	Hold func(n int64) bool

	// Take gets the parts of a large reply as they are read; b is valid until it returns. Nil: it is collected, up to 64 MiB.
	Take  func(b []byte, last bool)
	small bool // Take gets small replies too
}

// place is where a connection leads, and the version of the protocol that is spoken there.
type place struct {
	address string
	proto   int
}

// New returns a pool that connects when it is asked to.
func New(to redisurl.Target, route Route) *Pool {
	p := &Pool{to: to, route: route, idle: make(map[place][]*conn), open: make(map[place]chan struct{}), watchers: make(map[string]*watcher)}
	p.ctx, p.end = context.WithCancel(context.Background())
	return p
}

// Close closes the connections that wait.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.end()
	if p.reaper != nil {
		p.reaper.Stop()
	}
	for at := range p.idle {
		p.drop(at)
	}
}

func (p *Pool) drop(at place) {
	for _, c := range p.idle[at] {
		c.nc.Close()
	}
	delete(p.idle, at)
}

// enter waits for one of maxOpen places, which is given back by receiving from it. A connection that waits for its next command has
// none.
func (p *Pool) enter(x *underWay, at place) (places chan struct{}, err error) {
	p.mu.Lock()
	places = p.open[at]
	if places == nil {
		places = make(chan struct{}, maxOpen)
		p.open[at] = places
	}
	p.mu.Unlock()
	select {
	case places <- struct{}{}:
		return places, nil
	default:
	}
	ctx, leave := x.waiting()
	defer leave()
	timer := time.NewTimer(timeout)
	defer timer.Stop()
	select {
	case places <- struct{}{}:
		return places, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-timer.C:
		return nil, fmt.Errorf("%d commands are under way there, which are as many as there may be, and none ended within %v", maxOpen, timeout)
	}
}

// exchange sends commands to one node in one write, appends their replies to out, and returns where each ends. Nothing is
// sent twice: after an error it is not known what Redis did. Large
// replies to the commands from the first-th on go to to.Take instead, all parts of one and then of the next.
func (p *Pool) exchange(ctx context.Context, to Client, at place, cmds [][][]byte, out []byte, first int) ([]byte, []int, error) {
	x, crowded := p.watch(ctx, at.address)
	places, err := p.enter(x, at)
	if err != nil {
		_, _ = x.done()
		return out, nil, failed(at.address, err)
	}
	defer func() { <-places }()
	c, err := p.get(x, at)
	if err != nil {
		_, cause := x.done()
		return out, nil, failed(at.address, cmp.Or(cause, left(ctx), err))
	}
	begin := len(out)
	ends := make([]int, 0, len(cmds))
	due, timed := ctx.Deadline()
	if timed {
		c.nc.SetDeadline(due)
	}
	x.use(c.nc)
	var sent chan error
	var unsent error
	if len(cmds) > 1 { // replies are read meanwhile: Redis may stop reading while nobody reads them
		sent = make(chan error, 1)
		go func() { sent <- c.send(cmds) }()
	} else {
		unsent = c.send(cmds)
	}
	if crowded {
		runtime.Gosched() // the others send their commands: then the reply is there, and the first look for it finds it
	}
	for i := range cmds {
		before, taken := len(out), to.small
		var take func(part []byte)
		if i >= first {
			take = func(part []byte) { taken = true; x.pause(); to.Take(part, false); x.renew() }
		}
		if out, err = resp.ReadReply(c.r, out, take, to.Hold); err != nil {
			break
		}
		if taken {
			x.pause()
			to.Take(out[before:], true)
			x.renew()
			out = out[:before]
		}
		ends = append(ends, len(out))
	}
	if err != nil {
		c.nc.Close()
	}
	if sent != nil {
		unsent = <-sent
	}
	if err == nil {
		err = unsent
	}
	interrupted, cause := x.done() // if so, the connection must not be used again
	if err == nil {
		if interrupted {
			c.nc.Close()
			return out, ends, nil
		}
		if timed {
			c.nc.SetDeadline(time.Time{})
		}
		p.put(at, c)
		return out, ends, nil
	}
	c.nc.Close()
	out = out[:begin]
	if cause = cmp.Or(cause, left(ctx)); cause != nil { // this says nothing new about the node
		return out, nil, failed(at.address, cause)
	}
	var unread resp.ReplyError
	if !errors.As(err, &unread) { // the node does not answer: its other connections lead to the same place
		p.mu.Lock()
		p.drop(at)
		p.mu.Unlock()
		p.route.LookSoon()
	}
	return out, nil, failed(at.address, err)
}

// left returns why the caller of an exchange no longer waits; nil if it does. The deadline of a connection can take effect a
// moment before that of its context.
func left(ctx context.Context) error {
	if due, timed := ctx.Deadline(); timed && ctx.Err() == nil && !time.Now().Before(due) {
		return context.DeadlineExceeded
	}
	return context.Cause(ctx)
}

func failed(address string, err error) error {
	var n net.Error
	if own := errors.Is(err, context.DeadlineExceeded); errors.As(err, &n) && n.Timeout() && !own { // of the caller's own time there is nothing to say
		err = fmt.Errorf("no answer within %v", timeout)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		err = errors.New("it closed the connection; whether the command was carried out is not known")
	}
	return fmt.Errorf("Redis at %s: %w", address, err)
}

func (p *Pool) get(x *underWay, at place) (*conn, error) {
	for {
		p.mu.Lock()
		cs := p.idle[at]
		if p.closed || len(cs) == 0 {
			closed := p.closed
			p.mu.Unlock()
			if closed {
				return nil, net.ErrClosed
			}
			ctx, leave := x.waiting()
			defer leave()
			return connect(ctx, p.to, at.address, at.proto)
		}
		c := cs[len(cs)-1]
		p.idle[at] = cs[:len(cs)-1]
		p.mu.Unlock()
		if time.Since(c.idle) < checkIdle || c.alive() {
			return c, nil
		}
		c.nc.Close()
	}
}

func (p *Pool) put(at place, c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.nc.Close()
		return
	}
	c.idle = time.Now()
	p.idle[at] = append(p.idle[at], c)
	if p.reaper == nil {
		p.reaper = time.AfterFunc(keepIdle, p.reap)
	}
}

// reap closes the connections that were not used for keepIdle.
func (p *Pool) reap() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reaper = nil
	for at, cs := range p.idle {
		n := 0
		for n < len(cs) && time.Since(cs[n].idle) >= keepIdle {
			cs[n].nc.Close()
			n++
		}
		if p.idle[at] = slices.Delete(cs, 0, n); len(cs) == n {
			delete(p.idle, at)
		}
	}
	if len(p.idle) > 0 && !p.closed {
		p.reaper = time.AfterFunc(keepIdle/2, p.reap)
	}
}
