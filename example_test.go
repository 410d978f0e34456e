package nearside_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/nearside/nearside"
)

type User struct {
	ID   int64  `json:"id"`
	Name string `json:"name"`
}

// database stands for yours: it says when it is asked.
type database map[int64]User

func (db database) User(_ context.Context, id int64) (User, error) {
	fmt.Println("the database is asked for", id)
	u, ok := db[id]
	if !ok {
		return User{}, nearside.ErrNotFound
	}
	return u, nil
}

func open() *nearside.Client {
	client, err := nearside.Open(context.Background(), "memory:", nearside.Options{}) // or redis://localhost:6379
	if err != nil {
		log.Fatal(err)
	}
	return client
}

// Cache-aside: check the cache, else ask the database, and remember it for an hour.
func Example() {
	ctx := context.Background()
	db := database{42: {42, "Ada"}}
	client := open()
	defer client.Close()

	users := nearside.New(client, "user", nearside.Config[int64, User]{
		Load: db.User,
		TTL:  time.Hour,
	})
	for range 3 {
		u, err := users.Get(ctx, 42)
		fmt.Println(u.Name, err)
	}
	// Output:
	// the database is asked for 42
	// Ada <nil>
	// Ada <nil>
	// Ada <nil>
}
