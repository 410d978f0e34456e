package nearside_test

import (
	"context"
	"fmt"
	"time"

	"github.com/nearside/nearside"
)

// One transaction that changes two rows: neither is cached while it runs, and both are loaded afterwards.
func ExampleClient_Mutate() {
	ctx := context.Background()
	db := database{1: {1, "Ada"}, 2: {2, "Grace"}}
	client := open()
	defer client.Close()
	users := nearside.New(client, "user", nearside.Config[int64, User]{Load: db.User})
	users.Get(ctx, 1)

	err := client.Mutate(ctx, func(ctx context.Context) error {
		db[1], db[2] = User{1, db[2].Name}, User{2, db[1].Name} // begin, two updates, commit
		return nil
	}, users.Key(1), users.Key(2))
	fmt.Println(err)

	u, _ := users.Get(ctx, 1)
	fmt.Println(u.Name)
	// Output:
	// the database is asked for 1
	// <nil>
	// the database is asked for 1
	// Grace
}

// A field was added: what the version before has stored decodes without it, so the cache has a new name.
func ExampleNew_version() {
	type UserV2 struct {
		ID    int64  `json:"id"`
		Name  string `json:"name"`
		Phone string `json:"phone"`
	}
	ctx := context.Background()
	client := open()
	defer client.Close()
	load := func(context.Context, int64) (UserV2, error) { return UserV2{42, "Ada", "+44 20 7946 0000"}, nil }

	users := nearside.New(client, "user.v2", nearside.Config[int64, UserV2]{Load: load})
	u, _ := users.Get(ctx, 42)
	fmt.Println(users.Key(42), u.Phone)
	// Output:
	// user.v2:42 +44 20 7946 0000
}

// The near tier: what was read once is kept in the process, and dropped when anybody changes it.
func ExampleConfig_nearSize() {
	ctx := context.Background()
	db := database{42: {42, "Ada"}}
	client := open()
	defer client.Close()
	users := nearside.New(client, "user", nearside.Config[int64, User]{
		Load:     db.User,
		TTL:      time.Hour,
		NearSize: 10_000,
	})
	for {
		e, _ := users.GetEntry(ctx, 42) // load, store, and near from then on
		if e.Source == nearside.SourceNear {
			fmt.Println(e.Value.Name, "from this process")
			break
		}
	}
	// Output:
	// the database is asked for 42
	// Ada from this process
}
