package cli

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// The one endpoint stands before a cluster as it does before a single server: keys of all nodes in one command, where Redis
// alone would answer CROSSSLOT.
func TestServeOnACluster(t *testing.T) {
	cluster := redistest.SharedCluster(t)
	cluster.FlushAll(t)
	config := write(t, "n.yaml", "redis: "+cluster.URL()+"\nallow: [keys, scan, flushall, script|load, evalsha]"+userOnly)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	const margaret = `{"id":42,"name":"Margaret Hamilton"}`
	bulk := func(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
	c := dialRaw(t, r.redis)
	c3 := dialRaw(t, r.redis)
	c3.ask(t, "HELLO", "3")
	all := func(conn *raw, list [][2]string) {
		t.Helper()
		for _, e := range list {
			if got := conn.expect(t, len(e[1]), strings.Fields(e[0])...); got != e[1] {
				t.Errorf("%s:\n got  %q\n want %q", e[0], got, e[1])
			}
		}
	}
	all(c, [][2]string{
		// Declared keys of all nodes, and others among them.
		{"EXISTS user:1 user:2 user:3 user:4 user:5", ":0\r\n"},
		{"GET user:42", bulk(margaret)},
		{"TTL {user:42}x", ":-2\r\n"},
		{"STRLEN user:42", fmt.Sprintf(":%d\r\n", len(margaret))},
		{"MSET a 1 b 2 c 3 d 4", "+OK\r\n"},
		{"MGET d none user:42 a user:abc c b", "*7\r\n" + bulk("4") + "$-1\r\n" + bulk(margaret) + bulk("1") + "$-1\r\n" + bulk("3") + bulk("2")},
		{"EXISTS a b c d a none user:42", ":6\r\n"},
		{"TOUCH a b none", ":2\r\n"},
		{"DEL a b none user:42", ":3\r\n"},
		{"UNLINK c d", ":2\r\n"},
		{"EXISTS user:42", ":0\r\n"},

		// SINTER of sets on several nodes, in the order of the first; an empty one, one that is none, one of another type.
		{"SADD s1 x y z", ":3\r\n"}, {"SADD s2 z y", ":2\r\n"}, {"SADD s3 z", ":1\r\n"}, {"SET text 1", "+OK\r\n"},
		{"SINTER s1 s2 s3", "*1\r\n" + bulk("z")}, {"SINTER s1 none", "*0\r\n"},
		{"SINTER s1 text", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"},
		{"SUNION s1 s2", "-CROSSSLOT Keys in request don't hash to the same slot\r\n"},
		{"RENAME s1 s2", "-CROSSSLOT Keys in request don't hash to the same slot\r\n"},

		// Transactions within a slot.
		{"MULTI", "+OK\r\n"}, {"SET {t}a 1", "+QUEUED\r\n"}, {"INCR {t}a", "+QUEUED\r\n"}, {"EXEC", "*2\r\n+OK\r\n:2\r\n"},
		{"MULTI", "+OK\r\n"}, {"SET a 1", "+QUEUED\r\n"}, {"SET b 1", "-CROSSSLOT Keys in request don't hash to the same slot: a cluster has transactions within one slot alone\r\n"},
		{"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"}, {"EXISTS a", ":0\r\n"},
		{"MULTI", "+OK\r\n"}, {"PING", "+QUEUED\r\n"}, {"EXEC", "*1\r\n+PONG\r\n"},

		// What has no key goes to all nodes, where Redis says so, and is refused where one node's answer means nothing.
		{"DBSIZE", ":8\r\n"}, {"PUBLISH ch m", ":0\r\n"},
		{"SCAN 0", "-ERR 'SCAN' is refused: it speaks of one node, and this is a cluster: connect to the node itself\r\n"},
		{"CLUSTER INFO", "-ERR This instance has cluster support disabled\r\n"},
	})
	all(c3, [][2]string{{"SINTER s1 s2 s3", "~1\r\n" + bulk("z")}, {"MGET none user:0", "*2\r\n_\r\n_\r\n"}, {"GET none", "_\r\n"}})

	if keys := c.ask(t, "KEYS", "*"); !strings.HasPrefix(keys, "*9\r\n") {
		t.Errorf("KEYS: %q, want the five of all nodes, a remembered absence, and the marker of each master", keys)
	}
	sha := strings.Split(c.ask(t, "SCRIPT", "LOAD", "return KEYS[1]"), "\r\n")[1]
	for _, key := range []string{"a", "b", "c"} {
		if got := c.ask(t, "EVALSHA", sha, "1", key); got != bulk(key) {
			t.Errorf("a script that was loaded: %q", got)
		}
	}
	// One declared MGET over all nodes.
	many := []string{"MGET"}
	for i := range 300 {
		many = append(many, fmt.Sprintf("user:%d", i+1))
	}
	for range 2 {
		if got := c.ask(t, many...); strings.Count(got, `{"id":`) != 300 {
			t.Errorf("MGET of 300: %d rows", strings.Count(got, `{"id":`))
		}
	}
	all(c, [][2]string{{"FLUSHALL", "+OK\r\n"}, {"DBSIZE", ":0\r\n"}})
}

// While slots move, commands about other keys are sent on to where they are.
func TestPassFollowsSlots(t *testing.T) {
	cluster := redistest.StartCluster(t, 2, 0)
	config := write(t, "n.yaml", "redis: "+cluster.URL()+userOnly)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	ctx, stop := context.WithCancel(t.Context())
	var clients sync.WaitGroup
	counts := make([]int, 4)
	for g := range counts {
		c := dialRaw(t, r.redis)
		clients.Go(func() {
			for i := 0; ctx.Err() == nil && !t.Failed(); i++ {
				key := fmt.Sprintf("n%d:%d", g, i%500)
				if got := c.ask(t, "INCR", key); !strings.HasPrefix(got, ":") {
					t.Errorf("INCR %s: %q", key, got)
				}
				if got := c.ask(t, "MGET", key, "user:42", fmt.Sprintf("n%d:%d", g, i*7%500)); !strings.HasPrefix(got, "*3\r\n$") {
					t.Errorf("MGET: %q", got)
				}
				counts[g]++
			}
		})
	}
	a, b := cluster.Nodes[0], cluster.Nodes[1]
	for range 2 {
		cluster.Reshard(t, a, b, 2000)
		cluster.Reshard(t, b, a, 2000)
	}
	stop()
	clients.Wait()
	// Nothing was lost, and nothing was done twice.
	c := dialRaw(t, r.redis)
	for g, n := range counts {
		sum := 0
		for i := range min(n, 500) {
			var v int
			fmt.Sscanf(strings.Split(c.ask(t, "GET", fmt.Sprintf("n%d:%d", g, i)), "\r\n")[1], "%d", &v)
			sum += v
		}
		if sum != n {
			t.Errorf("client %d: the counters make %d, want %d", g, sum, n)
		}
	}
	t.Logf("%v increments", counts)
}

// serve follows the master that the sentinels name, for declared and for other keys.
func TestServeBySentinels(t *testing.T) {
	sentinels := redistest.StartSentinels(t)
	config := write(t, "n.yaml", "redis: "+sentinels.URL()+userOnly)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	c := dialRaw(t, r.redis)
	c.ask(t, "SET", "other", "1")
	c.ask(t, "GET", "user:42")
	old := sentinels.Master(t)
	sentinels.Failover(t)
	eventually.True(t, "the new master", func() bool {
		return c.ask(t, "SET", "other", "2") == "+OK\r\n" && c.ask(t, "DEL", "user:42") == ":0\r\n" || sentinels.Master(t) == old
	})
	eventually.True(t, "a hit on the new master", func() bool {
		c.ask(t, "GET", "user:42")
		n, _ := sentinels.Master(t).Do(t, "EXISTS", "user:42").AsInt64()
		return n == 1
	})
	if v, _ := sentinels.Master(t).Do(t, "GET", "other").ToString(); v != "2" {
		t.Errorf("the new master has %q, want 2", v)
	}
}

// TLS, certificates and a user of few rights: what is missing is named in the log and on /healthz.
func TestServeOnTLS(t *testing.T) {
	server := redistest.StartTLS(t, slices.Concat([]string{"--user", "app", "on", ">s3cret", "+command", "+incr"}, redistest.Rights, []string{"resetkeys", "~user:*", "~n*"})...)
	config := write(t, "n.yaml", "redis: '"+strings.Replace(server.URL(), "://", "://app:s3cret@", 1)+"'"+userOnly)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	c := dialRaw(t, r.redis)
	if got := c.ask(t, "INCR", "n"); got != ":1\r\n" {
		t.Errorf("passed on: %q", got)
	}
	if got := c.ask(t, "GET", "user:42"); !strings.Contains(got, "Margaret") {
		t.Errorf("read from the loader: %q", got)
	}
	const grant = "ACL SETUSER app ~{user:*}:~?"
	resp, body := r.get(t, "GET", "/healthz")
	if resp.StatusCode != http.StatusOK || !strings.Contains(body, `"status":"degraded"`) || !strings.Contains(body, grant) || strings.Contains(body, "s3cret") {
		t.Errorf("/healthz: %d %s", resp.StatusCode, body)
	}
	if log := r.err.String(); strings.Count(log, grant) != 1 {
		t.Errorf("the log, want %q once:\n%s", grant, log)
	}
	server.ACLSetUser(t, "app", "~{user:*}:~?")
	c.ask(t, "GET", "user:42")
	c.ask(t, "TTL", "user:42") // waits until it is stored
	if n, _ := server.Do(t, "EXISTS", "user:42").AsInt64(); n != 1 {
		t.Error("the command that grants it does not help")
	}
}
