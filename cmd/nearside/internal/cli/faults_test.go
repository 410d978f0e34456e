package cli

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// SIGTERM while a row is being loaded: whoever waits for it is answered, and the status is 0.
func TestSIGTERM(t *testing.T) {
	server := redistest.Start(t)
	config := write(t, "n.yaml", "caches:\n  slow: {key: \"slow:{id}\", params: {id: text}, load: \"SELECT {id} AS id FROM pg_sleep(1)\"}\n")
	r := &running{}
	ended := make(chan int, 1)
	args := []string{"serve", "--config", config, "--redis", server.URL(), "--database", dbtest.Postgres(t).URL, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}
	go func() { ended <- Main(args, nil, &r.out, &r.err) }()
	eventually.True(t, "the ports", func() bool {
		if m := ready.FindStringSubmatch(r.out.String()); m != nil {
			r.redis, r.http = m[1], m[2]
		}
		return r.http != ""
	})
	answers := make(chan string, 2)
	ask := func(f func() string) {
		got := "nothing"
		defer func() { answers <- got }() // also if f ends the goroutine
		got = f()
	}
	go ask(func() string { return r.redisCLI(t, "GET", "slow:1") })
	go ask(func() string { _, body := r.get(t, "GET", "/v1/slow/2"); return body })
	eventually.True(t, "both loads", func() bool { // they have their leases
		n, err := server.Do(t, "EXISTS", "{slow:1}:~l", "{slow:2}:~l").AsInt64()
		return n == 2 && err == nil
	})
	if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if a, b := <-answers, <-answers; a+b != `{"id":"1"}{"id":"2"}` && b+a != `{"id":"1"}{"id":"2"}` {
		t.Errorf("got %s and %s", a, b)
	}
	if status := <-ended; status != statusOK {
		t.Errorf("status %d\n%s", status, r.err.String())
	}
}

// Without Redis rows come from the database; what could not be told is said, and the database is written.
func TestRedisGone(t *testing.T) {
	server := redistest.Start(t)
	config := write(t, "n.yaml", fmt.Sprintf(countersConfig, counters(t, "sqlite"), server.URL()))
	r := start(t, serveCmd{Config: config}, nil)
	if got := r.redisCLI(t, "GET", "counter:1"); got != `{"id":1,"n":0,"note":""}` {
		t.Fatal(got)
	}
	server.Kill()
	for range 20 {
		if got := r.redisCLI(t, "GET", "counter:1"); got != `{"id":1,"n":0,"note":""}` {
			t.Errorf("a read: %s", got)
		}
	}
	for _, name := range []string{"TTL", "PTTL", "EXISTS", "TYPE"} { // not what it would be of a key that is not there
		if got := r.redisCLI(t, name, "counter:2"); !strings.HasPrefix(got, "ERR ") || !strings.Contains(got, "connection refused") {
			t.Errorf("%s: %s", name, got)
		}
	}
	for _, c := range [][]string{
		{"ERR the cache could not be told: ", "DEL", "counter:1"},
		{"ERR the database is written, the cache is behind: ", "SET", "counter:1", `{"note":"hi"}`},
	} {
		if got := r.redisCLI(t, c[1:]...); !strings.HasPrefix(got, c[0]) || !strings.Contains(got, "connection refused") || strings.Count(got, "could not be told") > 1 {
			t.Errorf("%s: %s", c[1], got)
		}
	}
	if got := r.redisCLI(t, "GET", "counter:1"); got != `{"id":1,"n":1,"note":"hi"}` {
		t.Errorf("after the write: %s", got)
	}
	if resp, body := r.get(t, "DELETE", "/v1/counter/1"); resp.StatusCode != 503 || !strings.Contains(body, `"the cache could not be told: `) {
		t.Errorf("DELETE: %d %s", resp.StatusCode, body)
	}
	req, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://"+r.http+"/v1/counter/1", strings.NewReader(`{"note":"ho"}`))
	req.Header.Set("Content-Type", "application/json")
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil || resp.StatusCode != 503 {
		t.Errorf("PUT: %v, %v", resp, err)
	} else {
		resp.Body.Close()
	}
	if resp, body := r.get(t, "GET", "/v1/counter/1"); resp.StatusCode != 200 || body != `{"id":1,"n":2,"note":"ho"}` || resp.Header.Get("X-Cache") != "load" {
		t.Errorf("GET: %d %s from %s", resp.StatusCode, body, resp.Header.Get("X-Cache"))
	}
	if resp, body := r.get(t, "GET", "/healthz"); resp.StatusCode != 200 || !strings.Contains(body, `"status":"degraded"`) {
		t.Errorf("/healthz: %d %s", resp.StatusCode, body)
	}
}

