package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of dbtest
	"go.uber.org/goleak"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/demo"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

func TestMain(m *testing.M) {
	if os.Getenv(asChild) != "" {
		os.Exit(Main(os.Args[1:], os.Environ(), os.Stdout, os.Stderr))
	}
	for os.Getenv(asSpinner) != "" {
	}
	status := redistest.Main(m)
	dbtest.Stop()
	if shop != "" {
		os.RemoveAll(filepath.Dir(shop))
	}
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

var shop string

// filled returns a demo shop that the tests share: under the race detector SQLite takes many seconds to fill one.
func filled(t *testing.T) string {
	t.Helper()
	if shop != "" {
		return "sqlite:" + shop
	}
	dir, err := os.MkdirTemp("", "nearside-shop-")
	if err != nil {
		t.Fatal(err)
	}
	shop = filepath.Join(dir, "shop.db")
	db, err := source.Create(shop)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if err := demo.Fill(t.Context(), db, nil); err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + shop
}

// buffer is what a running command prints.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// running is a `nearside serve` of a test's own.
type running struct {
	redis, http string
	out, err    buffer
	end         func() error
}

var ready = regexp.MustCompile(`(?s)redis  (\S+)\n(?:  http   https?://(\S+)/\n)?`)

func start(t *testing.T, c serveCmd, vars map[string]string) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{}
	if c.Listen == "" {
		c.Listen = "127.0.0.1:0"
	}
	if c.HTTP == "" {
		c.HTTP = "127.0.0.1:0"
	}
	done := make(chan error, 1)
	world := &env{out: &r.out, err: &r.err, lookup: func(k string) string { return vars[k] }}
	go func() {
		done <- c.run(ctx, world)
	}()
	var once sync.Once
	var failed error
	r.end = func() error {
		once.Do(func() { cancel(); failed = <-done })
		return failed
	}
	t.Cleanup(func() {
		if err := r.end(); err != nil {
			t.Errorf("serve ended with %v", err)
		}
	})
	for until := time.Now().Add(3 * time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if m := ready.FindStringSubmatch(r.out.String()); m != nil {
			r.redis, r.http = m[1], m[2]
			return r
		}
		select {
		case err := <-done:
			done <- nil
			t.Fatalf("serve did not start: %v\n%s", err, r.err.String())
		default:
		}
		if time.Now().After(until) {
			t.Fatalf("not ready after 3 minutes:\n%s%s", r.out.String(), r.err.String())
		}
	}
}

// redisCLI asks as a user does, with the real redis-cli.
func (r *running) redisCLI(t *testing.T, args ...string) string {
	t.Helper()
	host, port, _ := net.SplitHostPort(r.redis)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "redis-cli", append([]string{"-h", host, "-p", port}, args...)...).CombinedOutput()
	if err != nil && !strings.HasPrefix(string(out), "AUTH failed") && len(out) == 0 {
		t.Fatalf("redis-cli %q: %v: %s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (r *running) get(t *testing.T, method, path string, header ...string) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, "http://"+r.http+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		if header[i] == "Host" {
			req.Host = header[i+1]
		} else {
			req.Header.Set(header[i], header[i+1])
		}
	}
	tr := &http.Transport{DisableKeepAlives: true}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	return resp, string(body)
}

const user42 = `{"id":42,"name":"Margaret Hamilton","email":"margaret.hamilton42@example.com","city":"Lima"}`

