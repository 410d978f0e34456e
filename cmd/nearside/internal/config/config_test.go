package config_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nearside/nearside/cmd/nearside/internal/config"
	"github.com/nearside/nearside/internal/store"
)

func none(string) string { return "" }

func parse(text string) (*config.Config, error) {
	return config.Parse("n.yaml", []byte(text), config.Inputs{Env: none})
}

const good = `redis: redis://localhost:6379
database: sqlite:shop.db
caches:
  user:
    key: user:{id}
    params: {id: int}
    load: SELECT 1 AS x WHERE 1 = {id}
    ttl: 90s
    stale: 10m
    jitter: 20%
    max_value: 64KiB
  orders: {key: "orders:{user}", rows: many, load: "SELECT 2 AS x WHERE 1 = {user}", ttl: 1m, max_rows: 20}
  top: {key: "top:{game}", shape: sorted_set, load: "SELECT 3 AS x WHERE 1 = {game}", ttl: 5m}
  last: {key: "last:{id}", shape: list, load: "SELECT 4 AS x WHERE 1 = {id}", not_found_ttl: 1s, max_rows: 50}
`

func TestGood(t *testing.T) {
	c, err := parse(good)
	if err != nil {
		t.Fatal(err)
	}
	u, o := c.Caches[0], c.Caches[1]
	if u.TTL != 90*time.Second || u.Stale != 10*time.Minute || u.Jitter != 0.2 || u.MaxValue != 64<<10 || u.NotFoundTTL != 30*time.Second || !u.Params[0].Int {
		t.Errorf("user: %+v", u)
	}
	if o.Rows != "many" || o.MaxRows != 20 || o.Params[0].Int {
		t.Errorf("orders: %+v", o)
	}
	if top, last := c.Caches[2], c.Caches[3]; top.Shape != store.SortedSet || top.NotFoundTTL != 5*time.Minute || top.MaxRows != 1_000_000 ||
		last.Shape != store.List || last.NotFoundTTL != time.Second || last.MaxRows != 50 || u.Shape != "" {
		t.Errorf("shapes: %+v, %+v", top, last)
	}
	if c.Listen != "127.0.0.1:6380" || c.Where("redis") != "n.yaml:1" || u.Where("load") != "n.yaml:7" || u.Where("hold") != "n.yaml:4" {
		t.Errorf("%+v", c)
	}
	if demo, err := config.Load(config.Inputs{Env: none}); err != nil || len(demo.Caches) != 6 {
		t.Errorf("the demo: %v, %v", demo, err)
	}
}

// Flags win over variables, these over the file.
func TestWhoWins(t *testing.T) {
	env := func(name string) string {
		return map[string]string{"NEARSIDE_LISTEN": "127.0.0.1:1", "NEARSIDE_HTTP": "127.0.0.1:2", "NEARSIDE_ALLOW": "scan, KEYS"}[name]
	}
	c, err := config.Parse("n.yaml", []byte("allow: [flushall]\nhttp: off\nlisten: 127.0.0.1:9\n"+good), config.Inputs{Env: env, Flags: map[string]string{"http": "127.0.0.1:3"}})
	if err != nil {
		t.Fatal(err)
	}
	if c.Listen != "127.0.0.1:1" || c.HTTP != "127.0.0.1:3" || c.Where("listen") != "NEARSIDE_LISTEN" || c.Where("http") != "--http" || strings.Join(c.Allow, " ") != "scan keys" {
		t.Errorf("%+v", c)
	}
}

