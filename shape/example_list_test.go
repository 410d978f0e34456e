package shape_test

import (
	"context"
	"fmt"
	"log"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/shape"
)

// What somebody did of late, the newest first and at most three of it.
func ExampleList() {
	ctx := context.Background()
	client, err := nearside.Open(ctx, "memory:", nearside.Options{}) // or redis://localhost:6379
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	rows := []string{"liked a lamp", "viewed a mug", "rated a pan", "bought a pan"} // the database
	actions := shape.NewList(client, "actions", shape.ListConfig[int, string]{
		Load: func(_ context.Context, user int) ([]string, error) {
			fmt.Println("SELECT action FROM actions ... ORDER BY at DESC LIMIT 3")
			return rows[:min(3, len(rows))], nil
		},
		Cap: 3,
	})
	recent, err := actions.Range(ctx, 42, 0, -1)
	fmt.Printf("%q %v\n", recent, err)

	_, err = actions.Update(ctx, 42, func(context.Context) (string, error) { // INSERT INTO actions ...
		rows = append([]string{"bought a lamp"}, rows...)
		return rows[0], nil
	})
	fmt.Println("pushed:", err)

	recent, err = actions.Range(ctx, 42, 0, -1)
	fmt.Printf("%q %v\n", recent, err)
	// Output:
	// SELECT action FROM actions ... ORDER BY at DESC LIMIT 3
	// ["liked a lamp" "viewed a mug" "rated a pan"] <nil>
	// pushed: <nil>
	// ["bought a lamp" "liked a lamp" "viewed a mug"] <nil>
}
