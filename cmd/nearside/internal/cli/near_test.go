package cli

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nearside/nearside/internal/redistest"
)

// Two serves that keep rows near: a SET is seen at once where it was made, and at the other one as soon as it is told.
func TestServeNear(t *testing.T) {
	server := redistest.Start(t)
	config := write(t, "n.yaml", fmt.Sprintf(countersConfig, counters(t, "sqlite"), server.URL())+"    near: 100\n")
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
			await(t, "an answer from near", func() bool { return near(i) })
		}
		if got := at[0].ask(t, "SET", "counter:3", fmt.Sprintf(`{"note":"%d"}`, n)); got != "+OK\r\n" {
			t.Fatal(got)
		}
		want := fmt.Sprintf(`"note":"%d"`, n)
		if got := at[0].ask(t, "GET", "counter:3"); !strings.Contains(got, want) {
			t.Errorf("behind its own SET: %q", got)
		}
		await(t, "the other serve to hear of it", func() bool { return strings.Contains(at[1].ask(t, "GET", "counter:3"), want) })
	}
	if info := at[0].ask(t, "INFO", "nearside"); !strings.Contains(info, "cache_counter:near=") || strings.Contains(info, "cache_counter:near=0,") {
		t.Errorf("INFO: %q", info)
	}
}
