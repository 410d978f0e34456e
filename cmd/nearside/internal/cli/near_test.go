package cli

import (
	"database/sql"
	"fmt"
	"strings"
	"testing"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// Two serves that keep rows near: a SET is seen at once where it was made, and at the other one as soon as it is told.
func TestServeNear(t *testing.T) {
	server := redistest.Start(t)
	database := counters(t, "sqlite")
	db, err := sql.Open("sqlite", strings.TrimPrefix(database, "sqlite:"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	config := write(t, "n.yaml", fmt.Sprintf(countersConfig, database, server.URL())+"    near: 100\n    not_found_ttl: 1m\n")
	var at [2]*raw
	var serves [2]*running
	for i := range at {
		serves[i] = start(t, serveCmd{Config: config}, nil)
		at[i] = dialRaw(t, serves[i].redis)
	}
	near := func(i int) bool {
		resp, _ := serves[i].get(t, "GET", "/v1/counter/3")
		return resp.Header.Get("X-Cache") == "near"
	}
	for n := 1; n <= 5; n++ {
		for i := range at {
			eventually.True(t, "an answer from near", func() bool { return near(i) })
		}
		if got := at[0].ask(t, "SET", "counter:3", fmt.Sprintf(`{"note":"%d"}`, n)); got != "+OK\r\n" {
			t.Fatal(got)
		}
		want := fmt.Sprintf(`"note":"%d"`, n)
		if got := at[0].ask(t, "GET", "counter:3"); !strings.Contains(got, want) {
			t.Errorf("behind its own SET: %q", got)
		}
		eventually.True(t, "the other serve to hear of it", func() bool { return strings.Contains(at[1].ask(t, "GET", "counter:3"), want) })
	}
	// That there is no such row is kept too, until somebody invalidates it.
	absent := func() bool {
		resp, _ := serves[0].get(t, "GET", "/v1/counter/99")
		return resp.StatusCode == 404 && resp.Header.Get("X-Cache") == "near"
	}
	eventually.True(t, "an absence from near", absent)
	if got := at[0].ask(t, "GET", "counter:99"); got != "$-1\r\n" {
		t.Errorf("an absence from near: %q", got)
	}
	if _, err := db.Exec("INSERT INTO counters VALUES (99, 0, 'new')"); err != nil {
		t.Fatal(err)
	}
	at[1].ask(t, "DEL", "counter:99")
	eventually.True(t, "the other serve to hear of it", func() bool { return strings.Contains(at[0].ask(t, "GET", "counter:99"), "new") })
	if info := at[0].ask(t, "INFO", "nearside"); !strings.Contains(info, "cache_counter:near=") || strings.Contains(info, "cache_counter:near=0,") {
		t.Errorf("INFO: %q", info)
	}
}
