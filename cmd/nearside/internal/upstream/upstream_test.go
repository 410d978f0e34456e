package upstream

import (
	"bufio"
	"context"
	"errors"
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
