package nearside_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nearside/nearside"
)

// A trace tells how one answer came about: here of a read that finds nothing, and of the next one.
func ExampleWithTrace() {
	client := open()
	defer client.Close()
	users := nearside.New(client, "user", nearside.Config[int64, User]{Load: database{42: {42, "Ada"}}.User})

	ctx := nearside.WithTrace(context.Background(), &nearside.Trace{
		Store: func(key string, found bool, _ time.Duration, err error) {
			fmt.Println(key, "in the store:", found, err)
		},
		Claimed:   func(key, state string, err error) { fmt.Println(key, "the lease:", state) },
		LoadEnded: func(key string, took time.Duration, err error) { fmt.Println(key, "loaded:", took < time.Second, err) },
		Filled:    func(key string, err error) { fmt.Println(key, "stored:", err == nil) },
		Answered:  func(key string, source nearside.Source, err error) { fmt.Println(key, "answered from", source, err) },
	})
	users.Get(ctx, 42)
	users.Get(ctx, 42)
	// Output:
	// user:42 in the store: false <nil>
	// user:42 the lease: granted
	// the database is asked for 42
	// user:42 loaded: true <nil>
	// user:42 stored: true
	// user:42 answered from load <nil>
	// user:42 in the store: true <nil>
	// user:42 answered from store <nil>
}
