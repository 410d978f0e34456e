package upstream

import (
	"context"
	"errors"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// No more than maxOpen connections lead to one node; more callers wait for one, each with his own context.
func TestMostConnections(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, func(string) string { <-hold; return "+OK\r\n" })
	p, at, _ := s.pool(t)
	const callers = maxOpen + 50
	var all sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		all.Go(func() { _, errs[i] = p.ask(t.Context(), at, "PING") })
	}
	eventually.True(t, "all connections are open", func() bool { return s.open.Load() >= maxOpen })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := p.ask(ctx, at, "PING"); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a caller who found no place: %v", err)
	}
	close(hold)
	all.Wait()
	if i := slices.IndexFunc(errs, func(err error) bool { return err != nil }); i >= 0 {
		t.Errorf("%d: %v", i, errs[i])
	}
	if n := s.most.Load(); n > maxOpen {
		t.Errorf("%d connections at once", n)
	}
	opened := s.most.Load()
	if n := p.idleAt(at); n != int(opened) {
		t.Errorf("%d connections wait, want the %d that were opened", n, opened)
	}
	for range callers { // the next ones open none
		if _, err := p.ask(t.Context(), at, "PING"); err != nil {
			t.Fatal(err)
		}
	}
	if n := s.most.Load(); n != opened {
		t.Errorf("%d connections, where there were %d that waited", n, opened)
	}
	// What is not used for long is closed, and nothing else.
	p.mu.Lock()
	for _, c := range p.idle[at][:opened-10] {
		c.idle = c.idle.Add(-keepIdle)
	}
	p.mu.Unlock()
	p.reap()
	if n := p.idleAt(at); n != 10 {
		t.Errorf("%d connections are left, want 10", n)
	}
	p.Close()
	if p.reaper.Stop() {
		t.Error("the reaper is still to come")
	}
}

// A connection that the server has closed meanwhile is not used, with TLS or without.
func TestClosedWhileIdle(t *testing.T) {
	plain, secure := redistest.Shared(t), redistest.SharedTLS(t).(interface{ URL() string })
	node := redistest.SharedTLS(t).Node(t, "")
	for _, c := range []struct {
		url    string
		server *redistest.Server
	}{{plain.URL(), plain}, {plain.UnixURL(), plain}, {secure.URL(), node}} {
		to := target(t, c.url)
		p, r := newPool(t, to)
		at := place{to.Addresses[0], 2}
		p.fill(t, at, 2)
		waiting := p.age(at, checkIdle)
		if got, err := p.ask(t.Context(), at, "PING"); got != "+PONG\r\n" || err != nil || !slices.Equal(p.age(at, 0), waiting) {
			t.Errorf("%s: an open connection was not used again: %q, %v", c.url, got, err)
		}
		c.server.Do(t, "CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
		eventually.True(t, "the server has closed the connections", func() bool {
			list, err := c.server.Do(t, "CLIENT", "LIST").ToString()
			return err == nil && !slices.ContainsFunc(waiting, func(c *conn) bool {
				from := c.nc.LocalAddr().String()
				if c.nc.LocalAddr().Network() == "unix" {
					from = at.address // of all clients of the socket
				}
				return strings.Contains(list, " addr="+from)
			})
		})
		p.age(at, checkIdle)
		if got, err := p.ask(t.Context(), at, "PING"); got != "+PONG\r\n" || err != nil || p.idleAt(at) != 1 || r.looks.Load() != 0 {
			t.Errorf("%s: %q, %v, %d connections wait, %d looks", c.url, got, err, p.idleAt(at), r.looks.Load())
		}
	}
}

// age makes the connections to a node wait longer by d, and returns them.
func (p *Pool) age(at place, d time.Duration) []*conn {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.idle[at] {
		c.idle = c.idle.Add(-d)
	}
	return slices.Clone(p.idle[at])
}

// Close ends what waits at once, and what is under way after its reply. No goroutine is left.
func TestClose(t *testing.T) {
	before := goleak.IgnoreCurrent()
	hold, in := make(chan struct{}), make(chan struct{})
	s := serve(t, func(cmd string) string {
		if cmd == "HOLD" {
			in <- struct{}{}
			<-hold
		}
		return "+OK\r\n"
	})
	p, at, _ := s.pool(t)
	p.fill(t, at, 3)
	type answer struct {
		reply string
		err   error
	}
	held := make(chan answer)
	go func() { reply, err := p.ask(t.Context(), at, "HOLD"); held <- answer{reply, err} }()
	<-in
	p.Close()
	p.Close()
	eventually.True(t, "one connection is open", func() bool { return s.open.Load() == 1 })
	if _, err := p.ask(t.Context(), at, "PING"); !errors.Is(err, net.ErrClosed) {
		t.Errorf("after the end: %v", err)
	}
	close(hold)
	if got := <-held; got.reply != "+OK\r\n" || got.err != nil {
		t.Errorf("what was under way: %q, %v", got.reply, got.err)
	}
	eventually.True(t, "no connection is open", func() bool { return s.open.Load() == 0 })
	s.Close()
	if err := goleak.Find(before); err != nil {
		t.Error(err)
	}
}

// Close ends the question whether a node answers.
func TestCloseWhileANodeIsAsked(t *testing.T) {
	r := &hanging{asked: make(chan struct{})}
	s := serve(t, func(string) string { <-r.asked; return "+OK\r\n" })
	p, at, _ := s.pool(t)
	p.route = r
	if _, err := p.ask(t.Context(), at, "PING"); err != nil {
		t.Error(err)
	}
	p.Close() // TestMain looks for goroutines that are left
}

// hanging is a route that waits for the answer of a node that gives none.
type hanging struct {
	route
	once  sync.Once
	asked chan struct{}
}

func (h *hanging) Suspect(ctx context.Context, _ string) error {
	h.once.Do(func() { close(h.asked) })
	<-ctx.Done()
	return ctx.Err()
}
