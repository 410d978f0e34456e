package cli

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// A serve that ends while COMMIT waits leaves the key barred for as long as the commit may take, says so, and neither waits for the
// commit nor cancels it.
func TestEndWhileCommitWaits(t *testing.T) {
	server := redistest.Start(t)
	db := dbtest.Postgres(t)
	db.Exec(t, "CREATE TABLE doubts (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO doubts VALUES (1, 0), (2, 0)")
	file := filepath.Join(t.TempDir(), "nearside.yaml")
	config := `
database: %s
redis: %s
load_timeout: 1s
caches:
  doubt:
    key: doubt:{id}
    load: SELECT id, n FROM doubts WHERE id = {id}
    store: UPDATE doubts SET n = {n} WHERE id = {id}
`
	if err := os.WriteFile(file, fmt.Appendf(nil, config, db.URL, server.URL()), 0o600); err != nil {
		t.Fatal(err)
	}
	setStandby := func(names string) {
		db.Exec(t, "ALTER SYSTEM SET synchronous_standby_names = '"+names+"'", "SELECT pg_reload_conf()")
	}
	t.Cleanup(func() { setStandby("") })
	r := start(t, serveCmd{Config: file}, nil)
	c := connectTo(t, r.redis)
	set := func(key, value string) error {
		return c.Do(context.Background(), c.B().Set().Key(key).Value(value).Build()).Error()
	}
	get := func(addr string) (int, string) {
		resp, err := http.Get("http://" + addr)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	if err := set("doubt:1", `{"n":1}`); err != nil {
		t.Fatal(err)
	}
	setStandby("away")
	slow := time.Now().Add(time.Minute) // load_timeout may be over before COMMIT is sent: then the write is certain
	committed, pending := 1, 0
	for n := 2; pending == 0; n++ { // until the server has heard of its standby
		switch err := set("doubt:1", fmt.Sprintf(`{"n":%d}`, n)); {
		case err == nil:
			committed = n
		case strings.Contains(err.Error(), "the outcome of the database write is not known"):
			pending = n
		case time.Now().After(slow):
			t.Fatalf("set: %v", err)
		}
	}
	for {
		put, err := http.NewRequest("PUT", "http://"+r.http+"/v1/doubt/2", strings.NewReader(`{"n":2}`))
		if err != nil {
			t.Fatal(err)
		}
		put.Header.Set("Content-Type", "application/json")
		resp, err := http.DefaultClient.Do(put)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode == http.StatusGatewayTimeout && strings.Contains(string(text), "not known") {
			break
		}
		if resp.StatusCode != http.StatusBadGateway || time.Now().After(slow) {
			t.Fatalf("put: %d %s", resp.StatusCode, text)
		}
	}
	if _, body := get(r.http + "/metrics"); !strings.Contains(body, "\nnearside_keys_in_doubt 2\n") || !strings.Contains(body, `nearside_writes_in_doubt_total{cache="doubt"} 2`) {
		t.Error("the metrics do not say that two writes are in doubt")
	}
	began := time.Now()
	if err := r.end(); err != nil {
		t.Errorf("end: %v", err)
	}
	if took := time.Since(began); took > 4*endWait {
		t.Errorf("the end took %v", took)
	}
	if !strings.Contains(r.err.String(), "2 keys have writes whose outcome is not known") {
		t.Errorf("the log says\n%s", r.err.String())
	}
	for _, key := range []string{"doubt:1", "doubt:2"} {
		side := server.Do(t, "GET", "{"+key+"}:~l")
		if v, err := side.ToString(); err != nil || !strings.HasPrefix(v, "!") {
			t.Errorf("the sidecar of %s is %q (%v), want an intent", key, v, err)
		}
		if ms, err := server.Do(t, "PTTL", "{"+key+"}:~l").AsInt64(); err != nil || time.Duration(ms)*time.Millisecond < time.Minute-time.Since(began) {
			t.Errorf("the intent of %s has %d ms to live", key, ms)
		}
	}
	again := start(t, serveCmd{Config: file}, nil)
	for range 3 { // it was not cancelled: nothing is visible, and nothing is stored
		if _, body := get(again.http + "/v1/doubt/1"); body != fmt.Sprintf(`{"id":1,"n":%d}`, committed) {
			t.Errorf("while it waits: %s", body)
		}
	}
	setStandby("")
	eventually.True(t, "the row of the commit", func() bool {
		_, body := get(again.http + "/v1/doubt/1")
		return body == fmt.Sprintf(`{"id":1,"n":%d}`, pending)
	})
}
