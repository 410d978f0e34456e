package cli

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"github.com/redis/rueidis"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

func python(t *testing.T, script string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	program := ""
	for _, p := range []string{"/usr/bin/python3", "python3"} { // Debian's has what apt installs, whatever comes first in PATH
		if program == "" && exec.CommandContext(ctx, p, "-c", "import redis").Run() == nil {
			program = p
		}
	}
	if program == "" {
		t.Fatal("Python has no client for Redis: apt-get install python3-redis")
	}
	out, err := exec.CommandContext(ctx, program, append([]string{"testdata/" + script}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

func port(t *testing.T, addr string) string {
	t.Helper()
	_, p, err := net.SplitHostPort(addr)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// oneOfEach are the shapes of the demo shop.
const oneOfEach = `  product: {key: "product:{id}", params: {id: int}, shape: hash, load: "SELECT id, name, price FROM products WHERE id = {id}"}
  friends: {key: "friends:{id}", params: {id: int}, shape: set, load: "SELECT friend_id FROM friendships WHERE user_id = {id}"}
  actions: {key: "actions:{id}", params: {id: int}, shape: list, load: "SELECT action FROM actions WHERE user_id = {id} ORDER BY at DESC LIMIT 50"}
  leaderboard: {key: "leaderboard:{game}", shape: sorted_set, load: "SELECT player AS member, points AS score FROM scores WHERE game = {game}"}
`

// The clients that applications use, each with plain reads, pipelines and transactions.
func TestClients(t *testing.T) {
	server := redistest.Start(t)
	config := write(t, "n.yaml", "redis: "+server.URL()+userOnly+oneOfEach)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	const margaret = `{"id":42,"name":"Margaret Hamilton"}`

	t.Run("redis-py", func(t *testing.T) {
		if got := python(t, "clients.py", port(t, r.redis)); got != "all good" {
			t.Error(got)
		}
	})
	for _, proto := range []int{2, 3} {
		t.Run(fmt.Sprintf("go-redis, RESP%d", proto), func(t *testing.T) {
			ctx := t.Context()
			c := goredis.NewClient(&goredis.Options{Addr: r.redis, Protocol: proto, DialTimeout: eventually.Limit, ReadTimeout: eventually.Limit})
			defer c.Close()
			if got, err := c.Get(ctx, "user:42").Result(); got != margaret || err != nil {
				t.Errorf("get: %q, %v", got, err)
			}
			if _, err := c.Get(ctx, "user:0").Result(); !errors.Is(err, goredis.Nil) {
				t.Errorf("an absent row: %v", err)
			}
			var get *goredis.StringCmd
			var incr *goredis.IntCmd
			if _, err := c.Pipelined(ctx, func(p goredis.Pipeliner) error {
				incr, get = p.Incr(ctx, fmt.Sprint("go:", proto)), p.Get(ctx, "user:42")
				return nil
			}); err != nil || incr.Val() != 1 || get.Val() != margaret {
				t.Errorf("a pipeline: %v, %v, %v", err, incr, get)
			}
			if _, err := c.TxPipelined(ctx, func(p goredis.Pipeliner) error { get = p.Get(ctx, "user:42"); p.TTL(ctx, "user:42"); return nil }); err != nil || get.Val() != margaret {
				t.Errorf("a transaction: %v, %v", err, get)
			}
			if m, err := c.HGetAll(ctx, "product:7").Result(); len(m) != 3 || m["id"] != "7" || err != nil {
				t.Errorf("a product: %v, %v", m, err)
			}
			top, err := c.ZRangeArgsWithScores(ctx, goredis.ZRangeArgs{Key: "leaderboard:go", Start: 0, Stop: 2, Rev: true}).Result()
			if err != nil || len(top) != 3 || top[0].Score < top[1].Score {
				t.Errorf("a leaderboard: %v, %v", top, err)
			}
			var friends *goredis.StringSliceCmd
			var rank *goredis.IntCmd
			if _, err := c.TxPipelined(ctx, func(p goredis.Pipeliner) error {
				friends, rank = p.SMembers(ctx, "friends:42"), p.ZRevRank(ctx, "leaderboard:go", top[0].Member.(string))
				return nil
			}); err != nil || len(friends.Val()) == 0 || rank.Val() != 0 {
				t.Errorf("a transaction about shapes: %v, %v, %v", err, friends, rank)
			}
			if m, err := c.HGetAll(ctx, "go:none").Result(); len(m) != 0 || err != nil {
				t.Errorf("hgetall: %v, %v", m, err)
			}
			c.ZAdd(ctx, "go:z", goredis.Z{Score: 1.5, Member: "m"})
			if f, err := c.ZScore(ctx, "go:z", "m").Result(); f != 1.5 || err != nil {
				t.Errorf("zscore: %v, %v", f, err)
			}
		})
	}
	t.Run("rueidis", func(t *testing.T) {
		ctx := t.Context()
		c := connectTo(t, r.redis)
		if got, err := c.Do(ctx, c.B().Get().Key("user:42").Build()).ToString(); got != margaret || err != nil {
			t.Errorf("get: %q, %v", got, err)
		}
		rs := c.DoMulti(ctx, c.B().Multi().Build(), c.B().Get().Key("user:42").Build(), c.B().Get().Key("user:0").Build(), c.B().Exec().Build())
		if list, err := rs[3].ToArray(); err != nil || len(list) != 2 || !list[1].IsNil() {
			t.Errorf("a transaction: %v, %v", list, err)
		}
		rs = c.DoMulti(ctx, c.B().Incr().Key("ru:n").Build(), c.B().Hset().Key("ru:h").FieldValue().FieldValue("f", "v").Build(), c.B().Hgetall().Key("ru:h").Build())
		if m, err := rs[2].AsStrMap(); m["f"] != "v" || err != nil {
			t.Errorf("hgetall: %v, %v", m, err)
		}
		if err := c.Do(ctx, rueidisTracking(c)).Error(); err == nil || !strings.Contains(err.Error(), "only ID, SETNAME, GETNAME and SETINFO") {
			t.Errorf("tracking: %v", err)
		}
	})
}

func rueidisTracking(c rueidis.Client) rueidis.Completed {
	return c.B().ClientTracking().On().Build()
}

// A program that caches by hand and one that uses the library share their keys in one Redis, in both directions; then the
// same program points at serve, and never misses.
func TestByHand(t *testing.T) {
	server := redistest.Start(t)
	shop := strings.TrimPrefix(filled(t), "sqlite:")
	db, err := sql.Open("sqlite", shop)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	client, err := nearside.Open(t.Context(), server.URL(), nearside.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	type user struct {
		ID   int64  `json:"id"`
		Name string `json:"name"`
	}
	loads := 0
	users := nearside.New(client, "user", nearside.Config[int64, user]{Load: func(ctx context.Context, id int64) (u user, err error) {
		loads++
		err = db.QueryRowContext(ctx, "SELECT id, name FROM users WHERE id = ?", id).Scan(&u.ID, &u.Name)
		return u, err
	}})
	if u, err := users.Get(t.Context(), 42); u.Name != "Margaret Hamilton" || err != nil {
		t.Fatal(u, err)
	}
	got := python(t, "by_hand.py", port(t, server.Addr), shop, "42", "43")
	if lines := strings.Split(got, "\n"); len(lines) != 2 || lines[0] != "redis Margaret Hamilton True" || !strings.HasPrefix(lines[1], "database ") || !strings.HasSuffix(lines[1], " True") {
		t.Errorf("by hand, behind the library: %q", got)
	}
	u, err := users.Get(t.Context(), 43) // what Python wrote
	if text, _ := json.Marshal(u); loads != 1 || err != nil || !strings.Contains(got, u.Name) {
		t.Errorf("the library, behind the program by hand: %s, %v, %d loads", text, err, loads)
	}
	config := write(t, "n.yaml", "redis: "+server.URL()+userOnly)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	got = python(t, "by_hand.py", port(t, r.redis), shop, "42", "1000", "1001", "1002")
	if strings.Count(got, "redis ") != 4 || strings.Contains(got, "database") || strings.Contains(got, "False") {
		t.Errorf("the same program on serve: %q", got)
	}
}