// What the demo answers, on both stores.
func TestServe(t *testing.T) {
	for _, store := range []string{"memory:", "redis"} {
		t.Run(store, func(t *testing.T) {
			url := store
			if store == "redis" {
				server := redistest.Shared(t)
				server.Do(t, "FLUSHALL")
				url = server.URL()
			}
			r := start(t, serveCmd{Redis: url, Database: filled(t)}, nil)
			for _, c := range []struct{ ask, want string }{
				{"GET user:42", user42}, {"get user:42", user42}, {"STRLEN user:42", fmt.Sprint(len(user42))}, {"TYPE user:42", "string"},
				{"EXISTS user:42 user:42 user:43", "2"}, {"GET user:abc", ""}, {"GET user:042", ""}, {"GET user:100001", ""}, {"TTL user:43", "-2"},
				{"MGET user:42 user:abc orders:100001 user:0", user42 + "\n\n[]\n"},
				{"GET user:42:~l", map[string]string{
					"memory:": `ERR "user:42:~l" matches the key of no declared cache, and the embedded store has no others: configure 'redis:' to have them passed on to it`,
					"redis":   `ERR bad key: "user:42:~l" ends as the layer's own keys do (":~l")`,
				}[store]},
				{"SET user:42 x", `ERR "user:42": bad value: expected a JSON object with the fields of the row: invalid character 'x' looking for beginning of value`},
				{`SET user:42 {"name":"x","email":null}`, `ERR "user:42": bad value: the field "city" is missing (null writes NULL)`},
				{`SET user:100001 {"name":"x","email":"x","city":null}`, `ERR "user:100001": no row matched, nothing was written: not found`},
				{`SET user:100000 {"name":"x","email":"y","city":"Rome"}`, "OK"},
				{`SET user:100000 {"name":"x","email":"y","city":"Oslo"} EX 10`, "OK"},
				{"GET user:100000", `{"id":100000,"name":"x","email":"y","city":"Oslo"}`},
				{`SETEX user:100000 60 {"name":"x","email":"z","city":"Oslo"}`, "OK"},
				{"GET user:100000", `{"id":100000,"name":"x","email":"z","city":"Oslo"}`},
				{`SET user:100000 {} NX`, "ERR SET with NX is refused for a declared key: SET writes the row in the database, whatever is cached"},
				{`SET user:100000 {} FOO`, "ERR syntax error"},
				{`SET user:abc {}`, `ERR "user:abc" is no key of a row: a parameter does not fit its type`},
				{`SET orders:1 {}`, `ERR "orders:1": the row is loaded by itself: this cache declares no 'store'; write the database, then DEL the key`},
				{"DEL user:42 user:abc", "1"}, {"UNLINK user:42", "0"}, {"TTL user:42", "-2"},
				{"PING", "PONG"}, {"ECHO hi", "hi"}, {"SELECT 0", "OK"}, {"SELECT 1", "ERR DB index is out of range: there is database 0 alone"},
				{"CLUSTER INFO", "ERR This instance has cluster support disabled"}, {"CLIENT SETNAME me", "OK"}, {"GET", "ERR wrong number of arguments for 'get' command"},
				{"COMMAND COUNT", "53"}, {"QUIT", "OK"}, {"HELLO 4", "NOPROTO unsupported protocol version"},
			} {
				if got := r.redisCLI(t, strings.Fields(c.ask)...); got != strings.TrimSpace(c.want) {
					t.Errorf("%s: got %q, want %q", c.ask, got, c.want)
				}
			}
			r.redisCLI(t, "GET", "user:7")
			if ttl := r.redisCLI(t, "TTL", "user:7"); len(ttl) != 4 {
				t.Errorf("TTL user:7: %s, want about 4,000 s", ttl)
			}
			info := r.redisCLI(t, "INFO")
			for _, want := range []string{"keyspace_hits:", "keyspace_misses:", "used_memory:", "db0:keys=", "cache_user:near=", "deferred_invalidations:0"} {
				if !strings.Contains(info, want) {
					t.Errorf("INFO has no %s:\n%s", want, info)
				}
			}
			if store == "redis" {
				redistest.Shared(t).Invariants(t, "user:", "orders:")
			}
		})
	}
}

