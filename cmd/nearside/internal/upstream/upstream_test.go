package upstream

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

func TestMain(m *testing.M) {
	status := redistest.Main(m)
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// server is a Redis of a test. It answers each command, whose words are joined by spaces, with what reply returns, and ends the
// connection if that is hangUp. It counts the connections.
type server struct {
	net.Listener
	reply              func(command string) string
	open, most, opened atomic.Int64
}

const hangUp = "hang up"

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
	s.opened.Add(1)
	n := s.open.Add(1)
	defer s.open.Add(-1)
	for most := s.most.Load(); n > most && !s.most.CompareAndSwap(most, n); most = s.most.Load() {
	}
	r := bufio.NewReader(nc)
	for {
		cmd, err := resp.ReadReply(r, nil, nil, nil) // a command is written as an array
		if err != nil {
			return
		}
		var words []string
		for w := range resp.Reply(cmd).Elements() {
			words = append(words, string(w.Text()))
		}
		reply := s.reply(strings.Join(words, " "))
		text, end := strings.CutSuffix(reply, hangUp)
		nc.Write([]byte(text))
		if end {
			return
		}
	}
}

// pool returns a pool, where the server is, and the route of the pool.
func (s *server) pool(t *testing.T) (*Pool, place, *route) {
	p, r := newPool(t, redisurl.Target{Network: "tcp", Addresses: []string{s.Addr().String()}})
	return p, place{s.Addr().String(), 2}, r
}

func newPool(t testing.TB, to redisurl.Target) (*Pool, *route) {
	r := new(route)
	p := New(to, r)
	t.Cleanup(p.Close)
	return p, r
}

// route is what a test says of the nodes. It counts how often the topology is to be looked at.
type route struct {
	masters []string
	address func(slot uint16) string // the first master if nil
	why     error                    // of Reachable
	looks   atomic.Int64
}

func (r *route) Reachable(context.Context, int) error { return r.why }

func (r *route) Masters() []string { return r.masters }

func (r *route) Address(slot uint16) string {
	if r.address == nil {
		return r.masters[0]
	}
	return r.address(slot)
}

func (r *route) Suspect(context.Context, string) error { return nil }

func (r *route) LookSoon() { r.looks.Add(1) }

// idleAt returns how many connections wait for a command.
func (p *Pool) idleAt(at place) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.idle[at])
}

// fill opens n connections and has them wait.
func (p *Pool) fill(t *testing.T, at place, n int) {
	t.Helper()
	for range n {
		c, err := connect(t.Context(), p.to, at.address, at.proto)
		if err != nil {
			t.Fatal(err)
		}
		p.put(at, c)
	}
}

// ask sends one command, which is its words with spaces between them, and returns its reply.
func (p *Pool) ask(ctx context.Context, at place, command string) (string, error) {
	out, _, err := p.exchange(ctx, Client{Proto: at.proto}, at, [][][]byte{fields(command)}, nil, 1)
	return string(out), err
}

func fields(command string) [][]byte { return words(strings.Fields(command)...) }

// pass carries out a command as serve does.
func (p *Pool) pass(t *testing.T, to Client, command string) (string, error) {
	t.Helper()
	args := fields(command)
	cmd, known, err := p.Command(t.Context(), args)
	if !known || err != nil {
		t.Fatalf("%s: known: %v, %v", command, known, err)
	}
	keys, err := p.Keys(t.Context(), cmd, args)
	if err != nil {
		t.Fatalf("%s: %v", command, err)
	}
	to.Proto = cmp.Or(to.Proto, 2)
	out, err := p.Pass(t.Context(), to, cmd, args, keys, nil)
	return string(out), err
}

func bulk(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }

func target(t testing.TB, url string) redisurl.Target {
	t.Helper()
	to, err := redisurl.Parse(url)
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// clustered returns a pool of a cluster whose route is right.
func clustered(t *testing.T, c *redistest.Cluster) (*Pool, *route) {
	t.Helper()
	p, r := newPool(t, target(t, c.URL()))
	var at [1 << 14]string
	for _, s := range c.Masters(t) {
		r.masters = append(r.masters, s.Addr)
	}
	slots := c.Nodes[0].Do(t, "CLUSTER", "SLOTS")
	list, err := slots.ToArray()
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range list {
		parts, _ := e.ToArray()
		from, _ := parts[0].AsInt64()
		to, _ := parts[1].AsInt64()
		node, _ := parts[2].ToArray()
		host, _ := node[0].ToString()
		port, _ := node[1].AsInt64()
		for slot := from; slot <= to; slot++ {
			at[slot] = fmt.Sprintf("%s:%d", host, port)
		}
	}
	if slices.Contains(at[:], "") {
		t.Fatal("slots without a node")
	}
	r.address = func(slot uint16) string { return at[slot] }
	return p, r
}

func slotOf(key string) int { return int(topology.Slot(key)) }
