package upstream

import (
	"crypto/sha1"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// Commands about keys of several nodes are taken apart, and their replies are put together, as the server says.
func TestPassInACluster(t *testing.T) {
	cluster := redistest.SharedCluster(t)
	cluster.FlushAll(t)
	p, r := clustered(t, cluster)
	list := func(parts ...string) string { return fmt.Sprintf("*%d\r\n", len(parts)) + strings.Join(parts, "") }
	if slotOf("a") == slotOf("b") || r.address(uint16(slotOf("a"))) == r.address(uint16(slotOf("b"))) {
		t.Fatal("the keys a and b are of one node")
	}
	for _, c := range []struct {
		proto         int
		command, want string
	}{
		{2, "SET a 1", "+OK\r\n"}, {2, "GET a", bulk("1")}, {2, "GET none", "$-1\r\n"}, {3, "GET none", "_\r\n"},
		{2, "MSET a 1 b 2 c 3 {a}x 4", "+OK\r\n"}, {2, "MGET c none {a}x b a c", list(bulk("3"), "$-1\r\n", bulk("4"), bulk("2"), bulk("1"), bulk("3"))},
		{3, "MGET none b none", list("_\r\n", bulk("2"), "_\r\n")}, {2, "EXISTS a b a none", ":3\r\n"}, {2, "DEL a none b", ":2\r\n"}, {2, "TOUCH c {a}x", ":2\r\n"}, {2, "DBSIZE", ":2\r\n"},
		{2, "RPUSH l x", ":1\r\n"}, {2, "MGET c l", list(bulk("3"), "$-1\r\n")}, {2, "MSETNX c 1 d 1", "-CROSSSLOT Keys in request don't hash to the same slot\r\n"},
		{2, "SADD s1 x y z", ":3\r\n"}, {2, "SADD s2 z y", ":2\r\n"}, {2, "SADD s3 z", ":1\r\n"},
		{2, "SINTER s1 s2 s3", list(bulk("z"))}, {3, "SINTER s3 s1 s2", "~1\r\n" + bulk("z")}, {2, "SINTER s1 none", "*0\r\n"},
		{2, "SINTER s1 l", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"},
		{2, "SCAN 0", "-ERR 'SCAN' is refused: it speaks of one node, and this is a cluster: connect to the node itself\r\n"},
		{2, "SCRIPT KILL", "-NOTBUSY No scripts in execution right now.\r\n"}, {2, "PING", "+PONG\r\n"},
	} {
		got, err := p.pass(t, Client{Proto: c.proto}, c.command)
		if got != c.want || err != nil {
			t.Errorf("%s: %q, %v, want %q", c.command, got, err, c.want)
		}
	}
	keys, err := p.pass(t, Client{}, "KEYS *")
	if !strings.HasPrefix(keys, "*6\r\n") || strings.Count(keys, "$") != 6 || err != nil {
		t.Errorf("KEYS: %q, %v", keys, err)
	}
	sha, err := p.pass(t, Client{}, "SCRIPT LOAD return")
	if hash := strings.Split(sha, "\r\n")[1]; err != nil {
		t.Error(err)
	} else {
		cluster.Master(t, "a").Do(t, "SCRIPT", "LOAD", "return 1") // at one node alone
		one := fmt.Sprintf("%x", sha1.Sum([]byte("return 1")))
		if got, err := p.pass(t, Client{}, "SCRIPT EXISTS "+hash+" "+one); got != "*2\r\n:1\r\n:0\r\n" || err != nil {
			t.Errorf("SCRIPT EXISTS: %q, %v", got, err)
		}
	}
	if _, err := p.pass(t, Client{}, "FLUSHALL"); err != nil {
		t.Error(err)
	}
	if got, err := p.pass(t, Client{}, "DBSIZE"); got != ":0\r\n" || err != nil {
		t.Errorf("after FLUSHALL: %q, %v", got, err)
	}
	if n := r.looks.Load(); n != 0 {
		t.Errorf("%d looks at the topology, whose route was right", n)
	}
	if got := p.Slot([][]byte{[]byte("a"), []byte("{a}x")}); got != slotOf("a") {
		t.Errorf("slot %d, want %d", got, slotOf("a"))
	}
	if got := p.Slot([][]byte{[]byte("a"), []byte("b")}); got != Several {
		t.Errorf("slot %d, want Several", got)
	}
}

// Commands that a node sends elsewhere are carried out there, once, and the topology is looked at.
func TestMoved(t *testing.T) {
	cluster := redistest.SharedCluster(t)
	cluster.FlushAll(t)
	p, r := clustered(t, cluster)
	right := r.address
	r.address = func(slot uint16) string { // always another master
		i := slices.Index(r.masters, right(slot))
		return r.masters[(i+1)%len(r.masters)]
	}
	for i := range 10 {
		key := "n" + strconv.Itoa(i)
		if got, err := p.pass(t, Client{}, "INCR "+key); got != ":1\r\n" || err != nil {
			t.Errorf("INCR: %q, %v", got, err)
		}
		if n := r.looks.Load(); n != int64(i+1) {
			t.Fatalf("%d looks, want %d", n, i+1)
		}
	}
	if got, err := p.pass(t, Client{}, "MGET n0 n1 n2 n3 n4 n5 n6 n7 n8 n9"); got != "*10\r\n"+strings.Repeat(bulk("1"), 10) || err != nil {
		t.Errorf("MGET: %q, %v", got, err)
	}
	out, ends, err := p.Do(t.Context(), Client{Proto: 2}, slotOf("t"), [][][]byte{fields("MULTI"), fields("SET {t}a 1"), fields("INCR {t}a"), fields("EXEC")}, nil)
	if string(out) != "+OK\r\n+QUEUED\r\n+QUEUED\r\n*2\r\n+OK\r\n:2\r\n" || len(ends) != 4 || err != nil {
		t.Errorf("a transaction: %q, %v, %v", out, ends, err)
	}
	big := strings.Repeat("x", 1<<20)
	var got parts
	if _, err := p.pass(t, Client{}, "SET big "+big); err != nil {
		t.Error(err)
	}
	if rest, err := p.pass(t, Client{Take: got.take}, "GET big"); rest != "" || got.all.String() != bulk(big) || got.last != 1 || err != nil {
		t.Errorf("a large reply: %d bytes in %d parts, %v", got.all.Len(), got.n, err)
	}
}

// While a slot moves from one node to another, its keys are found where they are.
func TestMovingSlot(t *testing.T) {
	cluster := redistest.StartCluster(t, 2, 0)
	p, r := clustered(t, cluster)
	slot := slotOf("{t}")
	from, to := cluster.Master(t, "{t}"), cluster.Nodes[0]
	if from == to {
		to = cluster.Nodes[1]
	}
	id := func(s *redistest.Server) string {
		text, err := s.Do(t, "CLUSTER", "MYID").ToString()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	at := strconv.Itoa(slot)
	pass := func(command, want string) {
		t.Helper()
		if got, err := p.pass(t, Client{}, command); got != want || err != nil {
			t.Errorf("%s: %q, %v, want %q", command, got, err, want)
		}
	}
	pass("MSET {t}a 1 {t}b 2", "+OK\r\n")
	to.Do(t, "CLUSTER", "SETSLOT", at, "IMPORTING", id(from))
	from.Do(t, "CLUSTER", "SETSLOT", at, "MIGRATING", id(to))
	host, port, _ := strings.Cut(to.Addr, ":")
	from.Do(t, "MIGRATE", host, port, "{t}a", "0", "5000")

	// What is still there is answered by the old node, what has moved or is new by the other one, after ASKING.
	pass("GET {t}b", bulk("2"))
	pass("GET {t}a", bulk("1"))
	pass("INCR {t}a", ":2\r\n")
	pass("SET {t}new 5", "+OK\r\n")
	if n := r.looks.Load(); n != 3 {
		t.Errorf("%d looks, want one for each command that was sent on", n)
	}
	if got, err := from.Do(t, "CLUSTER", "COUNTKEYSINSLOT", at).AsInt64(); got != 1 || err != nil {
		t.Errorf("%d keys at the old node, %v", got, err)
	}
	big := strings.Repeat("x", 1<<20)
	pass("SET {t}big "+big, "+OK\r\n")
	var got parts
	if rest, err := p.pass(t, Client{Take: got.take}, "GET {t}big"); rest != "" || got.all.String() != bulk(big) || err != nil {
		t.Errorf("a large reply: %d bytes in %d parts, %v", got.all.Len(), got.n, err)
	}

	// Commands that need all of it in one place wait until it is.
	block := make(chan string)
	for _, cmds := range [][][][]byte{{fields("MULTI"), fields("GET {t}a"), fields("EXEC")}, {fields("MGET {t}a {t}b")}} {
		go func() {
			out, ends, err := p.Do(t.Context(), Client{Proto: 2}, slot, cmds, nil)
			if err != nil || len(ends) != len(cmds) {
				block <- fmt.Sprint(ends, err)
				return
			}
			block <- string(out)
		}()
	}
	looks := r.looks.Load()
	eventually.True(t, "both have been sent elsewhere", func() bool { return r.looks.Load() > looks+1 })
	from.Do(t, "MIGRATE", host, port, "{t}b", "0", "5000")
	to.Do(t, "CLUSTER", "SETSLOT", at, "NODE", id(to))
	from.Do(t, "CLUSTER", "SETSLOT", at, "NODE", id(to))
	for range 2 {
		switch got := <-block; got {
		case "+OK\r\n+QUEUED\r\n*1\r\n" + bulk("2"), "*2\r\n" + bulk("2") + bulk("2"):
		default:
			t.Errorf("after the move: %q", got)
		}
	}
}

// Nodes that send a command to each other for ever are left at last, and the client is told what the last one said.
func TestEndlessRedirection(t *testing.T) {
	for _, word := range []string{"MOVED 1", "ASK 1", "TRYAGAIN"} {
		var asked, asking atomic.Int64
		var reply string
		s := serve(t, func(cmd string) string {
			if cmd == "ASKING" {
				asking.Add(1)
				return "+OK\r\n"
			}
			asked.Add(1)
			return reply
		})
		address := s.Addr().String()
		if reply = "-" + word + " " + address + "\r\n"; word == "TRYAGAIN" {
			reply = "-TRYAGAIN\r\n"
		}
		p, r := newPool(t, redisurl.Target{Mode: redisurl.Cluster, Network: "tcp"})
		r.masters = []string{address}
		out, ends, err := p.Do(t.Context(), Client{Proto: 2}, 1, [][][]byte{fields("GET k")}, []byte("before"))
		if string(out) != "before"+reply || len(ends) != 1 || ends[0] != len(out) || err != nil {
			t.Errorf("%s: %q, %v, %v", word, out, ends, err)
		}
		if word == "ASK 1" { // a block is not split over two nodes
			before := asking.Load()
			if _, _, err := p.Do(t.Context(), Client{Proto: 2}, 1, [][][]byte{fields("MULTI"), fields("EXEC")}, nil); err != nil || asking.Load() != before {
				t.Errorf("a block: ASKING %d times, %v", asking.Load()-before, err)
			}
			asked.Store(maxHops)
			r.looks.Store(maxHops - 1)
		}
		wantAsking := map[string]int64{"ASK 1": maxHops - 1}[word]
		if asked.Load() != maxHops || asking.Load() != wantAsking || r.looks.Load() != maxHops-1 {
			t.Errorf("%s: asked %d times, ASKING %d times, %d looks", word, asked.Load(), asking.Load(), r.looks.Load())
		}
	}
	// What is no cluster is not obeyed.
	s := serve(t, func(string) string { return "-MOVED 1 127.0.0.1:1\r\n" })
	p, _, r := s.pool(t)
	if out, _, err := p.Do(t.Context(), Client{Proto: 2}, Anywhere, [][][]byte{fields("GET k")}, nil); string(out) != "-MOVED 1 127.0.0.1:1\r\n" || err != nil || r.looks.Load() != 0 {
		t.Errorf("a single server: %q, %v", out, err)
	}
}

// Without a node for its slot a command fails. If one node of several does not answer, the command about all of them fails.
func TestNodesThatAreMissing(t *testing.T) {
	s := serve(t, func(string) string { return ":1\r\n" })
	p, r := newPool(t, redisurl.Target{Mode: redisurl.Cluster, Network: "tcp"})
	r.address = func(uint16) string { return "" }
	for _, slot := range []int{Anywhere, 1} {
		if _, _, err := p.Do(t.Context(), Client{Proto: 2}, slot, [][][]byte{fields("GET k")}, nil); !errors.Is(err, errNobody) {
			t.Errorf("slot %d: %v", slot, err)
		}
	}
	closed := serve(t, nil)
	closed.Close()
	r.masters = []string{s.Addr().String(), closed.Addr().String()}
	r.address = func(slot uint16) string { return r.masters[slot%2] }
	cmds := [][][]byte{fields("DEL a"), fields("DEL b")}
	began := time.Now()
	if _, err := p.Each(t.Context(), Client{Proto: 2}, cmds, []int{0, 1}); err == nil || !strings.Contains(err.Error(), closed.Addr().String()) || time.Since(began) > timeout/2 {
		t.Errorf("Each: after %v: %v", time.Since(began), err)
	}
	if replies, err := p.Each(t.Context(), Client{Proto: 2}, cmds, []int{0, 2}); err != nil || len(replies) != 2 || string(replies[1]) != ":1\r\n" {
		t.Errorf("Each of a node that answers: %q, %v", replies, err)
	}
	if _, err := p.Pass(t.Context(), Client{Proto: 2}, Command{request: "all_shards", response: "agg_sum"}, fields("DBSIZE"), nil, nil); err == nil {
		t.Error("a sum without one of its nodes")
	}
}

// Replies that do not fit their command are refused.
func TestCombine(t *testing.T) {
	for _, c := range []struct{ how, replies, want string }{ // want is "" where they do not fit
		{"agg_sum", ":1\r\n:2\r\n", ":3\r\n"}, {"agg_sum", ":1\r\n+OK\r\n", ""},
		{"agg_logical_and", "*2\r\n:1\r\n:1\r\n*2\r\n:0\r\n:1\r\n", "*2\r\n:0\r\n:1\r\n"}, {"agg_logical_and", "*2\r\n:1\r\n:1\r\n*1\r\n:1\r\n", ""}, {"agg_logical_and", "*1\r\n:1\r\n*2\r\n:1\r\n:1\r\n", ""}, {"agg_logical_and", "*1\r\n:1\r\n*1\r\n+a\r\n", ""},
		{"one_succeeded", "-NOTBUSY\r\n+OK\r\n", "+OK\r\n"}, {"one_succeeded", "-NOTBUSY\r\n-NOTBUSY\r\n", "-NOTBUSY\r\n"}, {"all_succeeded", "+OK\r\n+OK\r\n", "+OK\r\n"},
		{"", "*1\r\n+a\r\n*2\r\n+b\r\n+c\r\n", "*3\r\n+a\r\n+b\r\n+c\r\n"}, {"", "~1\r\n+a\r\n~1\r\n+b\r\n", "~2\r\n+a\r\n+b\r\n"}, {"", "+OK\r\n*0\r\n", "+OK\r\n"},
	} {
		var replies []resp.Reply
		for rest := []byte(c.replies); len(rest) > 0; {
			r, after, err := resp.Cut(rest)
			if err != nil {
				t.Fatal(err)
			}
			replies, rest = append(replies, r), after
		}
		out, err := combine(c.how, replies, []byte("before"))
		if c.want == "" && !errors.Is(err, resp.ErrReply) || c.want != "" && (string(out) != "before"+c.want || err != nil) {
			t.Errorf("%s of %q: %q, %v, want %q", c.how, c.replies, out, err, c.want)
		}
	}
	s := serve(t, func(string) string { return "*0\r\n" })
	p, r := newPool(t, redisurl.Target{Mode: redisurl.Cluster, Network: "tcp"})
	r.masters = []string{s.Addr().String()}
	cmd := Command{first: 1, step: 1, request: "multi_shard"}
	args := fields("MGET a b c")
	if out, err := p.Pass(t.Context(), Client{Proto: 2}, cmd, args, args[1:], nil); !errors.Is(err, resp.ErrReply) {
		t.Errorf("MGET with too few elements: %q, %v", out, err)
	}
}