func TestHTTP(t *testing.T) {
	r := start(t, serveCmd{Database: filled(t)}, nil)
	resp, body := r.get(t, "GET", "/v1/user/42")
	if resp.StatusCode != 200 || body != user42 || resp.Header.Get("X-Cache") != "load" || resp.Header.Get("Cache-Control") != "private, no-cache" {
		t.Errorf("got %d %v %s", resp.StatusCode, resp.Header, body)
	}
	resp, _ = r.get(t, "GET", "/v1/user/42", "If-None-Match", resp.Header.Get("ETag"))
	if from := resp.Header.Get("X-Cache"); resp.StatusCode != 304 || from != "store" && from != "near" || resp.Header.Get("Age") != "0" { // near as soon as it was read back
		t.Errorf("got %d %v", resp.StatusCode, resp.Header)
	}
	r.get(t, "GET", "/v1/user/100001")
	for _, c := range []struct {
		method, path string
		header       []string
		status       int
		want         string
	}{
		{"GET", "/v1/user/100001", nil, 404, `{"error":"\"user:100001\": not found"}`},
		{"GET", "/v1/user/abc", nil, 404, `{"error":"user:{id}: {id} cannot be \"abc\": expected int"}`},
		{"GET", "/v1/user", nil, 404, `{"error":"user:{id} has 1 parameter (id), found 0"}`},
		{"GET", "/v1/nothing/1", nil, 404, `{"error":"no cache is named \"nothing\""}`},
		{"GET", "/v1/orders/100001", nil, 200, `[]`},
		{"DELETE", "/v1/user/42", nil, 204, ""},
		{"POST", "/v1/user/42", nil, 405, ""},
		{"GET", "/v1/user/42", []string{"Host", "evil.example"}, 421, `{"error":"the host \"evil.example\" is not this one: use localhost or 127.0.0.1"}`},
		{"GET", "/v1/user/42", []string{"Host", "localhost:1"}, 200, user42},
		{"GET", "/v1/user/42", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "no-cors"}, 403, ""},      // an image of another site's page
		{"GET", "/v1/user/42", []string{"Sec-Fetch-Site", "cross-site", "Sec-Fetch-Mode", "navigate"}, 200, user42}, // a link
		{"GET", "/healthz", nil, 200, `{"status":"ok"}`},
		{"POST", "/healthz", nil, 405, ""},
		{"GET", "/nothing", nil, 404, ""},
	} {
		resp, body := r.get(t, c.method, c.path, c.header...)
		if resp.StatusCode != c.status || c.want != "" && strings.TrimSpace(body) != c.want || resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s %s: got %d %s, want %d %s", c.method, c.path, resp.StatusCode, body, c.status, c.want)
		}
	}
	resp, _ = r.get(t, "GET", "/v1/user/100001")
	if from := resp.Header.Get("X-Cache"); from != "negative" && from != "near" { // the demo keeps users near, absent ones too
		t.Errorf("X-Cache %q, want negative or near", from)
	}
}

