package nearside_test

import (
	"context"
	"fmt"

	"github.com/nearside/nearside"
)

// Invalidation: the database was changed elsewhere, and the cache is told after the commit.
func ExampleCache_Invalidate() {
	ctx := context.Background()
	db := database{42: {42, "Ada"}}
	client := open()
	defer client.Close()
	users := nearside.New(client, "user", nearside.Config[int64, User]{Load: db.User})

	u, _ := users.Get(ctx, 42)
	fmt.Println(u.Name)

	db[42] = User{42, "Ada Lovelace"}
	if err := users.Invalidate(ctx, 42); err != nil {
		fmt.Println(err) // ErrUnavailable: Redis could not be told
	}

	u, _ = users.Get(ctx, 42)
	fmt.Println(u.Name)
	// Output:
	// the database is asked for 42
	// Ada
	// the database is asked for 42
	// Ada Lovelace
}
