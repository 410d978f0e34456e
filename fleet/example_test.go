package fleet_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/fleet"
)

// The hit ratio and the 99th percentile of one cache in the last hour, over all processes.
func Example() {
	ctx := context.Background()
	client, err := nearside.Open(ctx, "redis://localhost:6379", nearside.Options{Fleet: true})
	if err != nil {
		log.Fatal(err)
	}
	view, err := client.Fleet().Read(ctx, fleet.Query{Cache: "user", Back: time.Hour})
	if err != nil {
		log.Fatal(err)
	}
	for _, c := range view.Caches {
		if c.Err != nil {
			log.Print(c.Name, " could not be read: ", c.Err)
			continue
		}
		fmt.Printf("%s: %.0f reads/s, %.1f %% hits, p99 %v, p99 of Redis %v, %.1f s of the database saved each second\n",
			c.Name, c.Hour.Rate(c.Hour.Reads()), 100*c.Hour.HitRatio(), c.Hour.Quantile(0.99), c.Hour.StoreLatency.Quantile(0.99), c.Hour.SavedPerSecond())
	}
}

// slowDatabase is a fleet whose loads take a second.
type slowDatabase struct{}

func (slowDatabase) Read(context.Context, fleet.Query) (*fleet.View, error) {
	hour := fleet.Window{Span: time.Hour, Counts: fleet.Counts{Near: 6000, Store: 1200, Load: 800, LoadsOK: 800}}
	hour.NearLatency.Add(400*time.Nanosecond, 25)
	hour.StoreLatency.Add(300*time.Microsecond, 1200)
	hour.LoadLatency.Add(time.Second, 800)
	return &fleet.View{Names: []string{"user"}, Caches: []fleet.Cache{{Name: "user", Hour: hour}}, Hour: hour}, nil
}

// healthy returns an error if a cache is of little use.
func healthy(ctx context.Context, r fleet.Reader) error {
	view, err := r.Read(ctx, fleet.Query{Back: time.Hour})
	if err != nil {
		return err
	}
	var failed error
	for _, c := range view.Caches {
		if p99 := c.Hour.Quantile(0.99); p99 > 100*time.Millisecond {
			failed = errors.Join(failed, fmt.Errorf("%s: the slowest hundredth of reads takes %.1f s, and %.0f %% are hits", c.Name, p99.Seconds(), 100*c.Hour.HitRatio()))
		}
	}
	return failed
}

// A test of code that reads the fleet's numbers has a Reader of its own.
func ExampleReader() {
	fmt.Println(healthy(context.Background(), slowDatabase{}))
	// Output: user: the slowest hundredth of reads takes 1.0 s, and 90 % are hits
}

// The code of docs/fleet.md is that of Example.
func TestDocs(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/fleet.md")
	if err != nil {
		t.Fatal(err)
	}
	source, err := os.ReadFile("example_test.go")
	if err != nil {
		t.Fatal(err)
	}
	flat := func(s string) string { return strings.ReplaceAll(s, "\t", "") }
	_, code, _ := strings.Cut(string(page), "```go\n")
	code, rest, ok := strings.Cut(code, "```\n")
	if !ok || strings.Contains(rest, "```go") {
		t.Fatal("docs/fleet.md has not one example in Go")
	}
	if !strings.Contains(flat(string(source)), flat(code)) {
		t.Errorf("this is not part of example_test.go:\n%s", code)
	}
}
