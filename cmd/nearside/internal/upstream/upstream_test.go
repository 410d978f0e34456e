package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// server is a Redis of a test that answers each command by what reply returns, and knows how many connections are open.
type server struct {
	net.Listener
	reply      func(command string) string
	open, most atomic.Int64
}

func serve(t *testing.T, reply func(command string) string) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{Listener: l, reply: reply}
	var all sync.WaitGroup
	t.Cleanup(func() { l.Close(); all.Wait() })
	all.Go(func() {
		for {
			nc, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { s.talk(nc) })
		}
	})
	return s
}

func (s *server) talk(nc net.Conn) {
	defer nc.Close()
	n := s.open.Add(1)
	defer s.open.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	c := conn{r: bufio.NewReader(nc)}
	for {
		r := &reading{c: &c, renew: func() {}}
		cmd, err := r.reply(nil) // a command is written as an array
		if err != nil {
			return
		}
		nc.Write([]byte(s.reply(string(cmd))))
	}
}

// pool returns a pool, where the server is, and a route that counts how often it is told to look.
func (s *server) pool(t *testing.T) (*Pool, place, *route) {
	r := new(route)
	p := New(redisurl.Target{Network: "tcp", Addresses: []string{s.Addr().String()}}, r)
	t.Cleanup(p.Close)
	return p, place{s.Addr().String(), 2}, r
}

type route struct {
	Route
	looks atomic.Int64
}

func (r *route) LookSoon() { r.looks.Add(1) }

func (r *route) Suspect(context.Context, string) error { return nil }

func (p *Pool) waiting(at place) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle[at])
}

func command(words ...string) [][][]byte {
	var args [][]byte
	for _, w := range words {
		args = append(args, []byte(w))
	}
	return [][][]byte{args}
}

// A caller who leaves costs his own connection. Those of the others, and what is known of the node, stay.
func TestCallerWhoLeaves(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, func(cmd string) string {
		if strings.Contains(cmd, "HANG") {
			<-hold
		}
		return "+OK\r\n"
	})
	p, at, r := s.pool(t)
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, _, err := p.exchange(ctx, Client{Proto: 2}, at, command("HANG"), nil, 2)
		left <- err
	}()
	eventually.True(t, "a connection", func() bool { return s.open.Load() == 1 })
	if out, _, err := p.exchange(t.Context(), Client{Proto: 2}, at, command("PING"), nil, 2); string(out) != "+OK\r\n" || err != nil {
		t.Fatalf("%q, %v", out, err)
	}
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller who left: %v", err)
	}
	if n := p.waiting(at); n != 1 || r.looks.Load() != 0 {
		t.Errorf("%d connections wait, want 1; the topology is looked at %d times, want 0", n, r.looks.Load())
	}
	close(hold)
}

