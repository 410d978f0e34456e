package history

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// A connection may lead to another data set than the one before it, or a replica at its other end may be promoted. So none is
// trusted to read values until a look (history.go) that began after it was made has judged the master at its address: the first
// command about values that is written to it before that puts it in doubt, and while one is in doubt all caches are barred.
//
//   - The caches are barred before the command is sent, and the answers to reads that are under way are not used.
//   - A connection to a replica stays as it was made. What is asked there without touching values, by INFO for example, bars
//     nothing.
//   - A look that finds that the server at an address is no master ends its trust.
//
// So after a restart or a failover no read sees the new data set before it is judged. That takes a look, some round trips.

// sightings are the connections of a store. The lock of the History guards them.
type sightings struct {
	conns  map[*Conn]bool
	events uint64        // connections and doubts, so far
	doubts int           // how many of them are in doubt
	looked chan struct{} // closed at the end of each look; nil: nobody waits for that
}

// Conn is a connection of the client whose data set may not be judged yet.
type Conn struct {
	net.Conn
	h       *History
	address string
	number  uint64      // of events: when it was made, or came into doubt; the lock of the History guards it
	trusted atomic.Bool // it leads to a master that was judged
	doubted bool        // the lock of the History guards it
	astray  int         // looks in a row that judged no master at the address, though values are read there; the lock of the History guards it
}

// astrayMost is how many such looks are taken for a failover that is under way. While there is a doubt, they come every
// trackedDial.
const astrayMost = 100

// trackedDial is how long a connection of tracking waits for a look before it is handed on. It need not come into doubt then.
const trackedDial = 100 * time.Millisecond

// Dialer connects to an address, as the client has it done.
type Dialer = func(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error)

// Watched has the connections of a dialer watched. It is the last one, since another may go elsewhere than to the address.
func (h *History) Watched(dial Dialer) Dialer {
	return func(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
		conn, err := dial(ctx, address, d, secure)
		if err != nil {
			return nil, err
		}
		return h.Watch(address, conn), nil
	}
}

// Watch returns a connection that is handed on to the client.
func (h *History) Watch(address string, conn net.Conn) *Conn {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.conns == nil {
		h.conns = make(map[*Conn]bool)
	}
	h.events++
	c := &Conn{Conn: conn, h: h, address: address, number: h.events}
	h.conns[c] = true
	return c
}

// Write puts the connection in doubt before the first command about values.
func (c *Conn) Write(p []byte) (int, error) {
	if !c.trusted.Load() && !quiet(p) {
		c.doubt()
	}
	return c.Conn.Write(p)
}

// Close ends the doubt: nothing is read there any more.
func (c *Conn) Close() error {
	h := c.h
	h.mu.Lock()
	delete(h.conns, c)
	h.clear(c)
	if c.astray > astrayMost {
		h.config.Problems.Forget(astray(c.address))
	}
	h.mu.Unlock()
	return c.Conn.Close()
}

func (c *Conn) doubt() {
	h := c.h
	h.mu.Lock()
	defer h.mu.Unlock()
	if c.doubted || c.trusted.Load() || !h.conns[c] || h.Off() {
		return
	}
	c.doubted = true
	h.events++
	c.number = h.events // a look that has begun does not cover it
	if h.doubts++; h.doubts == 1 && h.keeper != nil {
		h.keeper.Bar(h.all(func(*cache) bool { return true }))
	}
	h.config.Look()
}

// clear ends the doubt about a connection. h.mu is held.
func (h *History) clear(c *Conn) {
	if !c.doubted {
		return
	}
	c.doubted = false
	if h.doubts--; h.doubts == 0 && h.keeper != nil {
		h.keeper.Free(h.all(func(c *cache) bool { return c.state != unknown }))
	}
}

// Settled reports whether all connections are trusted.
func (h *History) Settled() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	for c := range h.conns {
		if !c.trusted.Load() {
			return false
		}
	}
	return true
}

// Begin begins a look. It covers what has happened up to the number that it returns.
func (h *History) Begin() uint64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.events
}