// All that is wrong is said at once, in the order of the file.
func TestErrors(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"many", `listen: 6380
colour: red
tls: x
caches:
  user:
    key: user:{id}
    params: {id: number, nr: int}
    load: SELECT {name} AS x
    ttl: 1 fortnight
    form: hash
  users: {key: "user:{name}", lod: x}
  Bad Name: {key: "~x", load: SELECT 1}
  empty: {}
  quoted: {key: "q:{a}", load: "SELECT '{a}' AS x", jitter: 2, max_rows: -1, stale: -1s, rows: two, max_value: many}
`, `n.yaml:1: listen: found "6380", expected host:port such as 127.0.0.1:6380
n.yaml:2: found the unknown field "colour", expected one of allow, caches, database, http, http_max_age, listen, load_timeout, log_level, max_clients, memory, page_values, page_write, password, redis, replicas, tls_cert, tls_key
n.yaml:3: found the unknown field "tls", expected one of allow, caches, database, http, http_max_age, listen, load_timeout, log_level, max_clients, memory, page_values, page_write, password, redis, replicas, tls_cert, tls_key
n.yaml:7: the parameter id: found the type "number", expected int, uuid or text
n.yaml:7: params: found nr, which is no {nr} of the key user:{id}
n.yaml:8: load: found {name}, which is not in the key user:{id}
n.yaml:9: ttl: found "1 fortnight", expected a duration such as 90s, 15m or 1h
n.yaml:10: found the unknown field "form", expected one of hold, jitter, key, load, load_many, max_loads, max_rows, max_value, near, not_found_ttl, params, rows, shape, stale, store, ttl
n.yaml:11: found the unknown field "lod", expected "load"?
n.yaml:11: the cache users has no 'load', expected a SELECT
n.yaml:11: key: found user:{name}, which overlaps user:{id} of the cache user (n.yaml:6): one key would belong to both
n.yaml:12: found the cache name "Bad Name", expected a-z, 0-9, '_', '.' and '-', with a letter or digit first
n.yaml:12: key: found "~x": keys that begin with '~' or 'nearside:' are the layer's own
n.yaml:13: the cache empty has no 'key', expected one such as empty:{id}
n.yaml:13: the cache empty has no 'load', expected a SELECT
n.yaml:14: jitter: found "2", expected a share of the TTL such as 10% or 0.1
n.yaml:14: max_rows: found "-1", expected a number from 1 to 1000000000
n.yaml:14: stale: found "-1s", expected a duration from 0s to 100 years
n.yaml:14: rows: found "two", expected one or many
n.yaml:14: max_value: found "many", expected a size such as 1MiB
n.yaml:14: load: {a} stands inside quotes, where it would be text: write the parameter without quotes; if an array or a path of that name is meant, write '{"a"}'`},
		{"shapes", `caches:
  friends:
    key: friends:{id}
    shape: set
    load: SELECT friend FROM friends WHERE id = {id}
    rows: many
    near: 10000
    load_many: SELECT 1
    store: INSERT INTO friends VALUES ('{id}')
    max_value: 2MiB
  product: {key: "product:{id}", shape: hash, load: "SELECT 1 AS x WHERE 1 = {id}", max_rows: 10}
  tree: {key: "tree:{id}", shape: tree, load: "SELECT 1 AS x WHERE 1 = {id}"}
`, `n.yaml:6: rows: found it beside 'shape', expected it with plain values alone: each row is an element, and of a hash there is one
n.yaml:7: near: found it beside 'shape', expected it with plain values alone: they are read in Redis
n.yaml:8: load_many: found it beside 'shape', expected it with plain values alone: each is loaded by itself
n.yaml:9: store: found it beside 'shape', expected it with plain values alone: the database is written by its own programs, which then DEL the key
n.yaml:10: max_value: found it beside 'shape', expected it with plain values alone: max_rows bounds them
n.yaml:11: max_rows: found it beside 'shape: hash', expected none: a hash is one row
n.yaml:12: shape: found "tree", expected list, set, sorted_set or hash`},
		{"empty", "", "n.yaml:1: the file is empty, expected 'caches:'"},
		{"no caches", "http: off", "n.yaml:1: found no caches, expected at least one under 'caches:'"},
		{"a list", "- a\n- b", `n.yaml:1: the file: found a list, expected names and values such as 'ttl: 1h'`},
		{"half of TLS", "tls_key: k.pem\n" + good, "n.yaml:1: tls_key: found k.pem without a 'tls_cert', expected the file of its certificate"},
		{"no files of TLS", "tls_key: k.pem\ntls_cert: c.pem\n" + good, "n.yaml:2: tls_cert: open c.pem: no such file or directory: expected PEM files of a certificate and its key"},
		{"open to others", "listen: 0.0.0.0:6380\nhttp: :8080\n" + good, `n.yaml:1: listen: found 0.0.0.0:6380, which others can reach, expected a loopback address such as 127.0.0.1:6380, or a 'password'
n.yaml:2: http: found :8080, which others can reach, expected a loopback address such as 127.0.0.1:8080, 'off', or a 'password'`},
		{"no secrets", "redis: http://me:s3cret@h\ndatabase: postgres://me:s3cret@h\ncaches: {a: {key: a, load: SELECT 1}}", `n.yaml:1: redis: http://h: unknown scheme "http": expected redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path, redis://h1,h2,h3?cluster=true or redis-sentinel://h1,h2,h3/master-name
n.yaml:2: database: found "postgres://me:xxxxx@h": it names no database; expected sqlite:path, postgres://user:password@host/database or mysql://user:password@host/database`},
		{"the URL of Redis", "redis: redis://me:s3cret@h:port\n" + good[strings.Index(good, "database"):], "n.yaml:1: redis: the URL of Redis cannot be parsed: expected redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path, redis://h1,h2,h3?cluster=true or redis-sentinel://h1,h2,h3/master-name; special characters of a password are written as %XX"},
		{"a password without a host", "redis: redis://me:s3cret\n" + good[strings.Index(good, "database"):], "n.yaml:1: redis: the URL of Redis cannot be parsed: expected redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path, redis://h1,h2,h3?cluster=true or redis-sentinel://h1,h2,h3/master-name; special characters of a password are written as %XX"},
		{"ports", "listen: 127.0.0.1:99999999\nhttp: :65536\nredis: redis://127.0.0.1:99999999\ndatabase: mysql://u:s3cret@127.0.0.1:99999999/d\n" + good[strings.Index(good, "caches"):], `n.yaml:1: listen: found "127.0.0.1:99999999", expected host:port such as 127.0.0.1:6380
n.yaml:2: http: found ":65536", expected host:port such as 127.0.0.1:6380
n.yaml:3: redis: the URL of Redis has a port that is not from 1 to 65535: expected redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path, redis://h1,h2,h3?cluster=true or redis-sentinel://h1,h2,h3/master-name
n.yaml:4: database: found "mysql://u:xxxxx@127.0.0.1:99999999/d": its port is not from 1 to 65535; expected sqlite:path, postgres://user:password@host/database or mysql://user:password@host/database`},
		{"ports of many", "redis: redis://h:1,i:70000?cluster=true\ndatabase: postgres://u:s3cret@h:1,i:0/d\n" + good[strings.Index(good, "caches"):], `n.yaml:1: redis: the URL of Redis has a port that is not from 1 to 65535: expected redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path, redis://h1,h2,h3?cluster=true or redis-sentinel://h1,h2,h3/master-name
n.yaml:2: database: found "postgres://u:xxxxx@h:1,i:0/d": its port is not from 1 to 65535; expected sqlite:path, postgres://user:password@host/database or mysql://user:password@host/database`},
		{"unused", "caches:\n  user: {key: \"user:{tenant}:{id}\", load: \"SELECT 1 AS x WHERE 1 = {id}\"}", "n.yaml:2: load: {tenant} of the key user:{tenant}:{id} is not used, so keys that differ in it would hold the same rows: use it, or remove it from the key"},
		{"the database of Redis", "redis: redis://:s3cret@h/x\n" + good[strings.Index(good, "database"):], `n.yaml:1: redis: redis://h/x: database "x": expected a number such as 0`},
		{"twice", "listen: 127.0.0.1:1\nlisten: x\nhttp: y\n" + good + "  user: {key: z}\n", `n.yaml:2: the file: found "listen" a second time, expected it once: it stands in line 1 too
n.yaml:3: http: found "y", expected host:port such as 127.0.0.1:6380
n.yaml:18: caches: found "user" a second time, expected it once: it stands in line 7 too`},
		{"a nested value", "listen: {a: b}\n" + good, `n.yaml:1: listen: found names and values, expected one plain value`},
		{"nothing", "listen:\n" + good, "n.yaml:1: listen: found nothing, expected a value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := parse(c.text)
			if err == nil {
				t.Fatal("no error")
			}
			got := strings.Split(err.Error(), "\n")
			want := strings.Split(c.want, "\n")
			if d := cmp.Diff(want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestSyntaxErrors(t *testing.T) {
	for text, want := range map[string]string{
		"a: b\n\tc: d": "n.yaml:2", "caches:\n  a: {": "n.yaml:", "http: off\nhttp: b": "n.yaml:2", "a: [": "n.yaml:1",
	} {
		if _, err := parse(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want it at %s", text, err, want)
		}
	}
}

func TestFileErrors(t *testing.T) {
	big := filepath.Join(t.TempDir(), "big.yaml")
	if err := os.WriteFile(big, make([]byte, 2<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{"/nowhere.yaml": "no such file", t.TempDir(): "is a folder", big: "at most"} {
		if _, err := config.Load(config.Inputs{File: path, Env: none}); err == nil || !strings.HasPrefix(err.Error(), "--config: ") || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, want %q", path, err, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for url, want := range map[string]string{
		"redis://localhost:6379": "redis://localhost:6379", "redis://me:s3cret@h:1/2": "redis://me:xxxxx@h:1/2", "redis://s3cret@h": "redis://xxxxx@h",
		"redis://me:s3@cret@h": "redis://me:xxxxx@h", "redis://me:s3%zzcret@h": "redis://xxxxx@h", "redis:me:s3cret@h": "redis:xxxxx@h",
		"sqlite:shop.db": "sqlite:shop.db", "redis://h?password=s3cret": "redis://h?xxxxx",
		"rediss//:s3cret@h": "rediss//xxxxx@h", "postgres//u:s3cret@h/d": "postgres//xxxxx@h/d", ":s3cret@h": "xxxxx@h", "me:s3cret@h": "me:xxxxx@h", "redis:/\n/me:s3cret@h": "redis:xxxxx@h",
		"redis://me:s3cret@h:1,i:2?cluster=true": "redis://me:xxxxx@h:1,i:2?cluster=true", "redis-sentinel://h:1,i:2/m?sentinel_password=s3cret": "redis-sentinel://h:1,i:2/m?xxxxx",
	} {
		if got := config.Redact(url); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}

// Whatever is read, there is a configuration or an error with a place.
func FuzzParse(f *testing.F) {
	f.Add(good)
	f.Add("a: &x [1]\nb: *x")
	f.Add("? {a: b}\n: c")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<12 {
			return
		}
		c, err := parse(text)
		if err == nil && len(c.Caches) == 0 {
			t.Error("no caches and no error")
		}
		if err != nil && !strings.HasPrefix(err.Error(), "n.yaml:") {
			t.Errorf("no place: %v", err)
		}
	})
}

// What stands where a plain value should is not shown: it may be a password.
func TestMisplacedSecrets(t *testing.T) {
	for _, text := range []string{
		"password: {x: s3cret}", "password: [s3cret]", "password: &a s3cret", "password: !t s3cret", "redis: {url: s3cret}", "database: [s3cret]", "redis: \"rediss//:s3cret@h\"", "database: \"postgres//u:s3cret@h\"", "database: \":s3cret@h\"",
		"redis: s3cret@h", "caches: s3cret", "- s3cret", "password: |\n  s3cret\n {x", "password: 's3cret", "? [s3cret]\n: x",
	} {
		if _, err := parse(text); err == nil || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%s: %v", text, err)
		}
	}
}