// A server that closes its connection costs all connections that lead there.
func TestServerThatCloses(t *testing.T) {
	s := serve(t, func(cmd string) string {
		if strings.Contains(cmd, "BAD") {
			return "no reply\r\n"
		}
		return "+OK\r\n"
	})
	p, at, r := s.pool(t)
	for range 2 { // one that is used, and another one
		c, err := connect(t.Context(), p.to, at.address, at.proto)
		if err != nil {
			t.Fatal(err)
		}
		p.put(at, c)
	}
	if _, _, err := p.exchange(t.Context(), Client{Proto: 2}, at, append(command("PING"), command("BAD")...), nil, 2); !errors.Is(err, errReply) {
		t.Errorf("got %v", err)
	}
	if n := p.waiting(at); n != 0 || r.looks.Load() != 1 {
		t.Errorf("%d connections wait, want 0; the topology is looked at %d times, want 1", n, r.looks.Load())
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

// A connection whose deadline is moved to the past because its caller has left is given to nobody else.
func TestDeadlineOfACallerWhoHasLeft(t *testing.T) {
	p, at := New(redisurl.Target{}, new(route)), place{"redis", 2}
	ctx, leave := context.WithCancel(t.Context())
	nc := &lateConn{leave: leave, passed: make(chan struct{})}
	p.put(at, &conn{nc: nc, r: bufio.NewReader(nc), w: bufio.NewWriter(nc)})
	out, _, err := p.exchange(ctx, Client{Proto: 2}, at, command("PING"), nil, 2)
	if string(out) != "+OK\r\n" || err != nil {
		t.Errorf("%q, %v", out, err)
	}
	if p.waiting(at) != 0 || !nc.closed.Load() {
		t.Error("the connection waits for the next caller")
	}
}

// mark is a connection that notes its deadline.
type mark struct {
	net.Conn
	past atomic.Bool
}

func (m *mark) SetDeadline(at time.Time) error { m.past.Store(at.Before(time.Now())); return nil }

// suspected is a node that does not answer, until it does.
type suspected struct {
	route
	answers atomic.Bool
	asked   atomic.Int64
}

func (s *suspected) Suspect(context.Context, string) error {
	if s.asked.Add(1); s.answers.Load() {
		return nil
	}
	return errors.New("unavailable")
}

// Exchanges are interrupted by their own time, by the end of their caller and by their node's absence, and not while a client is
// waited for.
func TestWatch(t *testing.T) {
	r := new(suspected)
	p := New(redisurl.Target{}, r)
	defer p.Close()
	ctx, leave := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		do   func(x *underWay)
		ends bool
		why  string
	}{
		"in time":                  {func(x *underWay) {}, false, ""},
		"too late":                 {func(x *underWay) { x.deadline = x.deadline.Add(-timeout - time.Second) }, true, ""},
		"too late, for its client": {func(x *underWay) { x.deadline = x.deadline.Add(-timeout - time.Second); x.deadline = time.Time{} }, false, ""},
		"for the next part":        {func(x *underWay) { x.deadline = time.Time{}; x.deadline = time.Now().Add(timeout) }, false, ""},
		"its caller has left":      {func(x *underWay) { x.ctx = ctx; leave() }, true, "context canceled"},
		"its node is away": {func(x *underWay) {
			x.w.away, x.w.why, x.began = time.Now().Add(-awayFor), errors.New("away"), time.Now().Add(-awayFor)
		}, true, "away"},
		"its node is away for a bit": {func(x *underWay) {
			x.w.away, x.w.why, x.began = time.Now().Add(-awayFor/2), errors.New("away"), time.Now().Add(-awayFor)
		}, false, ""},
		"new where the node was away": {func(x *underWay) { x.w.away, x.w.why = time.Now().Add(-time.Hour), errors.New("away") }, false, ""},
	} {
		x, _ := p.watch(t.Context(), name)
		nc := new(mark)
		x.use(nc)
		x.w.mu.Lock()
		x.w.timer.Stop()
		c.do(x)
		x.w.mu.Unlock()
		x.w.tick()
		x.w.tick() // it is interrupted once
		interrupted, why := x.done()
		if interrupted != c.ends || nc.past.Load() != c.ends || (why != nil || c.why != "") && fmt.Sprint(why) != c.why {
			t.Errorf("%s: %v, %v, deadline past: %v", name, interrupted, why, nc.past.Load())
		}
		x.w.mu.Lock()
		if x.w.timer.Stop(); x.w.first != nil || x.w.n != 0 {
			t.Errorf("%s: %d exchanges are left", name, x.w.n)
		}
		x.w.mu.Unlock()
	}

	// A node that takes long is asked, in the background.
	x, _ := p.watch(t.Context(), "node")
	nc := new(mark)
	x.use(nc)
	eventually.True(t, "the node is asked again and again", func() bool { return r.asked.Load() > 2 })
	r.answers.Store(true)
	eventually.True(t, "the node answers", func() bool { x.w.mu.Lock(); defer x.w.mu.Unlock(); return x.w.away.IsZero() })
	eventually.True(t, "the exchange ends, or not", func() bool { return time.Since(x.began) > awayFor+time.Second })
	if interrupted, why := x.done(); interrupted {
		t.Errorf("interrupted, though the node answers: %v", why)
	}
	eventually.True(t, "the watcher rests", func() bool { x.w.mu.Lock(); defer x.w.mu.Unlock(); return !x.w.ticking })
}

// No more than maxOpen connections lead to one node; more callers wait for one, each with his own context.
func TestMostConnections(t *testing.T) {
	hold := make(chan struct{})
	s := serve(t, func(string) string { <-hold; return "+OK\r\n" })
	p, at, _ := s.pool(t)
	const callers = maxOpen + 50
	var all sync.WaitGroup
	errs := make([]error, callers)
	for i := range callers {
		all.Go(func() { _, _, errs[i] = p.exchange(t.Context(), Client{Proto: 2}, at, command("PING"), nil, 2) })
	}
	eventually.True(t, "all connections are open", func() bool { return s.open.Load() >= maxOpen })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, _, err := p.exchange(ctx, Client{Proto: 2}, at, command("PING"), nil, 2); !errors.Is(err, context.DeadlineExceeded) {
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
	if n := p.waiting(at); n != int(opened) {
		t.Errorf("%d connections wait, want the %d that were opened", n, opened)
	}
	for range callers { // the next ones open none
		if _, _, err := p.exchange(t.Context(), Client{Proto: 2}, at, command("PING"), nil, 2); err != nil {
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
	if n := p.waiting(at); n != 10 {
		t.Errorf("%d connections are left, want 10", n)
	}
	p.Close()
	if p.reaper.Stop() {
		t.Error("the reaper is still to come")
	}
}
