package cli

import (
	"bufio"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
)

const userOnly = "\ncaches:\n  user: {key: \"user:{id}\", params: {id: int}, load: \"SELECT id, name FROM users WHERE id = {id}\"}\n"

// raw is a socket on which commands are written and whatever comes back is read as it is.
type raw struct {
	nc net.Conn
	r  *bufio.Reader
}

func dialRaw(t *testing.T, addr string) *raw {
	t.Helper()
	nc, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { nc.Close() })
	return &raw{nc, bufio.NewReader(nc)}
}

// ask sends a command and a marker behind it, and returns the bytes between.
func (r *raw) ask(t *testing.T, args ...string) string {
	t.Helper()
	const marker = "the end of it"
	var b strings.Builder
	for _, cmd := range [][]string{args, {"ECHO", marker}} {
		fmt.Fprintf(&b, "*%d\r\n", len(cmd))
		for _, a := range cmd {
			fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
		}
	}
	r.nc.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := r.nc.Write([]byte(b.String())); err != nil {
		t.Fatal(err)
	}
	var got strings.Builder
	end := fmt.Sprintf("$%d\r\n%s\r\n", len(marker), marker)
	for !strings.HasSuffix(got.String(), end) {
		c, err := r.r.ReadByte()
		if err != nil {
			t.Fatalf("%q: %v behind %q", args, err, got.String())
		}
		got.WriteByte(c)
	}
	return strings.TrimSuffix(got.String(), end)
}

// expect sends a command and returns the first bytes of the reply, a line of it at least.
func (r *raw) expect(t *testing.T, n int, args ...string) string {
	t.Helper()
	fmt.Fprintf(r.nc, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(r.nc, "$%d\r\n%s\r\n", len(a), a)
	}
	r.nc.SetDeadline(time.Now().Add(20 * time.Second))
	got, err := r.r.ReadString('\n')
	for len(got) < n && err == nil && !strings.HasPrefix(got, "-") {
		var c byte
		c, err = r.r.ReadByte()
		got += string(rune(c))
	}
	if err != nil {
		t.Fatalf("%q: %v behind %q", args, err, got)
	}
	return got
}

// What is passed on is answered with the very bytes of Redis, in both versions of the protocol.
func TestPassIsByteExact(t *testing.T) {
	server := redistest.Start(t)
	config := write(t, "n.yaml", "redis: "+server.URL()+"\nallow: [object, sort]"+userOnly)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	for _, proto := range []string{"2", "3"} {
		t.Run("RESP"+proto, func(t *testing.T) {
			direct, through := dialRaw(t, server.Addr), dialRaw(t, r.redis)
			for _, c := range []*raw{direct, through} {
				c.ask(t, "HELLO", proto)
			}
			// Each command runs on Redis by itself, and then on a copy of its state through serve.
			both := func(text string) {
				a := strings.Fields(strings.ReplaceAll(text, "@", "one:"))
				b := strings.Fields(strings.ReplaceAll(text, "@", "two:"))
				want, got := direct.ask(t, a...), through.ask(t, b...)
				if got = strings.ReplaceAll(got, "two:", "one:"); got != want {
					t.Errorf("%s:\n through serve %q\n from Redis    %q", text, got, want)
				}
			}
			server.Do(t, "FLUSHALL")
			for _, text := range passed {
				both(text)
			}
		})
	}
}

var passed = strings.Split(`SET @s OK|SET @n 41|GET @s|GET @none|INCR @n|INCRBYFLOAT @n 0.5|APPEND @s !|GETRANGE @s 0 1|SETRANGE @s 1 x|STRLEN @s|TYPE @s|SETNX @s 1|SET @s 1 XX GET|SET @s 1 NX|GETSET @s 2|GETDEL @s|MSET @a 1 @b 2|MGET @a @none @b|EXISTS @a @b @a @none|TTL @a|PEXPIRE @a 100000|PERSIST @a|DEL @a|UNLINK @b @none|SETBIT @bits 7 1|BITCOUNT @bits|GETBIT @bits 7|BITOP NOT @bits2 @bits|RPUSH @l a b c|LRANGE @l 0 -1|LPOP @l|LPOP @l 2|LPOP @l 2|LPOP @none|LPUSH @l 1 3 2|LINDEX @l 0|LINDEX @l 9|LPOS @l 3|SORT @l|LMPOP 1 @l LEFT COUNT 1|SADD @set x|SMEMBERS @set|SISMEMBER @set x|SMISMEMBER @set x y|SPOP @none|SINTERCARD 2 @set @none|SUNION @set @none|ZADD @z 1.5 m|ZADD @z INCR 1 m|ZRANGE @z 0 -1 WITHSCORES|ZSCORE @z m|ZSCORE @z none|ZMSCORE @z m none|ZRANK @z m|ZRANK @z none|ZPOPMIN @z|ZADD @z 1 a 2 b|ZUNION 2 @z @z WITHSCORES|ZRANGESTORE @z2 @z 0 -1|ZINTER 1 @z|HSET @h f v|HGET @h f|HGET @h none|HGETALL @h|HMGET @h f none|HINCRBYFLOAT @h g 1.25|HRANDFIELD @none|HSCAN @h 0|HGETALL @none|XADD @x 1-1 f v|XRANGE @x - +|XLEN @x|XREAD COUNT 1 STREAMS @x 0|XREAD COUNT 1 STREAMS @x 9|XINFO STREAM @x|XGROUP CREATE @x g 0|GEOADD @g 13.361389 38.115556 P|GEOPOS @g P none|GEODIST @g P P|PFADD @p a|PFCOUNT @p|OBJECT ENCODING @z|DUMP @none|RENAME @none @n|RENAME @n @m|COPY @m @n|LPUSH @s2 1|INCR @s2|HGET @h|LCS @m @n|PUBLISH chan msg|DBSIZE|EXPIRE @m abc`, "|")