// What clients do wrong takes no line of the log from a database that does not answer, and shows no value.
func TestBadValuesHideNoOutage(t *testing.T) {
	s := dbtest.Postgres(t)
	s.Exec(t, "CREATE TABLE born (id INT PRIMARY KEY, day DATE)", "INSERT INTO born VALUES (1, '2024-01-01')")
	config := write(t, "n.yaml", `
caches:
  born: {key: "born:{id}", load: "SELECT id, day FROM born WHERE id = {id}", store: "UPDATE born SET day = {day} WHERE id = {id}"}
`)
	r := start(t, serveCmd{Config: config, Database: s.URL}, nil)
	c := connectTo(t, r.redis)
	for i := range 100 {
		if err := c.Do(t.Context(), c.B().Set().Key("born:1").Value(fmt.Sprintf(`{"day":"hunter2-%d"}`, i)).Build()).Error(); err == nil {
			t.Fatal("a date that is none was written")
		}
	}
	s.Stop()
	for i := range 20 {
		c.Do(t.Context(), c.B().Get().Key(fmt.Sprint("born:", 2+i)).Build())
	}
	if text := r.err.String(); strings.Contains(text, "hunter2") || strings.Count(text, "a load failed") != 1 || !strings.Contains(text, "connect to PostgreSQL") && !strings.Contains(text, "terminat") {
		t.Errorf("want one line, of the outage:\n%s", text)
	}
	if err := s.Start(); err != nil {
		t.Fatal(err)
	}
}

const faultyConfig = `
load_timeout: 1500ms
caches:
  user: {key: "user:{id}", params: {id: int}, load: "SELECT id, name FROM faulty WHERE id = {id}", store: "UPDATE faulty SET name = {name} WHERE id = {id}"}
  seen: {key: "seen:{id}", params: {id: int}, load: "SELECT id, name FROM faultyview WHERE id = {id}"}
  star: {key: "star:{id}", params: {id: int}, load: "SELECT * FROM faulty WHERE id = {id}"}
  slow: {key: "slow", load: "%s"}
  huge: {key: "huge", rows: many, load: "%s"}
`

// What goes wrong in the database is told to the client with its cause and key, logged once, and forgotten.
func TestDatabaseFaults(t *testing.T) {
	for kind, sql := range map[string][2]string{
		"postgres": {"SELECT pg_sleep(20)::text AS s", "SELECT generate_series(1, 10000000) AS n, repeat('x', 200) AS t"},
		"mariadb":  {"SELECT sleep(20) AS s FROM faulty LIMIT 1", "SELECT seq AS n, repeat('x', 200) AS t FROM seq_1_to_10000000"},
	} {
		t.Run(kind, func(t *testing.T) {
			db := dbtest.Postgres
			if kind == "mariadb" {
				db = dbtest.MariaDB
			}
			db(t).Exec(t, "CREATE TABLE faulty (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL)", "INSERT INTO faulty VALUES (1, 'Ada'), (2, 'Bob')",
				"CREATE VIEW faultyview AS SELECT id, name FROM faulty")
			config := write(t, "n.yaml", fmt.Sprintf(faultyConfig, sql[0], sql[1]))
			r := start(t, serveCmd{Config: config, Database: db(t).URL}, nil)
			for _, key := range []string{"seen:1", "star:1"} {
				if got := r.redisCLI(t, "GET", key); got != `{"id":1,"name":"Ada"}` {
					t.Fatalf("%s: %s", key, got)
				}
			}
			db(t).Exec(t, "DROP VIEW faultyview", "ALTER TABLE faulty ADD COLUMN more INT")
			for _, c := range []struct{ ask, want string }{
				{"GET seen:2", "faultyview"},
				{"GET star:2", "the query has 3 columns, and had 2 at the start: restart"},
				{"GET slow", "took longer than its limit of 1.5s"},
				{"GET huge", "more than 10000 rows (max_rows)"},
				{`SET user:1 {"name":`, "unexpected EOF"},
				{`SET user:1 {"name":"x","id":2}`, `the field "id" is 2, and the key says 1`},
				{`SET user:1 {"name":7}`, "found a number, 7, expected a string"},
				{`SET user:1 {"name":null}`, "null"},
			} {
				args := strings.Fields(c.ask)
				before := strings.Count(r.err.String(), "\n")
				for range 2 {
					if got := r.redisCLI(t, args...); !strings.HasPrefix(got, "ERR ") || !strings.Contains(got, `"`+args[1]+`": `) || !strings.Contains(got, c.want) {
						t.Errorf("%s: %s", c.ask, got)
					}
					if got := r.redisCLI(t, "GET", "user:2"); got != `{"id":2,"name":"Bob"}` {
						t.Errorf("after %s: %s", c.ask, got)
					}
				}
				lines := strings.Split(r.err.String(), "\n")[before:]
				if args[0] == "SET" { // the client's mistake, and no failure of the service
					if len(lines) != 1 {
						t.Errorf("%s was not to be logged:\n%s", c.ask, strings.Join(lines, "\n"))
					}
				} else if len(lines) != 2 || !strings.Contains(lines[0], "level=WARN") || !strings.Contains(lines[0], args[1]) {
					t.Errorf("%s was to be logged once:\n%s", c.ask, strings.Join(lines, "\n"))
				}
			}
			db(t).Exec(t, "CREATE VIEW faultyview AS SELECT id, name FROM faulty")
			if got := r.redisCLI(t, "GET", "seen:2"); got != `{"id":2,"name":"Bob"}` {
				t.Errorf("when the view is back: %s", got)
			}
			if strings.Contains(r.out.String()+r.err.String(), "s3cret") {
				t.Error("the password is shown")
			}
		})
	}
}