// An escaped slash is part of a parameter, in each method; a path that would be cleaned does not lead to another key.
func TestHTTPPaths(t *testing.T) {
	db := database(t, "CREATE TABLE docs (name TEXT PRIMARY KEY, n INTEGER)",
		"INSERT INTO docs VALUES ('a/b', 1), ('1/0', 2), ('..', 3), ('a%2Fb', 4), ('é', 5), ('b', 6)")
	config := write(t, "n.yaml", `
caches:
  doc: {key: "doc:{name}", load: "SELECT n FROM docs WHERE name = {name}", store: "UPDATE docs SET n = {n} WHERE name = {name}"}
  page: {key: "page:{name}", load: "SELECT n FROM docs WHERE name = {name}"}
  two: {key: "two:{a}:{b}", load: "SELECT n FROM docs WHERE name = {a} || {b}"}
`)
	r := start(t, serveCmd{Config: config, Database: db}, nil)
	say := func(method, path, body string) string {
		conn, err := net.Dial("tcp", r.http)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", method, path, len(body), body)
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, _ := io.ReadAll(resp.Body)
		return strings.TrimSpace(fmt.Sprint(resp.StatusCode, " ", resp.Header.Get("Location"), string(text)))
	}
	for _, c := range []struct{ method, path, body, want string }{
		{"GET", "/v1/doc/a%2Fb", "", `200 {"n":1}`},
		{"GET", "/v1/doc/a%2fb", "", `200 {"n":1}`},
		{"PUT", "/v1/doc/a%2Fb", `{"n":10}`, `200 {"n":10}`},
		{"GET", "/v1/doc/a%2Fb", "", `200 {"n":10}`},
		{"DELETE", "/v1/doc/a%2Fb", "", `204`},
		{"GET", "/v1/doc/a%252Fb", "", `200 {"n":4}`},
		{"GET", "/v1/page/1%2F0", "", `200 {"n":2}`},
		{"GET", "/v1/page/1/0", "", `404 {"error":"page:{name} has 1 parameter (name), found 2"}`},
		{"GET", "/v1/two/a%2F/b", "", `200 {"n":10}`},
		{"GET", "/v1/page/%2e%2E", "", `200 {"n":3}`},
		{"GET", "/v1/page/..", "", `200 {"n":3}`},
		{"GET", "/v1/page/%C3%A9", "", `200 {"n":5}`},
		{"GET", "/v1/page//a%2Fb", "", `404 {"error":"page:{name} has 1 parameter (name), found 2"}`},
		{"GET", "/v1/page/", "", `404 {"error":"page:{name} has 1 parameter (name), found 0"}`},
		{"GET", "/v1/two//b", "", `404 {"error":"two:{a}:{b}: {a} cannot be \"\": expected text"}`},
		{"DELETE", "//v1/doc/a%2Fb", "", `307 /v1/doc/a%2Fb`},
		{"GET", "/v1/page/%FF", "", `404 {"error":"page:{name}: {name} cannot be \"\\xff\": expected text"}`},
		{"GET", "/v1/page/a%2", "", `400 400 Bad Request`},
		{"GET", "/v1/page/%zz", "", `400 400 Bad Request`},
		{"GET", "/v1/-/caches/doc/entry?arg=a%2Fb", "", ``},
	} {
		got := say(c.method, c.path, c.body)
		if c.want == "" && !strings.Contains(got, `"key":"doc:a/b"`) || c.want != "" && !strings.HasPrefix(got, c.want) {
			t.Errorf("%s %s: got %s, want %s", c.method, c.path, got, c.want)
		}
	}
}

