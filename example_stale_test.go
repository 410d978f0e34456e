package nearside_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nearside/nearside"
)

// Stale: past its TTL a value is served a while longer, while one process loads it anew. Nobody waits.
func ExampleConfig_stale() {
	ctx := context.Background()
	loads := make(chan string, 1)
	loads <- "first"
	client := open()
	defer client.Close()
	names := nearside.New(client, "name", nearside.Config[int64, string]{
		Load:  func(context.Context, int64) (string, error) { return <-loads, nil },
		TTL:   time.Millisecond,
		Stale: time.Hour,
	})

	names.Get(ctx, 1)
	time.Sleep(5 * time.Millisecond)
	e, _ := names.GetEntry(ctx, 1) // the second load has nothing to return yet
	fmt.Println(e.Value, e.Source, e.Stale)
	loads <- "second"
	// Output: first stale true
}
