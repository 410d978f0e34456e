package shape_test

import (
	"context"
	"fmt"
	"log"
	"slices"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/shape"
)

// Friends, and those that two people have in common.
func ExampleSet() {
	ctx := context.Background()
	client, err := nearside.Open(ctx, "memory:", nearside.Options{}) // or redis://localhost:6379
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	rows := map[int][]int{1: {2, 3, 5}, 2: {1, 3, 8}} // the database
	friends := shape.NewSet(client, "friends", shape.SetConfig[int, int]{
		Load: func(_ context.Context, user int) ([]int, error) {
			fmt.Println("SELECT friend_id FROM friendships WHERE user_id =", user)
			return rows[user], nil
		},
		LoadOne: func(_ context.Context, user, friend int) (bool, error) {
			return slices.Contains(rows[user], friend), nil
		},
	})
	has, err := friends.HasMany(ctx, 1, 2, 8)
	fmt.Println("2 and 8 are friends of 1:", has, err)

	err = friends.Update(ctx, 1, 8, func(context.Context) error { // INSERT INTO friendships ...
		rows[1] = append(rows[1], 8)
		return nil
	})
	fmt.Println("befriended:", err)

	common, err := friends.Intersect(ctx, 1, 2)
	slices.Sort(common)
	fmt.Println("in common:", common, err)
	// Output:
	// SELECT friend_id FROM friendships WHERE user_id = 1
	// 2 and 8 are friends of 1: [true false] <nil>
	// befriended: <nil>
	// SELECT friend_id FROM friendships WHERE user_id = 2
	// in common: [3 8] <nil>
}
