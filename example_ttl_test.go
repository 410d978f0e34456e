package nearside_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nearside/nearside"
)

// TTL: how long a value stays fresh, and where an answer came from.
func ExampleCache_TTL() {
	ctx := context.Background()
	db := database{42: {42, "Ada"}}
	client := open()
	defer client.Close()
	users := nearside.New(client, "user", nearside.Config[int64, User]{
		Load:   db.User,
		TTL:    time.Hour,
		Jitter: -1, // off, so that this example is exact
	})

	users.Get(ctx, 42)
	ttl, err := users.TTL(ctx, 42)
	fmt.Println(ttl.Round(time.Minute), err)

	e, err := users.GetEntry(ctx, 42)
	fmt.Println(e.Value.Name, e.Source, e.Age.Round(time.Minute), e.TTL.Round(time.Minute), err)
	// Output:
	// the database is asked for 42
	// 1h0m0s <nil>
	// Ada store 0s 1h0m0s <nil>
}