// Other keys, a mix of both, what is refused, transactions, and a Redis that goes away.
func TestPass(t *testing.T) {
	server := redistest.Start(t)
	config := write(t, "n.yaml", "redis: "+server.URL()+"\nallow: [keys]"+userOnly)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	const margaret = `{"id":42,"name":"Margaret Hamilton"}`
	bulk := func(s string) string { return fmt.Sprintf("$%d\r\n%s\r\n", len(s), s) }
	c := dialRaw(t, r.redis)
	for _, e := range []struct{ ask, want string }{
		{"SET other 1", "+OK\r\n"}, {"GET other", bulk("1")}, {"INCR other", ":2\r\n"}, {"GET user:42", bulk(margaret)},
		{"MGET user:42 other none user:abc", "*4\r\n" + bulk(margaret) + bulk("2") + "$-1\r\n$-1\r\n"},
		{"EXISTS user:42 other other", ":3\r\n"}, {"DEL user:42 other none", ":2\r\n"}, {"GET other", "$-1\r\n"},
		{"KEYS [^n]*", "*0\r\n"}, // but for the markers of the data set

		{"WATCH a", "-ERR 'watch' is refused: transactions are sent as one here: there is nothing to watch\r\n"},
		{"SUBSCRIBE a", "-ERR 'subscribe' is refused: it holds its connection: connect to Redis itself for it\r\n"},
		{"BLPOP a 1", "-ERR 'blpop' is refused: it would wait, and it holds its connection: connect to Redis itself for it\r\n"},
		{"XREAD BLOCK 0 STREAMS a 0", "-ERR 'xread' is refused: it would wait, and it holds its connection: connect to Redis itself for it\r\n"},
		{"FLUSHALL", "-ERR 'flushall' is refused, since it is @dangerous: name it under 'allow:' in the configuration, or connect to Redis itself\r\n"},
		{"CONFIG GET *", "-ERR 'config' is refused, since it is @admin: name it under 'allow:' in the configuration, or connect to Redis itself\r\n"},
		{"CONFIG", "-ERR unknown command 'config'\r\n"}, {"DEBUG SLEEP 0", "-ERR 'debug' is refused, since it is @admin: name it under 'allow:' in the configuration, or connect to Redis itself\r\n"},
		{"ACL WHOAMI", bulk("default")}, {"OBJECT FREQ user:42", "-ERR 'object' is refused for \"user:42\", a key of a declared cache: it is read with GET, MGET, STRLEN, TTL, PTTL, EXISTS and TYPE, written with SET and invalidated with DEL\r\n"},
		{"EVAL x 0", "-ERR 'eval' is refused, since it is @scripting: name it under 'allow:' in the configuration, or connect to Redis itself\r\n"},
		{"SCAN 0", "-ERR 'scan' is refused, since it shows the layer's own keys: name it under 'allow:' in the configuration\r\n"},
		{"FROBNICATE a", "-ERR unknown command 'frobnicate'\r\n"},
		{"HGETALL user:42", "-WRONGTYPE Operation against a key holding the wrong kind of value\r\n"},
		{"HSET user:42 f v", "-ERR 'hset' is refused for \"user:42\", a key of a declared cache: it is read with GET, MGET, STRLEN, TTL, PTTL, EXISTS and TYPE, written with SET and invalidated with DEL\r\n"},
		{"RENAME a user:42", "-ERR 'rename' is refused for \"user:42\", a key of a declared cache: it is read with GET, MGET, STRLEN, TTL, PTTL, EXISTS and TYPE, written with SET and invalidated with DEL\r\n"},
		{"ZUNIONSTORE user:7 1 a", "-ERR 'zunionstore' is refused for \"user:7\", a key of a declared cache: it is read with GET, MGET, STRLEN, TTL, PTTL, EXISTS and TYPE, written with SET and invalidated with DEL\r\n"},
		{"GET {user:42}:~l", "-ERR bad key: \"{user:42}:~l\" ends as the layer's own keys do (\":~l\")\r\n"},
		{"SET nearside:x 1", "-ERR \"nearside:x\" is a key of the layer's own\r\n"},
		{"MSET a 1 {user:42}:~l x", "-ERR bad key: \"{user:42}:~l\" ends as the layer's own keys do (\":~l\")\r\n"},

		{"MULTI", "+OK\r\n"}, {"SET a 1", "+QUEUED\r\n"}, {"GET a", "+QUEUED\r\n"}, {"HSET h f v", "+QUEUED\r\n"}, {"HGETALL h", "+QUEUED\r\n"}, {"PING", "+QUEUED\r\n"},
		{"EXEC", "*5\r\n+OK\r\n" + bulk("1") + ":1\r\n*2\r\n" + bulk("f") + bulk("v") + "+PONG\r\n"},
		{"MULTI", "+OK\r\n"}, {"GET user:42", "+QUEUED\r\n"}, {"MGET user:42 user:0", "+QUEUED\r\n"}, {"EXEC", "*2\r\n" + bulk(margaret) + "*2\r\n" + bulk(margaret) + "$-1\r\n"},
		{"MULTI", "+OK\r\n"}, {"GET user:42", "+QUEUED\r\n"}, {"SET a 2", "-ERR a transaction of declared and of other keys is refused: send them as two, or as a pipeline\r\n"},
		{"EXEC", "-EXECABORT Transaction discarded because of previous errors.\r\n"}, {"GET a", bulk("1")},
		{"MULTI", "+OK\r\n"}, {"MULTI", "-ERR MULTI calls can not be nested\r\n"}, {"SELECT 1", "-ERR 'select' is not answered in a transaction\r\n"}, {"DISCARD", "+OK\r\n"}, {"EXEC", "-ERR EXEC without MULTI\r\n"},
		{"MULTI", "+OK\r\n"}, {"EXEC", "*0\r\n"}, {"DISCARD", "-ERR DISCARD without MULTI\r\n"},
	} {
		args := strings.Fields(e.ask)
		if got := c.expect(t, len(e.want), args...); got != e.want {
			t.Fatalf("%s:\n got  %q\n want %q", e.ask, got, e.want)
		}
	}

	// A pipeline of both kinds keeps its order.
	server.Do(t, "SET", "n", "7")
	if out, err := exec.Command("sh", "-c", fmt.Sprintf("printf 'GET user:42\\nGET n\\nGET user:0\\nINCR n\\nGET n\\n' | redis-cli -p %s", r.redis[strings.LastIndex(r.redis, ":")+1:])).Output(); err != nil ||
		string(out) != margaret+"\n7\n\n8\n8\n" {
		t.Errorf("a pipeline: %q, %v", out, err)
	}
	server.Kill()
	if got := c.ask(t, "INCR", "n"); !strings.HasPrefix(got, "-ERR Redis at "+server.Addr+": ") {
		t.Errorf("without Redis: %q", got)
	}
}