// Trust ends a look that found these masters, whose data sets were judged.
func (h *History) Trust(upTo uint64, now []topology.Span) {
	h.mu.Lock()
	defer h.mu.Unlock()
	masters := make(map[string]bool) // those that were judged
	for _, sp := range now {
		fine := sp.Node.Identity != "" && (h.Off() || slices.ContainsFunc(h.judged, func(j topology.Span) bool { return j == sp }))
		if was, ok := masters[sp.Node.Address]; !ok || was {
			masters[sp.Node.Address] = fine
		}
	}
	whole := topology.Complete(now)
	for c := range h.conns {
		judged, master := masters[c.address]
		if h.config.Target.Mode == redisurl.Single {
			judged, master = true, true
			for _, fine := range masters {
				judged = judged && fine
			}
		}
		switch {
		case c.number > upTo:
		case judged:
			c.trusted.Store(true)
			if c.astray > astrayMost {
				h.config.Problems.Forget(astray(c.address))
			}
			c.astray = 0
			h.clear(c)
		case !master && whole: // a replica, or a sentinel
			c.trusted.Store(false)
			h.unjudged(c)
			h.clear(c)
		default:
			h.unjudged(c)
		}
	}
	if h.doubts > 0 {
		time.AfterFunc(trackedDial, h.config.Look)
	}
	if h.looked != nil {
		close(h.looked)
		h.looked = nil
	}
}

// unjudged counts a look that says nothing about a connection on which values are read. h.mu is held.
func (h *History) unjudged(c *Conn) {
	if !c.doubted {
		return
	}
	if c.astray++; c.astray == astrayMost+1 {
		h.config.Problems.Add("%s", astray(c.address))
	}
}

// astray is the problem of a connection on which values are read although no look finds a master there.
func astray(address string) string {
	return fmt.Sprintf("values are read at %s, and none of the masters that CLUSTER SLOTS names is found there: the age of its data is not "+
		"known, so all caches bypass Redis; have the nodes announce the addresses at which they are reached (cluster-announce-ip, "+
		"cluster-announce-hostname)", address)
}

// AwaitTrust waits for a look that covers the connection, but not for long.
func (c *Conn) AwaitTrust(ctx context.Context) {
	limit := time.NewTimer(trackedDial)
	defer limit.Stop()
	h := c.h
	for !c.trusted.Load() && !h.Off() {
		h.mu.Lock()
		if h.looked == nil {
			h.looked = make(chan struct{})
		}
		looked := h.looked
		h.mu.Unlock()
		h.config.Look()
		select {
		case <-looked:
		case <-limit.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// quietCommands are about no value. The client, sentinels, and those who ask how a server does send them.
var quietCommands = []string{
	"PING", "HELLO", "AUTH", "SELECT", "CLIENT", "INFO", "ROLE", "CLUSTER", "READONLY", "SENTINEL", "SUBSCRIBE", "PSUBSCRIBE", "SSUBSCRIBE", "UNSUBSCRIBE",
	"PUNSUBSCRIBE", "SUNSUBSCRIBE",
	"CONFIG", "COMMAND", "SLOWLOG", "LATENCY", "MEMORY", "DBSIZE", "WAIT", "TIME", "ASKING", "SCAN",
}

// quiet reports whether all commands in p are whole, and about no value.
func quiet(p []byte) bool {
	text := string(p)
	for text != "" {
		n, rest, ok := count(text, '*')
		if !ok || n < 1 {
			return false
		}
		var words [2]string
		for i := range n {
			var size int
			if size, rest, ok = count(rest, '$'); !ok || len(rest) < size+2 {
				return false
			}
			if i < len(words) {
				words[i] = rest[:size]
			}
			rest = rest[size+2:]
		}
		name := strings.ToUpper(words[0])
		if !slices.Contains(quietCommands, name) && words[1] != historyScript.SHA && words[1] != historyScript.Src {
			return false
		}
		text = rest
	}
	return true
}

// count reads the line that begins an array or a string.
func count(text string, kind byte) (n int, rest string, ok bool) {
	line, rest, ok := strings.Cut(text, "\r\n")
	if !ok || line == "" || line[0] != kind {
		return 0, "", false
	}
	n, err := strconv.Atoi(line[1:])
	return n, rest, err == nil && n >= 0
}
