package nearside_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/nearside/nearside"
)

// Absence: a row that does not exist is asked for once. Whoever creates it invalidates the key.
func ExampleConfig_notFoundTTL() {
	ctx := context.Background()
	db := database{}
	client := open()
	defer client.Close()
	users := nearside.New(client, "user", nearside.Config[int64, User]{
		Load:        db.User,
		NotFoundTTL: 30 * time.Second,
	})

	for range 2 {
		e, err := users.GetEntry(ctx, 7)
		fmt.Println(errors.Is(err, nearside.ErrNotFound), e.Source)
	}
	db[7] = User{7, "Grace"}
	users.Invalidate(ctx, 7)
	u, err := users.Get(ctx, 7)
	fmt.Println(u.Name, err)
	// Output:
	// the database is asked for 7
	// true load
	// true negative
	// the database is asked for 7
	// Grace <nil>
}
