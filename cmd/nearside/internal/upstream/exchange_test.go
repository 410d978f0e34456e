package upstream

import (
	"bufio"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/internal/redistest"
)

// parts collects what Take is given.
type parts struct {
	all     strings.Builder
	n, last int // parts, and those that ended a reply
	largest int
}

func (p *parts) take(b []byte, last bool) {
	p.all.Write(b)
	p.largest = max(p.largest, len(b))
	p.n++
	if last {
		p.last++
	}
}

// Large replies of a real server are passed in parts, and small ones as a whole.
func TestLargeReplies(t *testing.T) {
	redis := redistest.Shared(t)
	redis.FlushAll(t)
	for _, proto := range []int{2, 3} {
		p, _ := newPool(t, target(t, redis.URL()))
		big := strings.Repeat("0123456789abcdef", 5<<16)
		do := func(to Client, cmds ...string) (string, []int) {
			t.Helper()
			to.Proto = proto
			list := make([][][]byte, len(cmds))
			for i, c := range cmds {
				list[i] = fields(c)
			}
			out, ends, err := p.Do(t.Context(), to, Anywhere, list, []byte("before"))
			if err != nil {
				t.Fatal(err)
			}
			reply, ok := strings.CutPrefix(string(out), "before")
			if !ok {
				t.Fatalf("what was there is lost: %.20q", out)
			}
			return reply, ends
		}
		do(Client{}, "SET big "+big)
		do(Client{}, "DEL hash")
		do(Client{}, "HSET hash a "+big)
		header := map[int]string{2: "*2\r\n", 3: "%1\r\n"}[proto]
		for _, c := range []struct {
			cmds []string
			want string // of the last command
		}{
			{[]string{"GET big"}, bulk(big)},
			{[]string{"HGETALL hash"}, header + bulk("a") + bulk(big)},
			{[]string{"MULTI", "GET big", "INCR n", "DEL n", "EXEC"}, "*3\r\n" + bulk(big) + ":1\r\n:1\r\n"},
			{[]string{"EVAL return{err='" + big + "'} 0"}, "-" + big + "\r\n"},
		} {
			var got parts
			if rest, ends := do(Client{Take: got.take}, c.cmds...); rest != "" || ends != nil || got.all.String() != c.want || got.last != 1 || got.n < 10 || got.largest > 160<<10 {
				t.Errorf("%.40s: %d bytes in %d parts of at most %d bytes, %d ends, and %d bytes besides", c.cmds[0], got.all.Len(), got.n, got.largest, got.last, len(rest))
			}
			rest, ends := do(Client{}, c.cmds...)
			if n := len(ends); n != len(c.cmds) || ends[n-1] != len("before"+rest) || !strings.HasSuffix(rest, c.want) {
				t.Errorf("%.40s: collected %d bytes, %v", c.cmds[0], len(rest), ends)
			}
		}
		var got parts
		if rest, _ := do(Client{Take: got.take}, "GET none"); got.n != 0 || rest != map[int]string{2: "$-1\r\n", 3: "_\r\n"}[proto] {
			t.Errorf("a small reply: %q, and %d parts", rest, got.n)
		}
		if got, _ := do(Client{}, "PING"); got != "+PONG\r\n" || p.idleAt(place{redis.Addr, proto}) != 1 {
			t.Errorf("after all: %q, %d connections", got, p.idleAt(place{redis.Addr, proto}))
		}

		// Stream gives all replies away, each with its end.
		var all parts
		taken, cut, err := p.Stream(t.Context(), Client{Proto: proto, Take: all.take}, [][][]byte{fields("GET big"), fields("PING"), fields("GET big")})
		if taken != 3 || cut || err != nil || all.last != 3 || all.all.String() != bulk(big)+"+PONG\r\n"+bulk(big) {
			t.Errorf("Stream: %d taken, cut: %v, %v, %d ends, %d bytes", taken, cut, err, all.last, all.all.Len())
		}
	}
}

