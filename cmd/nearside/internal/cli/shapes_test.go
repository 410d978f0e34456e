package cli

import (
	"context"
	"fmt"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// database makes a SQLite file of these statements.
func database(t *testing.T, statements ...string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	db, err := source.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range statements {
		if _, err := db.Exec(text); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
	}
	return "sqlite:" + path
}

const shapesConfig = `
redis: %s
database: %s
caches:
  l: {key: "l:{id}", params: {id: int}, shape: list, load: "SELECT x FROM l WHERE id = {id} ORDER BY at DESC"}
  s: {key: "s:{id}", params: {id: int}, shape: set, load: "SELECT x FROM s WHERE id = {id}"}
  z: {key: "z:{id}", params: {id: int}, shape: sorted_set, load: "SELECT x AS member, points AS score FROM z WHERE id = {id}"}
  h: {key: "h:{id}", params: {id: int}, shape: hash, load: "SELECT * FROM h WHERE id = {id}"}
  v: {key: "v:{id}", params: {id: int}, load: "SELECT 1 AS x WHERE {id} = {id}"}
`

var shapesTables = []string{
	"CREATE TABLE l (id INTEGER, at INTEGER, x TEXT)", "INSERT INTO l VALUES (1, 5, 'a'), (1, 4, 'b b'), (1, 3, ''), (1, 2, 'a'), (1, 1, 'é\"')",
	"CREATE TABLE s (id INTEGER, x ANY)", "INSERT INTO s VALUES (1, 'a'), (1, 'b'), (1, 'c'), (1, 7), (2, 'b'), (2, 'c'), (2, 'x'), (4, 'c'), (4, 'x')",
	"CREATE TABLE z (id INTEGER, x TEXT, points REAL)", "INSERT INTO z VALUES (1, 'a', 1), (1, 'b', 1), (1, 'c', 1.5), (1, 'd', -2), (1, 'e', 9e999), (1, 'f', 3), (1, 'g', -9e999)",
	"INSERT INTO z VALUES (2, 'a', 0), (2, 'b', 0), (2, 'c', 0), (2, 'd', 0), (2, 'e', 0)",
	"CREATE TABLE h (id INTEGER, name TEXT, price DECIMAL(9,2), none TEXT, at TIMESTAMP)", "INSERT INTO h VALUES (1, 'a cup', 12.25, NULL, '2024-02-29 13:14:15')",
}

// asKeys are the same rows as keys of a plain Redis.
var asKeys = [][]string{
	{"RPUSH", "l:1", "a", "b b", "", "a", "é\""}, {"SADD", "s:1", "a", "b", "c", "7"}, {"SADD", "s:2", "b", "c", "x"}, {"SADD", "s:4", "c", "x"},
	{"ZADD", "z:1", "1", "a", "1", "b", "1.5", "c", "-2", "d", "inf", "e", "3", "f", "-inf", "g"}, {"ZADD", "z:2", "0", "a", "0", "b", "0", "c", "0", "d", "0", "e"},
	{"HSET", "h:1", "id", "1", "name", "a cup", "price", "12.25", "at", "2024-02-29 13:14:15"}, {"SET", "v:1", `{"x":1}`},
}

// asked are the commands with their options and the mistakes that one can make. A '_' is an empty argument.
var asked = strings.Split(`LRANGE l:1 0 -1|LRANGE l:1 1 2|LRANGE l:1 -2 9|LRANGE l:1 3 1|LRANGE l:9 0 -1|LRANGE l:abc 0 -1|LRANGE l:1 x 1|LRANGE l:1 0 1.5|LRANGE l:1 01 1|LRANGE l:1 +1 1|LRANGE l:1 0|LRANGE l:1 0 9223372036854775808
LRANGE l:1 -9223372036854775808 9223372036854775807|LRANGE l:1 9223372036854775807 -9223372036854775808|LINDEX l:1 -9223372036854775808|ZRANGE z:1 -9223372036854775808 9223372036854775807|ZREVRANGE z:1 9223372036854775807 -1|ZRANGEBYSCORE z:1 0 9 LIMIT 9223372036854775807 9223372036854775807|ZRANGEBYSCORE z:1 0 9 LIMIT 1 9223372036854775807|ZCOUNT z:1 -1e400 1e400
LLEN l:1|LLEN l:9|LLEN|LLEN l:1 x|LINDEX l:1 0|LINDEX l:1 -1|LINDEX l:1 2|LINDEX l:1 9|LINDEX l:9 0|LINDEX l:1 x
SMEMBERS s:1|SMEMBERS s:9|SMEMBERS s:abc|SMEMBERS|SISMEMBER s:1 a|SISMEMBER s:1 7|SISMEMBER s:1 z|SISMEMBER s:9 a|SISMEMBER s:1|SMISMEMBER s:1 a z 7|SMISMEMBER s:9 a b|SMISMEMBER s:1|SCARD s:1|SCARD s:9
SINTER s:1|SINTER s:1 s:2|SINTER s:1 s:2 s:4|SINTER s:1 s:9|SINTER s:1 s:1|SINTER s:9 s:8|SINTER s:abc s:1|SINTER
SSCAN s:1 0|SSCAN s:1 0 MATCH [ab] COUNT 100|SSCAN s:1 0 match z*|SSCAN s:9 0|SSCAN s:1 x|SSCAN s:1|SSCAN s:1 0 COUNT 0|SSCAN s:1 0 COUNT x|SSCAN s:1 0 FOO|SSCAN s:1 0 MATCH
ZRANGE z:1 0 -1|ZRANGE z:1 0 -1 WITHSCORES|ZRANGE z:1 -2 -1 withscores|ZRANGE z:1 0 2 REV|ZRANGE z:1 0 2 REV WITHSCORES|ZRANGE z:1 5 2|ZRANGE z:9 0 -1|ZRANGE z:9 0 -1 WITHSCORES|ZRANGE z:abc 0 -1
ZRANGE z:1 -inf +inf BYSCORE|ZRANGE z:1 1 3 BYSCORE WITHSCORES|ZRANGE z:1 (1 (3 BYSCORE|ZRANGE z:1 3 1 BYSCORE REV|ZRANGE z:1 +inf -inf BYSCORE REV LIMIT 1 2 WITHSCORES|ZRANGE z:1 0 9 BYSCORE LIMIT 1 -1|ZRANGE z:1 0 9 BYSCORE LIMIT 0 0|ZRANGE z:1 0 9 BYSCORE LIMIT -1 5|ZRANGE z:1 3 1 BYSCORE
ZRANGE z:2 - + BYLEX|ZRANGE z:2 [b (d BYLEX|ZRANGE z:2 (b [d BYLEX LIMIT 1 1|ZRANGE z:2 [d [b BYLEX REV|ZRANGE z:2 + - REV BYLEX LIMIT 0 2|ZRANGE z:2 [b + BYLEX LIMIT 1 -3
ZRANGE z:1 0 -1 LIMIT 0 1|ZRANGE z:1 0 -1 LIMIT 0 -1|ZRANGE z:1 - + BYLEX WITHSCORES|ZRANGE z:1 0 -1 FOO|ZRANGE z:1 x 1|ZRANGE z:1 x 1 BYSCORE|ZRANGE z:1 1 nan BYSCORE|ZRANGE z:1 a b BYLEX|ZRANGE z:1 ++ - BYLEX|ZRANGE z:1 0 1 BYSCORE BYLEX|ZRANGE z:1 0 1 REV REV|ZRANGE z:1 0 1 BYSCORE LIMIT x 1|ZRANGE z:1 0 1 BYSCORE LIMIT 1|ZRANGE z:1 0|ZRANGE z:1 x y LIMIT 0 1
ZREVRANGE z:1 0 2|ZREVRANGE z:1 0 -1 WITHSCORES|ZREVRANGE z:1 0 1 REV|ZREVRANGE z:1 0 1 LIMIT 0 1|ZREVRANGE z:1 0 x|ZRANGEBYSCORE z:1 -inf (1.5 WITHSCORES|ZRANGEBYSCORE z:1 0 9 LIMIT 1 2|ZRANGEBYSCORE z:1 0 9 LIMIT 0 0|ZRANGEBYSCORE z:1 x 9|ZRANGEBYSCORE z:1 0 9 BYLEX|ZRANGEBYSCORE z:9 0 9|ZREVRANGEBYSCORE z:1 +inf (1|ZREVRANGEBYSCORE z:1 9 0 WITHSCORES LIMIT 1 2|ZREVRANGEBYSCORE z:1 0 9
ZSCORE z:1 c|ZSCORE z:1 e|ZSCORE z:1 none|ZSCORE z:9 c|ZSCORE z:1|ZMSCORE z:1 a none g|ZMSCORE z:9 a b|ZRANK z:1 a|ZRANK z:1 none|ZRANK z:9 a|ZREVRANK z:1 b|ZREVRANK z:1 e|ZREVRANK z:1 none|ZCARD z:1|ZCARD z:9|ZCOUNT z:1 -inf +inf|ZCOUNT z:1 (1 3|ZCOUNT z:1 5 1|ZCOUNT z:9 0 1|ZCOUNT z:1 x 1|ZCOUNT z:1 1|ZSCAN z:1 0|ZSCAN z:1 0 MATCH [ac]|ZSCAN z:9 0|ZSCAN z:1 x
HGET h:1 name|HGET h:1 none|HGET h:9 name|HGET h:1|HMGET h:1 name none price|HMGET h:9 a b|HMGET h:1|HGETALL h:1|HGETALL h:9|HGETALL h:abc|HLEN h:1|HLEN h:9|HKEYS h:1|HVALS h:1|HKEYS h:9|HEXISTS h:1 price|HEXISTS h:1 none|HEXISTS h:9 x|HSCAN h:1 0|HSCAN h:1 0 MATCH n*|HSCAN h:9 0|HSCAN h:1 x
GET l:1|STRLEN s:1|MGET v:1 z:1 h:9|LRANGE s:1 0 1|SMEMBERS l:1|ZRANGE h:1 0 -1|ZSCORE l:1 a|HGET z:1 a|HGETALL v:1|LLEN v:1|SINTER s:1 l:1|SINTER s:9 l:1|SSCAN h:1 0|SCARD z:1|ZRANGE l:1 0 9 BYSCORE LIMIT 0 0
TYPE l:1|TYPE s:1|TYPE z:1|TYPE h:1|TYPE z:9|EXISTS l:1 s:1 z:1 h:1 l:9|DEL l:1 s:9|LRANGE s:1 x y`, "\n")

// unordered are the commands whose replies have no order in Redis.
var unordered = []string{"SMEMBERS", "SINTER", "SSCAN"}

func sorted(reply string) string {
	lines := strings.Split(reply, "\r\n")
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// What a plain Redis answers about the same elements, serve answers too: byte by byte, in both versions of the protocol, by
// itself and in a transaction, loaded and stored.
func TestShapesAsRedis(t *testing.T) {
	reference := redistest.Start(t)
	store, cluster := redistest.Start(t), redistest.SharedCluster(t)
	shapes := database(t, shapesTables...)
	for name, url := range map[string]string{"memory": "'memory:'", "redis": store.URL(), "cluster": cluster.URL()} {
		for _, proto := range []string{"2", "3"} {
			t.Run(name+" RESP"+proto, func(t *testing.T) {
				store.Do(t, "FLUSHALL")
				cluster.FlushAll(t)
				reference.Do(t, "FLUSHALL")
				for _, args := range asKeys {
					reference.Do(t, args...)
				}
				r := start(t, serveCmd{Config: write(t, "n.yaml", fmt.Sprintf(shapesConfig, url, shapes))}, nil)
				want, got := dialRaw(t, reference.Addr), dialRaw(t, r.redis)
				both := func(args ...string) {
					t.Helper()
					w, g := want.ask(t, args...), got.ask(t, args...)
					if slices.Contains(unordered, args[0]) {
						w, g = sorted(w), sorted(g)
					}
					if g != w {
						t.Errorf("%q:\n got  %q\n want %q", args, g, w)
					}
				}
				for _, c := range []*raw{want, got} {
					c.ask(t, "HELLO", proto)
				}
				var commands [][]string
				for _, line := range asked {
					for _, text := range strings.Split(line, "|") {
						commands = append(commands, strings.Fields(text))
					}
				}
				for _, args := range commands {
					both(args...)
				}
				for _, args := range asKeys {
					reference.Do(t, args...) // what was deleted comes back
				}
				both("LRANGE", "l:1", "0", "-1")
				line := func(args ...string) {
					t.Helper()
					if w, g := want.expect(t, 0, args...), got.expect(t, 0, args...); g != w {
						t.Errorf("%q in a transaction:\n got  %q\n want %q", args, g, w)
					}
				}
				line("MULTI")
				for _, text := range []string{"LRANGE l:1 0 -1", "ZRANGE z:1 0 -1 WITHSCORES", "HGETALL h:1", "SISMEMBER s:1 a", "SINTER s:2 s:7", "ZSCORE z:1 none", "GET l:1", "ZRANGE z:1 0 1 FOO", "LINDEX l:1 0"} {
					line(strings.Fields(text)...)
				}
				both("EXEC")
				line("MULTI")
				line("LRANGE", "l:1")
				both("EXEC")

				// ZRANK has WITHSCORE since Redis 7.2.
				score := map[string]string{"2": "$3\r\n1.5\r\n", "3": ",1.5\r\n"}[proto]
				null := map[string]string{"2": "*-1\r\n", "3": "_\r\n"}[proto]
				for ask, want := range map[string]string{
					"ZRANK z:1 c WITHSCORE": "*2\r\n:4\r\n" + score, "ZREVRANK z:1 c withscore": "*2\r\n:2\r\n" + score, "ZRANK z:1 none WITHSCORE": null,
					"ZRANK z:1 c FOO": "-ERR syntax error\r\n", "ZRANK z:1 c WITHSCORE x": "-ERR wrong number of arguments for 'zrank' command\r\n",
				} {
					if g := got.ask(t, strings.Fields(ask)...); g != want {
						t.Errorf("%s: got %q, want %q", ask, g, want)
					}
				}
			})
		}
	}
	store.Invariants(t, "l:", "s:", "z:", "h:", "v:")
	cluster.Invariants(t, "l:", "s:", "z:", "h:", "v:")
}

// Writes are refused with what to do, commands about several keys too, and what is wrong with rows is told with its key.
func TestShapesRefuse(t *testing.T) {
	server := redistest.Start(t)
	shapes := database(t, append(slices.Clone(shapesTables), "INSERT INTO l VALUES (3, 1, NULL)", "INSERT INTO z VALUES (3, 'a', NULL)", "INSERT INTO h VALUES (3, 'x', 1, 1, 1), (3, 'y', 1, 1, 1), (4, NULL, 1, 1, 1)")...)
	const set = "read with SCARD, SISMEMBER, SMEMBERS, SMISMEMBER, SSCAN, SINTER, TTL, PTTL, EXISTS and TYPE, and loaded from the database by itself: write that, then DEL the key"
	for _, url := range []string{"'memory:'", server.URL()} {
		config := fmt.Sprintf(shapesConfig, url, shapes) + "  none: {key: \"none:{id}\", params: {id: int}, shape: list, load: \"SELECT x FROM s WHERE id = {id}\", max_rows: 3}\n"
		r := start(t, serveCmd{Config: write(t, "n.yaml", config)}, nil)
		c := dialRaw(t, r.redis)
		for ask, want := range map[string]string{
			"SADD s:1 x":      "-ERR 'sadd' is refused for \"s:1\", a key of a declared cache: it is " + set + "\r\n",
			"ZADD s:abc 1 x":  "-ERR 'zadd' is refused for \"s:abc\", a key of a declared cache: it is " + set + "\r\n",
			"LPUSH l:1 x":     "-ERR 'lpush' is refused for \"l:1\", a key of a declared cache: it is read with LINDEX, LLEN, LRANGE, TTL, PTTL, EXISTS and TYPE, and loaded from the database by itself: write that, then DEL the key\r\n",
			"HSET h:1 a b":    "-ERR 'hset' is refused for \"h:1\", a key of a declared cache: it is read with HEXISTS, HGET, HGETALL, HKEYS, HLEN, HMGET, HSCAN, HVALS, TTL, PTTL, EXISTS and TYPE, and loaded from the database by itself: write that, then DEL the key\r\n",
			"SUNION s:1 s:2":  "-ERR 'sunion' is refused for \"s:1\", a key of a declared cache: it is " + set + "\r\n",
			"SET s:1 x":       "-ERR \"s:1\": it is loaded from the database by itself: write that, then DEL the key\r\n",
			"LRANGE l:3 0 -1": "-ERR load \"l:3\": row 1: column \"x\": NULL is no element: leave it out with WHERE ... IS NOT NULL\r\n",
			"ZCARD z:3":       "-ERR load \"z:3\": row 1: column \"score\" of the member \"a\": NULL is no score: leave it out with WHERE ... IS NOT NULL, or say which it is with COALESCE\r\n",
			"HLEN h:3":        "-ERR load \"h:3\": two rows or more, and a hash is one: add LIMIT 1\r\n",
			"HKEYS h:4":       "*4\r\n$2\r\nid\r\n$5\r\nprice\r\n$4\r\nnone\r\n$2\r\nat\r\n",
			"LLEN none:1":     "-ERR load \"none:1\": more than 3 rows (max_rows): add a LIMIT\r\n",
			"LLEN none:2":     ":3\r\n",
		} {
			for range 2 { // nothing of it is remembered
				if got := c.ask(t, strings.Fields(ask)...); got != want {
					t.Errorf("%s, %s:\n got  %q\n want %q", url, ask, got, want)
				}
			}
		}
		if url != "'memory:'" {
			if got, want := c.ask(t, "SINTER", "s:1", "other"), "-ERR 'sinter' is refused for \"s:1\", a key of a declared cache: it is "+set+"\r\n"; got != want {
				t.Errorf("a mix: got %q, want %q", got, want)
			}
			if got := c.ask(t, "SADD", "other", "x"); got != ":1\r\n" {
				t.Errorf("another key: %q", got)
			}
			if got := c.ask(t, "SINTER", "other", "other"); got != "*1\r\n$1\r\nx\r\n" {
				t.Errorf("other keys: %q", got)
			}
		}
		if got := c.ask(t, "ZADD", "elsewhere", "1", "x"); url == "'memory:'" && !strings.HasPrefix(got, "-ERR 'zadd' is not answered on the embedded store") {
			t.Errorf("another key on the embedded store: %q", got)
		}
	}
}

// What is wrong with the columns is said at the start.
func TestShapesColumns(t *testing.T) {
	config := `database: ` + database(t, shapesTables...) + `
caches:
  l: {key: "l:{id}", shape: list, load: "SELECT id, x FROM l WHERE id = {id}"}
  z:
    key: z:{id}
    shape: sorted_set
    load: SELECT x, points FROM z WHERE id = {id}
`
	file := write(t, "n.yaml", config)
	var out buffer
	if status := Main([]string{"serve", "--check", "--config", file}, nil, &out, &out); status != 2 {
		t.Errorf("status %d", status)
	}
	for _, want := range []string{
		file + ":3: load: the cache l: found 2 columns (id, x), expected one column: the elements of a list",
		file + ":7: load: the cache z: found 2 columns (x, points), expected the columns member and score of a sorted set: name them with AS",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("got %s\nwant %s", out.String(), want)
		}
	}
}

// Changes are seen after a DEL; what another program left under a key is replaced; stale ones are served; absence is remembered.
func TestShapesLife(t *testing.T) {
	server := redistest.Start(t)
	r := start(t, serveCmd{Redis: server.URL(), Database: filled(t)}, nil)
	c := goredis.NewClient(&goredis.Options{Addr: r.redis, DialTimeout: eventually.Limit, ReadTimeout: eventually.Limit})
	defer c.Close()
	ctx := t.Context()
	server.Do(t, "SET", "friends:42", "hello")
	friends, err := c.SMembers(ctx, "friends:42").Result()
	if len(friends) == 0 || err != nil {
		t.Fatal(friends, err)
	}
	if typ, ttl := c.Type(ctx, "friends:42").Val(), c.TTL(ctx, "friends:42").Val(); typ != "set" || ttl < 8*time.Minute || ttl > 10*time.Minute {
		t.Errorf("%s for %v", typ, ttl)
	}
	if n, err := c.Del(ctx, "friends:42", "friends:100001").Result(); n != 1 || err != nil {
		t.Errorf("DEL: %d, %v", n, err)
	}
	if n := c.Exists(ctx, "friends:42").Val(); n != 0 {
		t.Error("it is still there")
	}
	top, err := c.ZRevRangeWithScores(ctx, "leaderboard:chess", 0, 9).Result()
	if len(top) != 10 || err != nil || !slices.IsSortedFunc(top, func(a, b goredis.Z) int { return int(b.Score - a.Score) }) {
		t.Errorf("the leaderboard: %v, %v", top, err)
	}
	plain, err := server.Do(t, "ZREVRANGE", "leaderboard:chess", "0", "0").AsStrSlice()
	if err != nil || len(plain) != 1 || plain[0] != top[0].Member {
		t.Errorf("in Redis: %v, %v", plain, err)
	}
	for range 2 {
		resp, body := r.get(t, "GET", "/v1/product/100001")
		if resp.StatusCode != 404 {
			t.Errorf("no product: %d %s", resp.StatusCode, body)
		}
	}
	server.Invariants(t, "friends:", "leaderboard:", "product:")

	// Redis may fail, reads do not.
	server.Kill()
	for _, game := range []string{"chess", "darts"} {
		if again, err := c.ZRevRangeWithScores(ctx, "leaderboard:"+game, 0, 9).Result(); err != nil || len(again) != 10 || game == "chess" && again[0] != top[0] {
			t.Errorf("without Redis: %v, %v", again, err)
		}
	}
	if err := c.Del(ctx, "friends:42").Err(); err == nil || !strings.HasPrefix(err.Error(), "ERR the cache could not be told: ") {
		t.Errorf("DEL without Redis: %v", err)
	}
}

func TestShapesHTTP(t *testing.T) {
	config := write(t, "n.yaml", fmt.Sprintf(shapesConfig, "'memory:'", database(t, shapesTables...)))
	r := start(t, serveCmd{Config: config}, nil)
	for _, c := range []struct {
		path   string
		status int
		want   string
	}{
		{"l/1", 200, `["a","b b","","a","é\""]`}, {"l/9", 200, `[]`}, {"s/1", 200, `["7","a","b","c"]`},
		{"z/1", 200, `[{"member":"e","score":"inf"},{"member":"f","score":3},{"member":"c","score":1.5},{"member":"b","score":1},{"member":"a","score":1},{"member":"d","score":-2},{"member":"g","score":"-inf"}]`},
		{"h/1", 200, `{"id":"1","name":"a cup","price":"12.25","at":"2024-02-29 13:14:15"}`}, {"h/9", 404, `{"error":"\"h:9\": not found"}`},
		{"l/abc", 404, `{"error":"l:{id}: {id} cannot be \"abc\": expected int"}`},
	} {
		resp, body := r.get(t, "GET", "/v1/"+c.path)
		if resp.StatusCode != c.status || strings.TrimSpace(body) != c.want {
			t.Errorf("%s: got %d %s, want %d %s", c.path, resp.StatusCode, body, c.status, c.want)
		}
		if c.status != 200 {
			continue
		}
		again, _ := r.get(t, "GET", "/v1/"+c.path, "If-None-Match", resp.Header.Get("ETag"))
		from := "store"
		if c.want == "[]" {
			from = "negative"
		}
		if again.StatusCode != 304 || resp.Header.Get("X-Cache") != "load" || again.Header.Get("X-Cache") != from {
			t.Errorf("%s: %s, and again %d %s", c.path, resp.Header.Get("X-Cache"), again.StatusCode, again.Header.Get("X-Cache"))
		}
	}
	for method, status := range map[string]int{"PUT": 405, "DELETE": 204} {
		if resp, body := r.get(t, method, "/v1/s/1", "Content-Type", "application/json"); resp.StatusCode != status {
			t.Errorf("%s: %d %s", method, resp.StatusCode, body)
		}
	}
	if resp, _ := r.get(t, "GET", "/v1/s/1"); resp.Header.Get("X-Cache") != "load" {
		t.Errorf("after DELETE: %s", resp.Header.Get("X-Cache"))
	}
}

// A million rows are on their way at any time by the chunk: the memory of the process stays as it is.
func TestShapesMillion(t *testing.T) {
	if testing.Short() {
		t.Skip("a million rows")
	}
	server := redistest.Start(t)
	const rows = 1_000_000
	shop := database(t, "CREATE TABLE big (x TEXT, n INTEGER)",
		fmt.Sprintf("WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c WHERE n < %d) INSERT INTO big SELECT 'member number ' || n, n FROM c", rows))
	config := fmt.Sprintf("redis: %s\ndatabase: %s\nload_timeout: 5m\ncaches:\n"+
		"  big: {key: big, shape: sorted_set, load: \"SELECT x AS member, n AS score FROM big\"}\n"+
		"  less: {key: less, shape: set, load: SELECT x FROM big, max_rows: 10000}\n", server.URL(), shop)
	r := start(t, serveCmd{Config: write(t, "n.yaml", config), HTTP: "off"}, nil)
	c := goredis.NewClient(&goredis.Options{Addr: r.redis, ReadTimeout: 5 * time.Minute})
	defer c.Close()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	before := inUse()
	most := make(chan uint64)
	go func() {
		var m uint64
		for ctx.Err() == nil {
			m = max(m, inUse())
			time.Sleep(20 * time.Millisecond)
		}
		most <- m
	}()
	begin := time.Now()
	n, err := c.ZCard(t.Context(), "big").Result()
	took := time.Since(begin)
	cancel()
	peak := <-most
	if n != rows || err != nil {
		t.Fatal(n, err)
	}
	t.Logf("%d rows in %v, memory in use %d KiB before, at most %d KiB", rows, took, before>>10, peak>>10)
	if peak > before+32<<20 { // their text alone is 20 MB, and as a list of elements they are 60
		t.Errorf("memory in use went from %d to %d KiB", before>>10, peak>>10)
	}
	if _, err := c.SCard(t.Context(), "less").Result(); err == nil || !strings.Contains(err.Error(), `load "less": more than 10000 rows (max_rows): add a LIMIT`) {
		t.Errorf("one row too many: %v", err)
	}
	if top, err := c.ZRangeArgs(t.Context(), goredis.ZRangeArgs{Key: "big", Start: 0, Stop: 0, Rev: true}).Result(); err != nil || top[0] != fmt.Sprint("member number ", rows) {
		t.Errorf("the first: %v, %v", top, err)
	}
	server.Invariants(t, "big", "less")
}

// inUse is what the process holds, garbage left out.
func inUse() uint64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