// A database that does not answer at the start is waited for; to be asked to end meanwhile is no error, but nothing is checked.
func TestDatabaseComesLater(t *testing.T) {
	db := dbtest.MariaDB(t)
	db.Exec(t, "CREATE TABLE later (id INT PRIMARY KEY)", "INSERT INTO later VALUES (1)")
	config := write(t, "n.yaml", "caches:\n  later: {key: \"later:{id}\", params: {id: int}, load: \"SELECT id FROM later WHERE id = {id}\"}\n")
	db.Stop()
	begin := func(c serveCmd) (r *running, end context.CancelFunc, ended chan error) {
		ctx, cancel := context.WithCancel(t.Context())
		r, ended = &running{}, make(chan error, 1)
		c.Config, c.Database, c.Listen, c.HTTP = config, db.URL, "127.0.0.1:0", "off"
		go func() { ended <- c.run(ctx, &env{out: &r.out, err: &r.err, lookup: func(string) string { return "" }}) }()
		eventually.True(t, "the line that it waits", func() bool { return strings.Contains(r.err.String(), "waiting for it") })
		return r, cancel, ended
	}
	_, end, ended := begin(serveCmd{})
	if end(); <-ended != nil {
		t.Error("interrupted: an error")
	}
	_, end, ended = begin(serveCmd{Check: true})
	end()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "interrupted") {
		t.Errorf("a check, interrupted: %v", err)
	}
	r, end, ended := begin(serveCmd{})
	defer func() {
		if end(); <-ended != nil {
			t.Error("it ended with an error")
		}
	}()
	if err := db.Start(); err != nil {
		t.Fatal(err)
	}
	eventually.True(t, "the port", func() bool {
		if m := ready.FindStringSubmatch(r.out.String()); m != nil {
			r.redis = m[1]
		}
		return r.redis != ""
	})
	if got := r.redisCLI(t, "GET", "later:1"); got != `{"id":1}` || strings.Contains(r.err.String(), "s3cret") {
		t.Errorf("got %s\n%s", got, r.err.String())
	}
}

// It starts before its Redis: declared keys come from the database, others get a clear error at once, /healthz and INFO answer.
func TestStartsBeforeRedis(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	config := write(t, "n.yaml", fmt.Sprintf(countersConfig, counters(t, "sqlite"), server.URL()))
	r := start(t, serveCmd{Config: config}, nil)
	if got := r.redisCLI(t, "GET", "counter:1"); got != `{"id":1,"n":0,"note":""}` {
		t.Errorf("a declared key: %s", got)
	}
	if got := r.redisCLI(t, "GET", "other"); !strings.HasPrefix(got, "ERR ") || !strings.Contains(got, server.Addr) || !strings.Contains(got, "does not answer") {
		t.Errorf("another key: %s", got)
	}
	if got := r.redisCLI(t, "INFO"); !strings.Contains(got, "cache_counter:") {
		t.Errorf("INFO: %s", got)
	}
	if resp, body := r.get(t, "GET", "/healthz"); resp.StatusCode != 200 || !strings.Contains(body, `"status":"degraded"`) || !strings.Contains(body, server.Addr) {
		t.Errorf("/healthz: %d %s", resp.StatusCode, body)
	}
	server.Restart(t)
	eventually.True(t, "Redis is used", func() bool {
		_, body := r.get(t, "GET", "/healthz")
		return strings.Contains(body, `"status":"ok"`) && r.redisCLI(t, "SET", "other", "1") == "OK"
	})
	eventually.True(t, "a hit", func() bool {
		resp, _ := r.get(t, "GET", "/v1/counter/1")
		return resp.Header.Get("X-Cache") == "store"
	})
	for _, line := range []string{"redis unavailable: serving from the loader", "redis back after "} {
		if n := strings.Count(r.err.String(), line); n != 1 {
			t.Errorf("%q is said %d times in\n%s", line, n, r.err.String())
		}
	}
}
