package redis

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
)

// connections returns how many connections of the store's client a server has.
func connections(t *testing.T, server *redistest.Server) int {
	t.Helper()
	list, err := server.Do(t, "CLIENT", "LIST").ToString()
	if err != nil {
		t.Fatal(err)
	}
	return strings.Count(list, " name=nearside ")
}

// becomesDirect reads until reads are sent directly.
func becomesDirect(t *testing.T, s *Store) {
	t.Helper()
	eventually.True(t, "a read that is sent directly", func() bool {
		s.Get(t.Context(), "user:1", false)
		_, ok := s.getDirect(t.Context(), s.guards.For("user:1"), "user:1", false)
		return ok
	})
}

// A single read that is sent directly is answered as one that is sent over the shared connection.
func TestDirectReads(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL())
	if n := connections(t, server); n != 1 {
		t.Fatalf("got %d connections before the first read, want 1", n)
	}
	becomesDirect(t, s)
	if n := connections(t, server); n != 1+health.MostDirect {
		t.Errorf("got %d connections, want %d", n, 1+health.MostDirect)
	}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for key, value := range map[string]string{"text": "a\r\nb\x00c", "empty": "", "large": string(large)} {
		server.Do(t, "SET", key, value)
		server.Do(t, "SET", key+":ttl", value, "PX", "60000")
	}
	server.Do(t, "RPUSH", "list", "a")
	g := s.guards.For("text")
	for _, key := range []string{"text", "empty", "large", "text:ttl", "empty:ttl", "large:ttl", "none"} {
		for _, ttl := range []bool{false, true} {
			want := get(t.Context(), g, s.c, health.Ordinary, key, ttl)
			var got store.Item
			eventually.True(t, "an answer", func() bool { // on a busy machine a large value may take longer than the budget
				it, ok := s.getDirect(t.Context(), g, key, ttl)
				if got = it; !ok {
					s.Get(t.Context(), key, ttl)
				}
				return ok && it.Err == nil
			})
			if !bytes.Equal(got.Value, want.Value) || got.Found != want.Found || (got.TTL-want.TTL).Abs() > 10*time.Second {
				t.Errorf("%s, ttl %v: got %d bytes, %v, %v, want %d, %v, %v", key, ttl, len(got.Value), got.Found, got.TTL, len(want.Value), want.Found, want.TTL)
			}
		}
	}
	becomesDirect(t, s)
	for _, ttl := range []bool{false, true} {
		if it, ok := s.getDirect(t.Context(), g, "list", ttl); ok {
			t.Errorf("a list, ttl %v: got %v, want it to be read over the shared connection", ttl, it)
		}
	}
	if n := connections(t, server); n != 1+health.MostDirect {
		t.Errorf("got %d connections after the error about a list, want %d", n, 1+health.MostDirect)
	}
}

// A read is sent over the shared connection while many commands are in flight, and in the short pauses of such a load.
func TestDirectReadsAreFew(t *testing.T) {
	s := opened(t, redistest.Start(t).URL())
	becomesDirect(t, s)
	g := s.guards.For("user:1")
	enter := func(n int) (leave func()) {
		var began []health.Moment
		for range n {
			at, err := g.Enter(t.Context(), health.Ordinary, health.Read)
			if err != nil {
				t.Fatal(err)
			}
			began = append(began, at)
		}
		return func() {
			for _, at := range began {
				g.Leave(health.Ordinary, at, nil)
			}
		}
	}
	leave := enter(health.MostDirect - 1)
	at, ok := g.EnterDirect()
	if !ok {
		t.Fatal("a read is not sent directly, although few commands are in flight")
	}
	g.LeaveDirect(at, nil, false)
	leave()
	leave = enter(health.MostDirect)
	if _, ok := g.EnterDirect(); ok {
		t.Error("a read is sent directly while many commands are in flight on the shared connection")
	}
	leave()
	if _, ok := g.EnterDirect(); ok {
		t.Error("a read is sent directly in the first pause of a load")
	}
	becomesDirect(t, s)
	var entered []health.Moment
	for range health.MostDirect {
		at, ok := g.EnterDirect()
		if !ok {
			t.Fatal("a read is not sent directly, although no command is in flight")
		}
		entered = append(entered, at)
	}
	if _, ok := g.EnterDirect(); ok {
		t.Errorf("more than %d reads are sent directly", health.MostDirect)
	}
	for _, at := range entered {
		g.LeaveDirect(at, nil, false)
	}
	becomesDirect(t, s)
}

