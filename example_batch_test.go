package nearside_test

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nearside/nearside"
)

// Batch: many keys in one trip, and one query for those that the cache lacks.
func ExampleCache_GetMany() {
	ctx := context.Background()
	db := database{1: {1, "Ada"}, 2: {2, "Grace"}}
	client := open()
	defer client.Close()
	users := nearside.New(client, "user", nearside.Config[int64, User]{
		LoadMany: func(_ context.Context, ids []int64) (map[int64]User, error) {
			fmt.Println("the database is asked for", ids) // SELECT ... WHERE id IN (...)
			found := make(map[int64]User)
			for _, id := range ids {
				if u, ok := db[id]; ok {
					found[id] = u
				}
			}
			return found, nil
		},
	})

	users.Get(ctx, 1)
	found, err := users.GetMany(ctx, []int64{1, 2, 3})
	for _, id := range slices.Sorted(maps.Keys(found)) {
		fmt.Println(id, found[id].Name)
	}
	fmt.Println(err)
	// Output:
	// the database is asked for [1]
	// the database is asked for [2 3]
	// 1 Ada
	// 2 Grace
	// <nil>
}