func write(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestPassword(t *testing.T) {
	config := write(t, "n.yaml", "password: s3cret\ncaches:\n  user: {key: \"user:{id}\", params: {id: int}, load: \"SELECT name FROM users WHERE id = {id}\"}\n")
	r := start(t, serveCmd{Config: config, LogLevel: "debug", Database: filled(t)}, nil)
	if got := r.redisCLI(t, "GET", "user:42"); got != "NOAUTH Authentication required." {
		t.Errorf("without: %s", got)
	}
	if got := r.redisCLI(t, "-a", "wrong", "--no-auth-warning", "GET", "user:42"); !strings.Contains(got, "WRONGPASS") || !strings.Contains(got, "NOAUTH") {
		t.Errorf("a wrong one: %s", got)
	}
	for _, args := range [][]string{{"-a", "s3cret"}, {"--user", "me", "-a", "s3cret"}, {"-3", "-a", "s3cret"}} {
		if got := r.redisCLI(t, append(args, "--no-auth-warning", "GET", "user:42")...); got != `{"name":"Margaret Hamilton"}` {
			t.Errorf("%v: %s", args, got)
		}
	}
	if text := r.out.String() + r.err.String(); strings.Contains(text, "s3cret") || strings.Contains(text, "wrong") {
		t.Errorf("a password was printed:\n%s", text)
	}
}

// What another program left under a key is loaded again; a failing query is told with its cause and key, and forgotten.
func TestRubbishAndErrors(t *testing.T) {
	server := redistest.Shared(t)
	server.Do(t, "FLUSHALL")
	db := filepath.Join(t.TempDir(), "x.db")
	w, err := source.Create(db)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{"CREATE TABLE j (id INTEGER, doc JSON)", "INSERT INTO j VALUES (1, '{\"a\":1}'), (2, '{')"} {
		if _, err := w.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	config := write(t, "n.yaml", "caches:\n  j: {key: \"j:{id}\", params: {id: int}, load: \"SELECT doc FROM j WHERE id = {id}\"}\n"+
		"  all: {key: all, rows: many, load: SELECT id FROM j}\n")
	r := start(t, serveCmd{Config: config, Redis: server.URL(), Database: "sqlite:" + db}, nil)
	if resp, body := r.get(t, "GET", "/v1/all"); resp.StatusCode != 200 || body != `[{"id":1},{"id":2}]` {
		t.Errorf("a cache of one key: %d %s", resp.StatusCode, body)
	}
	for _, rubbish := range [][]string{{"SET", "j:1", "hello"}, {"RPUSH", "j:1", "x"}} {
		server.Do(t, "DEL", "j:1")
		server.Do(t, rubbish...)
		if got := r.redisCLI(t, "GET", "j:1"); got != `{"doc":{"a":1}}` {
			t.Errorf("%v: got %s", rubbish, got)
		}
	}
	for range 2 {
		if got := r.redisCLI(t, "GET", "j:2"); got != `ERR load "j:2": column "doc": it is declared as JSON, and its text is not` {
			t.Errorf("got %s", got)
		}
	}
	if resp, body := r.get(t, "GET", "/v1/j/2"); resp.StatusCode != 502 || !strings.Contains(body, "declared as JSON") {
		t.Errorf("got %d %s", resp.StatusCode, body)
	}
	server.Invariants(t, "j:", "all")
}

// An HTTP request, garbage and half a command on the Redis port harm nobody else.
func TestGarbage(t *testing.T) {
	r := start(t, serveCmd{HTTP: "off", Database: filled(t)}, nil)
	for _, text := range []string{"GET / HTTP/1.1\r\nHost: x\r\n\r\n", "\x16\x03\x01", "*1\r\n$9223372036854775800\r\nabc\r\n", "*-2\r\n", "*1048577\r\n", "*2\r\n$3\r\nGET\r\n$5\r\nus"} {
		conn, err := net.Dial("tcp", r.redis)
		if err != nil {
			t.Fatal(err)
		}
		conn.Write([]byte(text))
		if !strings.HasSuffix(text, "us") { // half a command may wait for its rest
			conn.SetReadDeadline(time.Now().Add(10 * time.Second))
			if _, err := io.ReadAll(conn); err != nil && strings.Contains(err.Error(), "timeout") {
				t.Errorf("%q: the connection stays open", text)
			}
		}
		if got := r.redisCLI(t, "GET", "user:42"); got != user42 {
			t.Errorf("after %q: %s", text, got)
		}
		conn.Close()
	}
}

// A health check sends one line, and so does a person by hand; what Redis ignores is ignored.
func TestInlineCommands(t *testing.T) {
	config := write(t, "n.yaml", "password: s3cret\ncaches:\n  user: {key: \"user:{id}\", load: \"SELECT name FROM users WHERE id = {id}\"}\n")
	for name, c := range map[string]struct {
		config         string
		sent, received string
	}{
		"open":    {"", "PING\r\n", "+PONG\r\n"},
		"ignored": {"", "\r\n*-1\r\n*0\r\n\nping\nECHO a\r\nGET user:100001\r\nQUIT\r\n", "+PONG\r\n$1\r\na\r\n$-1\r\n+OK\r\n"},
		"guarded": {config, "PING\r\nAUTH s3cret\r\nPING\r\nQUIT\r\n", "-NOAUTH Authentication required.\r\n+OK\r\n+PONG\r\n+OK\r\n"},
		"post":    {"", "POST / HTTP/1.1\r\nHost: x\r\n\r\nPING\r\n", "-ERR Protocol error: found an HTTP request, this port speaks the Redis protocol\r\n"},
		"long":    {config, "PING " + strings.Repeat("x", 17<<10) + "\r\n", "-ERR Protocol error: invalid bulk length\r\n"},

		// Lines of small words, without an end.
		"words":         {"", strings.Repeat("x ", 33<<10), "-ERR Protocol error: too big inline request\r\n"},
		"guarded words": {config, strings.Repeat("x ", 33<<10), "-ERR Protocol error: too big inline request\r\n"},
		"many words":    {config, "PING" + strings.Repeat(" x", 20) + "\r\n", "-ERR Protocol error: invalid multibulk length\r\n"},
	} {
		r := start(t, serveCmd{HTTP: "off", Database: filled(t), Config: c.config}, nil)
		conn, err := net.Dial("tcp", r.redis)
		if err != nil {
			t.Fatal(err)
		}
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		io.WriteString(conn, c.sent)
		got := make([]byte, len(c.received))
		if n, err := io.ReadFull(conn, got); err != nil || string(got) != c.received {
			t.Errorf("%s: got %q, %v, want %q", name, got[:n], err, c.received)
		}
		conn.Close()
		r.end()
	}
}

// Long keys are refused and large values answered for, on both stores; nobody else notices.
func TestLarge(t *testing.T) {
	for _, store := range []string{"memory:", redistest.Shared(t).URL()} {
		r := start(t, serveCmd{Redis: store, HTTP: "off", Database: filled(t)}, nil)
		c := dialRaw(t, r.redis)
		for _, key := range []string{strings.Repeat("k", 64<<10+1), "user:" + strings.Repeat("9", 64<<10)} {
			want := fmt.Sprintf("-ERR bad key: %d bytes long, at most 65536 are allowed\r\n", len(key))
			for _, args := range [][]string{{"GET", key}, {"MGET", "user:42", key}, {"DEL", key}, {"SET", key, "{}"}} {
				if got := c.ask(t, args...); got != want {
					t.Errorf("%s of a long key: %.100q, want %q", args[0], got, want)
				}
			}
		}
		if got, want := c.ask(t, "SET", "user:42", `{"name":"`+strings.Repeat("x", 1<<20)), "-ERR \"user:42\": bad value: "; !strings.HasPrefix(got, want) {
			t.Errorf("SET of 1 MiB: %.100q, want %q", got, want)
		}
		if got := r.redisCLI(t, "GET", "user:42"); got != user42 {
			t.Errorf("after it: %s", got)
		}
	}
}

func TestStatuses(t *testing.T) {
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	db := " --database " + filled(t)
	locked := redistest.Start(t, "--requirepass", "another")
	bad := write(t, "bad.yaml", "caches:\n  user:\n    key: user:{id}\n    load: SELECT nope FROM users WHERE id = {id}\n  o: {key: \"o:{id}\", load: \"SELECT * FROM nowhere WHERE id = {id}\"}\n")
	for _, c := range []struct {
		args   string
		status int
		want   string
	}{
		{"version", 0, "nearside "},
		{"serve --check" + db, 0, "the configuration is good: 6 caches"},
		{"serve --nonsense", 2, "unknown flag --nonsense"},
		{"nonsense", 2, "unexpected argument nonsense"},
		{"serve --config /nowhere.yaml", 2, "--config: "},
		{"serve --listen nowhere", 2, `--listen: listen: found "nowhere"`},
		{"serve --config " + bad + db, 2, "bad.yaml:4: load: the cache user: "},
		{"serve --config " + bad + db, 2, "bad.yaml:5: load: the cache o: "},
		{"serve --http off --listen " + busy.Addr().String() + db, 2, "--listen: listen: the port of " + busy.Addr().String() + " is in use"},
		{"serve --database sqlite:/nowhere.db", 3, "--database: open the database: "},
		{"serve --redis redis://:s3cret@127.0.0.1:port" + db, 2, "--redis: redis: the URL of Redis cannot be parsed"},
		{"serve --redis redis://:s3cret@" + locked.Addr + db, 3, "--redis: connect to Redis at " + locked.Addr + ": WRONGPASS"},
	} {
		var out buffer
		status := Main(strings.Fields(c.args), nil, &out, &out)
		if text := out.String(); status != c.status || !strings.Contains(text, c.want) || strings.Contains(text, "s3cret") {
			t.Errorf("%s: status %d, want %d\n got %s\nwant %s", c.args, status, c.status, text, c.want)
		}
	}
}

// The README's first command. At the end the temporary database is gone, and the ports are free.
func TestDemo(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	r := start(t, serveCmd{}, nil)
	if got := r.redisCLI(t, "GET", "user:42"); got != user42 {
		t.Errorf("got %s", got)
	}
	for _, ask := range []string{"HGETALL product:7", "SMEMBERS friends:42", "LRANGE actions:42 0 9", "ZREVRANGE leaderboard:chess 0 9 WITHSCORES"} {
		if !strings.Contains(r.out.String(), ask+"\n") || r.redisCLI(t, strings.Fields(ask)...) == "" {
			t.Errorf("%s: there is nothing, or the greeting does not say it", ask)
		}
	}
	for _, want := range []string{"redis-cli -p ", " GET user:42\n", "curl -i http://127.0.0.1:"} {
		if !strings.Contains(r.out.String(), want) {
			t.Errorf("the greeting does not say what to try (%q):\n%s", want, r.out.String())
		}
	}
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(dir); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
	if conn, err := net.Dial("tcp", r.redis); err == nil {
		conn.Close()
		t.Error("the port is still open")
	}
}

// The promise that the layer makes, shown: fewer queries than without it.
func TestTraffic(t *testing.T) {
	data, err := os.ReadFile(strings.TrimPrefix(filled(t), "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	r := start(t, serveCmd{Database: "sqlite:" + write(t, "shop.db", string(data)), Traffic: 500}, nil)
	line := regexp.MustCompile(`(?m)^ +\d+ s +(\d+) reads/s +([\d.]+) % hits  database +(\d+) queries/s in place of +(\d+)  hits p50 \d`)
	var lines [][]string
	eventually.True(t, "two lines", func() bool { lines = line.FindAllStringSubmatch(r.out.String(), -1); return len(lines) >= 2 }, &r.out)
	number := func(s string) (f float64) { fmt.Sscan(s, &f); return f }
	for _, l := range lines[:2] {
		if number(l[1]) == 0 || number(l[2]) == 0 || number(l[3]) == 0 || number(l[3]) >= number(l[4]) {
			t.Errorf("nothing was saved: %s", l[0])
		}
	}
	if strings.Contains(r.out.String(), "errors, the latest") {
		t.Error(r.out.String())
	}
}

// A cache on disk is said at the start, with what turns it off.
func TestCacheOnDisk(t *testing.T) {
	server := redistest.Start(t)
	r := start(t, serveCmd{Redis: server.URL(), Database: filled(t)}, nil)
	if strings.Contains(r.err.String(), "to disk") {
		t.Errorf("nothing is written to disk:\n%s", r.err.String())
	}
	server.Do(t, "CONFIG", "SET", "save", "3600 1")
	r = start(t, serveCmd{Redis: server.URL(), Database: filled(t)}, nil)
	if n := strings.Count(r.err.String(), `commands="CONFIG SET save`); n != 1 {
		t.Errorf("%d lines about it:\n%s", n, r.err.String())
	}
}
