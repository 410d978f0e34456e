package nearside_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"time"

	"github.com/nearside/nearside"
)

// Redis is unavailable, and a row is written. The database has the row, so the write must not be reported as failed: the client
// repeats the invalidation until Redis has it.
func ExampleCache_Update_unavailable() {
	ctx := context.Background()
	client, err := nearside.Open(ctx, "redis://127.0.0.1:1", nearside.Options{
		WriteBudget: 10 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()
	db := map[int64]User{42: {42, "Ada"}}
	users := nearside.New(client, "user", nearside.Config[int64, User]{
		Load: func(_ context.Context, id int64) (User, error) { return db[id], nil },
	})

	rename := func(id int64, name string) (User, error) {
		u, err := users.Update(ctx, id, func(context.Context) (User, error) {
			db[id] = User{id, name} // the transaction, commit included
			return db[id], nil
		})
		if errors.Is(err, nearside.ErrUnavailable) {
			fmt.Println("written, and the cache is invalidated later")
			err = nil
		}
		return u, err
	}
	u, err := rename(42, "Grace")
	fmt.Println(u.Name, err)
	u, err = users.Get(ctx, 42) // this process reads the database until Redis has the invalidation
	fmt.Println(u.Name, err)
	// Output:
	// written, and the cache is invalidated later
	// Grace <nil>
	// Grace <nil>
}
