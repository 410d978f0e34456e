package upstream

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// A caller that leaves, or whose time is over, loses its own connection. Those of other callers stay, and nothing is concluded
// about the node.
func TestCallerThatLeaves(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, func(cmd string) string {
		if strings.Contains(cmd, "HANG") {
			<-hold
		}
		return "+OK\r\n"
	})
	defer close(hold)
	p, at, r := s.pool(t)
	const pooled = 3
	for name, c := range map[string]struct {
		context func() (context.Context, context.CancelFunc)
		why     error
		rounds  int
	}{
		"cancelled": {func() (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(t.Context())
			time.AfterFunc(time.Millisecond, cancel)
			return ctx, cancel
		}, context.Canceled, 5},
		// The connection and the context have the same deadline: which of the two ends first is chance.
		"too late": {func() (context.Context, context.CancelFunc) {
			return context.WithTimeout(t.Context(), 2*time.Millisecond)
		}, context.DeadlineExceeded, 100},
	} {
		for range c.rounds {
			p.fill(t, at, pooled+1-p.idleAt(at))
			ctx, cancel := c.context()
			_, err := p.ask(ctx, at, "HANG")
			cancel()
			if !errors.Is(err, c.why) || strings.Contains(err.Error(), "no answer within") {
				t.Errorf("%s: %v", name, err)
			}
			if n := p.idleAt(at); n != pooled || r.looks.Load() != 0 {
				t.Fatalf("%s: %d connections wait, want %d; the topology is looked at %d times, want 0", name, n, pooled, r.looks.Load())
			}
		}
	}
	opened := s.opened.Load()
	for range pooled {
		if got, err := p.ask(t.Context(), at, "PING"); got != "+OK\r\n" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if s.opened.Load() != opened {
		t.Error("the connections that waited were not used")
	}
}

// lateConn is a connection whose caller leaves while the reply is read, which has come all the same.
type lateConn struct {
	net.Conn
	leave  func()
	passed chan struct{} // closed when the deadline is set to the past
	closed atomic.Bool
}

func (c *lateConn) Write(b []byte) (int, error) { return len(b), nil }

func (c *lateConn) Read(b []byte) (int, error) {
	c.leave()
	<-c.passed
	return copy(b, "+OK\r\n"), nil
}

func (c *lateConn) SetDeadline(at time.Time) error {
	if at.Before(time.Now()) {
		close(c.passed)
	}
	return nil
}

func (c *lateConn) Close() error { c.closed.Store(true); return nil }

// A connection whose deadline is moved to the past because its caller has left is not used again.
func TestDeadlineOfACallerThatHasLeft(t *testing.T) {
	p, at := New(redisurl.Target{}, new(route)), place{"redis", 2}
	ctx, leave := context.WithCancel(t.Context())
	nc := &lateConn{leave: leave, passed: make(chan struct{})}
	p.put(at, newConn(nc))
	out, err := p.ask(ctx, at, "PING")
	if out != "+OK\r\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if p.idleAt(at) != 0 || !nc.closed.Load() {
		t.Error("the connection waits for the next caller")
	}
}

// Whenever callers leave, the others get their own replies, and no error.
func TestCallersLeaveAtRandom(t *testing.T) {
	r := seed.Rand(t)
	delays := seed.Locked(r)
	s := serve(t, func(cmd string) string {
		time.Sleep(time.Duration(delays.IntN(int(2 * watchPause))))
		return "+" + cmd + "\r\n"
	})
	p, at, looks := s.pool(t)
	var all sync.WaitGroup
	var left atomic.Int64
	for i := range 32 {
		name := strings.Repeat("x", i+1)
		mine := seed.Split(r)
		all.Go(func() {
			for range 30 {
				ctx, cancel := context.WithCancel(t.Context())
				leaves := i%2 == 1
				if leaves {
					time.AfterFunc(time.Duration(mine.IntN(int(2*watchPause))), cancel)
				}
				got, err := p.ask(ctx, at, name)
				cancel()
				switch {
				case err != nil && (!leaves || !errors.Is(err, context.Canceled)):
					t.Error(err)
				case err != nil:
					left.Add(1)
				case got != "+"+name+"\r\n":
					t.Errorf("got %q, want %q", got, name)
				}
			}
		})
	}
	all.Wait()
	if left.Load() == 0 || looks.looks.Load() != 0 {
		t.Errorf("%d left before their reply; the topology is looked at %d times, want 0", left.Load(), looks.looks.Load())
	}
}

// A caller need not wait for the greeting of a server that does not answer.
func TestCallerLeavesBeforeTheGreeting(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, func(string) string { <-hold; return "+OK\r\n" })
	defer close(hold)
	p, at, r := s.pool(t)
	p.to.Password = "secret"
	ctx, leave := context.WithCancel(t.Context())
	go func() {
		for s.open.Load() == 0 {
			time.Sleep(time.Millisecond)
		}
		leave()
	}()
	began := time.Now()
	if _, err := p.ask(ctx, at, "PING"); !errors.Is(err, context.Canceled) || time.Since(began) > timeout/2 {
		t.Errorf("after %v: %v", time.Since(began), err)
	}
	eventually.True(t, "the connection is closed", func() bool { p.mu.Lock(); defer p.mu.Unlock(); return len(p.open[at]) == 0 })
	if p.idleAt(at) != 0 || r.looks.Load() != 0 {
		t.Errorf("%d connections wait, %d looks", p.idleAt(at), r.looks.Load())
	}
}

// A connection whose caller has left during the greeting is not used, even if the reply has come.
func TestCallerLeavesWithTheGreeting(t *testing.T) {
	ctx, leave := context.WithCancel(t.Context())
	nc := &lateConn{leave: leave, passed: make(chan struct{})}
	if err := newConn(nc).greet(ctx, [][][]byte{fields("AUTH secret")}); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