// A reply that cannot be used ends its connection, and no other one. The node is not suspected for it.
func TestBrokenReplies(t *testing.T) {
	var reply string
	s := serve(t, func(cmd string) string {
		if cmd == "BAD" {
			return reply
		}
		return "+OK\r\n"
	})
	p, at, r := s.pool(t)
	for _, c := range []struct {
		reply string
		why   error
	}{
		{"no reply\r\n", resp.ErrReply}, {"+OK\n", resp.ErrReply}, {"$-2\r\n", resp.ErrReply}, {"$3\r\nabcd\r\n", resp.ErrReply}, {"$536870913\r\n", resp.ErrReply},
		{"*99999999999999999999\r\n", resp.ErrReply}, {"*2\r\n:1\r\nx\r\n", resp.ErrReply}, {strings.Repeat("*1\r\n", 100), resp.ErrReply}, {strings.Repeat("x", 1<<20) + "\n", resp.ErrReply},
		{"$500000000\r\n", resp.ErrTooLarge}, {"*2\r\n" + bulk(strings.Repeat("x", 40<<20)) + bulk(strings.Repeat("x", 40<<20)), resp.ErrTooLarge},
		{bulk(strings.Repeat("x", 3<<20)), resp.ErrNoMemory},
	} {
		reply = c.reply
		for _, cmds := range [][][][]byte{{fields("BAD")}, {fields("PING"), fields("BAD"), fields("PING")}} {
			p.fill(t, at, 3-p.idleAt(at))
			others := p.age(at, 0)[:2]
			held := int64(0)
			out, ends, err := p.exchange(t.Context(), Client{Hold: func(n int64) bool { held += n; return held <= 2<<20 || !errors.Is(c.why, resp.ErrNoMemory) }}, at, cmds, []byte("before"), len(cmds))
			if !errors.Is(err, c.why) || string(out) != "before" || ends != nil {
				t.Errorf("%.20q: %.20q, %v, %v, want %v", c.reply, out, ends, err, c.why)
			}
			if !slices.Equal(p.age(at, 0), others) || r.looks.Load() != 0 {
				t.Errorf("%.20q: %d connections wait, want the other 2; %d looks, want 0", c.reply, p.idleAt(at), r.looks.Load())
			}
		}
		if !errors.Is(c.why, resp.ErrReply) {
			continue // it is neither too large nor too much if it is given away in parts
		}
		var got parts
		reply = "*2\r\n" + bulk(strings.Repeat("x", 1<<20)) + c.reply
		out, _, err := p.Do(t.Context(), Client{Proto: 2, Take: got.take}, Anywhere, [][][]byte{fields("BAD")}, nil)
		if !errors.Is(err, ErrCut) || !errors.Is(err, resp.ErrReply) || got.n == 0 || got.last != 0 || len(out) > 0 {
			t.Errorf("%.20q in parts: %d bytes, %v, %d parts, %d ends", c.reply, len(out), err, got.n, got.last)
		}
	}
	if got, err := p.ask(t.Context(), at, "PING"); got != "+OK\r\n" || err != nil {
		t.Errorf("after all: %q, %v", got, err)
	}
}

// A server that ends a connection without a reply costs all connections that lead there, and the topology is looked at.
func TestServerThatHangsUp(t *testing.T) {
	reply := ""
	s := serve(t, func(cmd string) string {
		if cmd == "BAD" {
			return reply
		}
		return "+OK\r\n"
	})
	p, at, r := s.pool(t)
	for i, c := range []struct {
		reply       string
		cut         bool // a part of it was taken
		taken, cmds int
	}{{hangUp, false, 0, 1}, {"+O" + hangUp, false, 0, 1}, {"$5\r\nab" + hangUp, false, 0, 1}, {"+OK\r\n" + hangUp, false, 1, 3}, {bulk(strings.Repeat("x", 1<<20))[:1<<19] + hangUp, true, 0, 2}} {
		reply = c.reply
		cmds := slices.Repeat([][][]byte{fields("BAD")}, c.cmds)
		p.fill(t, at, 3)
		var got parts
		taken, cut, err := p.Stream(t.Context(), Client{Proto: 2, Take: got.take}, cmds)
		if err == nil || !strings.Contains(err.Error(), "Redis at "+at.address+": it closed the connection") && !strings.Contains(err.Error(), "EOF") || cut != c.cut || taken != c.taken {
			t.Errorf("%.20q: %d taken, cut: %v, %v", c.reply, taken, cut, err)
		}
		if p.idleAt(at) != 0 || r.looks.Load() != int64(i+1) {
			t.Errorf("%.20q: %d connections wait, want 0; %d looks", c.reply, p.idleAt(at), r.looks.Load())
		}
	}
	reply = bulk(strings.Repeat("x", 1<<20))[:1<<19] + hangUp
	var got parts
	if _, _, err := p.Do(t.Context(), Client{Proto: 2, Take: got.take}, Anywhere, [][][]byte{fields("BAD")}, nil); !errors.Is(err, ErrCut) {
		t.Errorf("Do: %v", err)
	}
	s.Close()
	if _, err := p.ask(t.Context(), at, "PING"); err == nil || !strings.Contains(err.Error(), "refused") {
		t.Errorf("a node that is not there: %v", err)
	}
}

