package shape_test

import (
	"context"
	"fmt"
	"log"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/shape"
)

// A leaderboard, kept right while people play.
func ExampleSortedSet() {
	ctx := context.Background()
	client, err := nearside.Open(ctx, "memory:", nearside.Options{}) // or redis://localhost:6379
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close()

	scores := map[string]float64{"ada": 90, "bob": 70, "eve": 80} // the database
	boards := shape.NewSortedSet(client, "leaderboard", shape.SortedSetConfig[string, string]{
		Load: func(ctx context.Context, game string) (all []shape.Scored[string], err error) {
			fmt.Println("SELECT player, points FROM scores WHERE game =", game)
			for player, points := range scores {
				all = append(all, shape.Scored[string]{Member: player, Score: points})
			}
			return all, nil
		},
		GrowingScores: true, // points are only won: of two winners of one moment the higher score is the newer one
		TTL:           time.Minute,
	})
	top, err := boards.Top(ctx, "chess", 2)
	fmt.Println(top, err)

	// UPDATE scores SET points = points + 25 ... RETURNING points
	points, err := boards.Update(ctx, "chess", "bob", func(context.Context) (float64, error) {
		scores["bob"] += 25
		return scores["bob"], nil
	})
	fmt.Println("bob has", points, err)

	place, err := boards.Rank(ctx, "chess", "bob")
	fmt.Println("and place", place+1, err)
	near, first, err := boards.Around(ctx, "chess", "ada", 1)
	fmt.Println("around ada, from place", first+1, near, err)
	// Output:
	// SELECT player, points FROM scores WHERE game = chess
	// [{ada 90} {eve 80}] <nil>
	// bob has 95 <nil>
	// and place 1 <nil>
	// around ada, from place 1 [{bob 95} {ada 90} {eve 80}] <nil>
}