// Connections that the server closes cost no read, and are made again behind the callers.
func TestDirectConnectionsAreLost(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL())
	server.Do(t, "SET", "user:1", "x")
	for range 3 {
		becomesDirect(t, s)
		server.Do(t, "CLIENT", "KILL", "TYPE", "normal")
		var callers sync.WaitGroup
		for range 2 * health.MostDirect {
			callers.Go(func() {
				eventually.Within(t, time.Second, "an answer", func() bool { return string(s.Get(t.Context(), "user:1", false).Value) == "x" })
			})
		}
		callers.Wait()
	}
	becomesDirect(t, s)
	eventually.True(t, "all connections", func() bool { return connections(t, server) == 1+health.MostDirect })
}

// A server that hangs costs a read that is sent directly its budget, and counts as one that has failed.
func TestDirectReadOfAHungServer(t *testing.T) {
	server := redistest.Start(t)
	s := opened(t, server.URL())
	becomesDirect(t, s)
	server.Pause()
	defer server.Continue()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	began := time.Now()
	it, ok := s.getDirect(ctx, s.guards.For("user:1"), "user:1", true)
	if took := time.Since(began); !ok || it.Err == nil || took < s.distance.Patience() {
		t.Errorf("got %v, %v after %v", it, ok, took)
	}
	eventually.True(t, "a breaker that is open", func() bool { return s.Get(ctx, "user:1", true).Err != nil && s.Refuses("user:1") != nil })
	server.Continue()
	eventually.True(t, "an answer", func() bool { it := s.Get(t.Context(), "user:1", true); return it.Err == nil })
	becomesDirect(t, s)
}

// switching is a proxy whose connections stay where they lead, when new ones are led elsewhere.
type switching struct {
	net.Listener
	to atomic.Pointer[string]
}

func switchingProxy(t *testing.T, to string) *switching {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &switching{Listener: ln}
	p.to.Store(&to)
	var running sync.WaitGroup
	running.Go(func() {
		for {
			near, err := ln.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", *p.to.Load())
			if err != nil {
				near.Close()
				continue
			}
			for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
				running.Go(func() {
					io.Copy(way[1], way[0])
					near.Close()
					far.Close()
				})
			}
		}
	})
	t.Cleanup(func() { ln.Close(); running.Wait() })
	return p
}

// kill ends the connections of a server's clients that have sent a command, or have not.
func kill(t *testing.T, server *redistest.Server, which func(line string) bool) (n int) {
	t.Helper()
	list, err := server.Do(t, "CLIENT", "LIST").ToString()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(list) {
		if id, _, _ := strings.Cut(strings.TrimPrefix(strings.TrimPrefix(line, "txt:"), "id="), " "); strings.Contains(line, " name=nearside ") && which(line) {
			server.Do(t, "CLIENT", "KILL", "ID", id)
			n++
		}
	}
	return n
}

const directPause = 100 * time.Millisecond // between two attempts to make the connections

// A read never asks another server than the one that has the writes, although the address leads to another one by now.
func TestDirectReadsAskTheServerOfTheWrites(t *testing.T) {
	single := func(line string) bool {
		return strings.Contains(line, " cmd=get ") || strings.Contains(line, " cmd=info ")
	}
	for _, c := range []struct {
		name string
		lost func(line string) bool // the connections that end, when the address leads elsewhere
	}{
		{"the shared connection is made anew", func(line string) bool { return !single(line) }},
		{"those for single reads are made anew", single},
	} {
		t.Run(c.name, func(t *testing.T) {
			a, b := redistest.Start(t), redistest.Start(t)
			p := switchingProxy(t, a.Addr)
			s := opened(t, "redis://"+p.Addr().String())
			a.Do(t, "SET", "user:1", "old")
			b.Do(t, "SET", "user:1", "old")
			becomesDirect(t, s)
			p.to.Store(&b.Addr)
			eventually.True(t, "the end of a connection", func() bool {
				s.getDirect(t.Context(), s.guards.For("user:1"), "user:1", false) // so that GET is their last command
				return kill(t, a, c.lost) > 0
			})
			began := time.Now()
			for i := 0; time.Since(began) < 10*directPause; i++ {
				value := fmt.Sprint("new ", i)
				eventually.True(t, "a write", func() bool {
					return s.Put(t.Context(), []store.Put{{Key: "user:1", Value: []byte(value), TTL: time.Minute}}, 0)[0].Err == nil
				})
				for range 5 {
					if it := s.Get(t.Context(), "user:1", false); it.Err == nil && string(it.Value) != value {
						t.Fatalf("got %q, want %q", it.Value, value)
					}
				}
			}
		})
	}
}