// The server's time passes while it is waited for, and not while a client takes a part.
func TestTimeOfASlowClient(t *testing.T) {
	s := serve(t, func(string) string { return bulk(strings.Repeat("x", 1<<20)) })
	p, at, _ := s.pool(t)
	runs := func() bool {
		w := p.watchers[at.address]
		w.mu.Lock()
		defer w.mu.Unlock()
		return !w.first.deadline.IsZero()
	}
	p.fill(t, at, 1)
	c := p.idle[at][0]
	c.r = bufio.NewReader(readerFunc(func(b []byte) (int, error) {
		if !runs() {
			t.Error("the server's time does not pass while it is waited for")
		}
		return c.nc.Read(b)
	}))
	n := 0
	take := func([]byte, bool) {
		if n++; runs() {
			t.Error("the server's time passes while the client is waited for")
		}
	}
	cmds := slices.Repeat([][][]byte{fields("GET big")}, 3)
	if _, _, err := p.exchange(t.Context(), Client{Take: take}, at, cmds, nil, 1); err != nil || n < 20 {
		t.Errorf("%d parts, %v", n, err)
	}
}

type readerFunc func(b []byte) (int, error)

func (f readerFunc) Read(b []byte) (int, error) { return f(b) }

// What the server pushes by itself is no reply.
func TestPushes(t *testing.T) {
	push := ">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n"
	s := serve(t, func(cmd string) string { return push + push + "+" + cmd + "\r\n" + push })
	p, at, _ := s.pool(t)
	out, ends, err := p.exchange(t.Context(), Client{}, at, [][][]byte{fields("A"), fields("B"), fields("C")}, nil, 1)
	if string(out) != "+A\r\n+B\r\n+C\r\n" || !slices.Equal(ends, []int{4, 8, 12}) || err != nil {
		t.Errorf("%q, %v, %v", out, ends, err)
	}
}

// Commands are sent while replies are read: a server that reads no further while its replies are not read does not hold both up.
func TestPipelineLargerThanBuffers(t *testing.T) {
	reply := bulk(strings.Repeat("x", 1<<20))
	s := serve(t, func(string) string { return reply })
	p, at, _ := s.pool(t)
	cmds := slices.Repeat([][][]byte{fields("ECHO " + strings.Repeat("x", 1<<20))}, 40)
	out, ends, err := p.exchange(t.Context(), Client{}, at, cmds, nil, len(cmds))
	if err != nil || len(ends) != len(cmds) || string(out) != strings.Repeat(reply, len(cmds)) {
		t.Errorf("%d replies, %d bytes, %v", len(ends), len(out), err)
	}
}

func BenchmarkExchange(b *testing.B) {
	redis := redistest.Shared(b)
	p, _ := newPool(b, target(b, redis.URL()))
	redis.Do(b, "SET", "k", strings.Repeat("x", 100))
	for _, n := range []int{1, 16} {
		b.Run(fmt.Sprintf("pipeline %d", n), func(b *testing.B) {
			cmds := slices.Repeat([][][]byte{fields("GET k")}, n)
			var out []byte
			b.ReportAllocs()
			for i := 0; i < b.N; i += n {
				var err error
				if out, _, err = p.exchange(b.Context(), Client{}, place{redis.Addr, 2}, cmds, out[:0], n); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
