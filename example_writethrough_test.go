package nearside_test

import (
	"context"
	"fmt"

	"github.com/nearside/nearside"
)

// Write-through: the database is written, and the cache holds what was written.
func ExampleCache_Update() {
	ctx := context.Background()
	db := database{42: {42, "Ada"}}
	client := open()
	defer client.Close()
	users := nearside.New(client, "user", nearside.Config[int64, User]{Load: db.User})

	u, err := users.Update(ctx, 42, func(ctx context.Context) (User, error) {
		db[42] = User{42, "Ada Lovelace"} // the whole transaction, commit included
		return db[42], nil
	})
	fmt.Println(u.Name, err)

	u, err = users.Get(ctx, 42) // nobody asks the database
	fmt.Println(u.Name, err)
	// Output:
	// Ada Lovelace <nil>
	// Ada Lovelace <nil>
}
