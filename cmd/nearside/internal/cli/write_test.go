package cli

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/redistest"
)

var writesFor = flag.Duration("writes", 2*time.Second, "how long the test of concurrent writers runs")

const countersConfig = `
database: %s
redis: %s
caches:
  counter:
    key: counter:{id}
    params: {id: int}
    load: SELECT id, n, note FROM counters WHERE id = {id}
    store: UPDATE counters SET n = n + 1, note = {note} WHERE id = {id}
    stale: 1m
`

// counters makes ten rows whose n counts their updates, and returns the database's URL.
func counters(t *testing.T, kind string) string {
	t.Helper()
	statements := []string{"CREATE TABLE counters (id INTEGER PRIMARY KEY, n INTEGER, note VARCHAR(100))"}
	for id := range 10 {
		statements = append(statements, fmt.Sprintf("INSERT INTO counters VALUES (%d, 0, '')", id))
	}
	switch kind {
	case "postgres":
		s := dbtest.Postgres(t)
		s.Exec(t, statements...)
		return s.URL
	case "mariadb":
		s := dbtest.MariaDB(t)
		s.Exec(t, statements...)
		return s.URL
	}
	path := filepath.Join(t.TempDir(), "counters.db")
	db, err := source.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, text := range statements {
		if _, err := db.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	return "sqlite:" + path
}

// connectTo opens a Redis client to a running serve.
func connectTo(t *testing.T, addr string) rueidis.Client {
	t.Helper()
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, ForceSingleClient: true, DisableCache: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// Two serves over one database and one Redis: a GET that begins after a SET was acknowledged, at whichever, never returns
// an older row, and at the end Redis holds nothing but what the database holds.
func TestTwoServesWrite(t *testing.T) {
	for _, kind := range []string{"sqlite", "postgres", "mariadb"} {
		t.Run(kind, func(t *testing.T) { twoServesWrite(t, counters(t, kind)) })
	}
}

func twoServesWrite(t *testing.T, database string) {
	server := redistest.Start(t)
	file := filepath.Join(t.TempDir(), "nearside.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, countersConfig, database, server.URL()), 0o600); err != nil {
		t.Fatal(err)
	}
	var clients []rueidis.Client
	for range 2 {
		clients = append(clients, connectTo(t, start(t, serveCmd{Config: file}, nil).redis))
	}
	var acked [10]atomic.Int64 // each acknowledged SET has added one to n
	var sets, gets atomic.Int64
	read := func(c rueidis.Client, id int) (n int64, err error) {
		data, err := c.Do(context.Background(), c.B().Get().Key(fmt.Sprint("counter:", id)).Build()).AsBytes()
		var row struct{ N int64 }
		if err == nil {
			err = json.Unmarshal(data, &row)
		}
		return row.N, err
	}
	var wg sync.WaitGroup
	end := time.Now().Add(*writesFor)
	for g := range 16 {
		c := clients[g%2]
		wg.Go(func() {
			for i := g; time.Now().Before(end) && !t.Failed(); i++ {
				id := i * 7 % 10
				if g < 6 {
					note := fmt.Sprintf(`{"note":"%d of %d"}`, i, g)
					if err := c.Do(context.Background(), c.B().Set().Key(fmt.Sprint("counter:", id)).Value(note).Build()).Error(); err != nil {
						t.Errorf("set: %v", err)
						return
					}
					acked[id].Add(1)
					sets.Add(1)
				}
				before := acked[id].Load()
				n, err := read(clients[(g/2+i)%2], id)
				if err != nil || n < before {
					t.Errorf("counter:%d is %d (%v), and %d writes were acknowledged before", id, n, err, before)
				}
				gets.Add(1)
			}
		})
	}
	wg.Wait()
	t.Logf("%d SETs and %d GETs, no old row", sets.Load(), gets.Load())
	for id := range 10 {
		n, err := read(clients[id%2], id)
		if want := acked[id].Load(); n != want || err != nil {
			t.Errorf("at the end counter:%d is %d (%v), want %d", id, n, err, want)
		}
		m := server.Do(t, "GET", fmt.Sprint("counter:", id))
		if cached, _ := m.ToString(); !strings.Contains(cached, fmt.Sprintf(`"n":%d,`, acked[id].Load())) {
			t.Errorf("Redis holds %v, and the database has n = %d", m, acked[id].Load())
		}
	}
	server.Invariants(t, "counter:")
}

func TestPUT(t *testing.T) {
	file := filepath.Join(t.TempDir(), "nearside.yaml")
	if err := os.WriteFile(file, fmt.Appendf(nil, countersConfig, counters(t, "sqlite"), "'memory:'"), 0o600); err != nil {
		t.Fatal(err)
	}
	r := start(t, serveCmd{Config: file}, nil)
	put := func(path, body, media string) (int, string) {
		req, _ := http.NewRequestWithContext(t.Context(), "PUT", "http://"+r.http+path, strings.NewReader(body))
		req.Header.Set("Content-Type", media)
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		var answer json.RawMessage
		json.NewDecoder(resp.Body).Decode(&answer)
		return resp.StatusCode, string(answer)
	}
	const media = "application/json; charset=utf-8"
	for _, c := range []struct {
		path, body, media string
		status            int
		answer            string
	}{
		{"/v1/counter/3", `{"note":"hi"}`, media, 200, `{"id":3,"n":1,"note":"hi"}`},
		{"/v1/counter/3", `{"note":"hi"}`, "text/plain", 415, `{"error":"expected Content-Type: application/json"}`},
		{"/v1/counter/3", `{"note":`, media, 400, `{"error":"\"counter:3\": bad value: expected a JSON object with the fields of the row: unexpected EOF"}`},
		{"/v1/counter/3", `{"note":"x","id":4}`, media, 400, `{"error":"\"counter:3\": bad value: the field \"id\" is 4, and the key says 3"}`},
		{"/v1/counter/33", `{"note":"x"}`, media, 404, `{"error":"\"counter:33\": no row matched, nothing was written: not found"}`},
		{"/v1/counter/x", `{"note":"x"}`, media, 404, ""},
	} {
		status, answer := put(c.path, c.body, c.media)
		if status != c.status || c.answer != "" && answer != c.answer {
			t.Errorf("PUT %s %s: %d %s, want %d %s", c.path, c.body, status, answer, c.status, c.answer)
		}
	}
	resp, body := r.get(t, "GET", "/v1/counter/3")
	if body != `{"id":3,"n":1,"note":"hi"}` || resp.Header.Get("X-Cache") != "store" {
		t.Errorf("GET after PUT: %s from %s", body, resp.Header.Get("X-Cache"))
	}
}