// A Redis that hangs costs commands about other keys what it costs reads: the first ones a little, and then nothing.
func TestPassWhileRedisHangs(t *testing.T) {
	server := redistest.Start(t)
	r := start(t, serveCmd{Config: write(t, "n.yaml", "redis: "+server.URL()+"\nallow: [eval]"+userOnly), Database: filled(t)}, nil)
	c := dialRaw(t, r.redis)
	if got := c.ask(t, "INCR", "n"); got != ":1\r\n" {
		t.Fatal(got)
	}
	if got := c.ask(t, "EVAL", "local x = 0 for i = 1, 2e6 do x = x + i end return 7", "0"); got != ":7\r\n" {
		t.Errorf("a command that takes a while: %q", got)
	}
	server.Pause()
	defer server.Continue()
	began := time.Now()
	if got := c.ask(t, "INCR", "n"); !strings.HasPrefix(got, "-ERR ") || !strings.Contains(got, "does not answer") {
		t.Errorf("the first command: %q", got)
	}
	if d := time.Since(began); d > 9*time.Second {
		t.Errorf("the first command took %v", d)
	}
	began = time.Now()
	for range 20 {
		if got := c.ask(t, "INCR", "n"); !strings.HasPrefix(got, "-ERR ") {
			t.Errorf("another command: %q", got)
		}
	}
	if d := time.Since(began); d > 4*time.Second {
		t.Errorf("20 more commands took %v", d)
	}
}
