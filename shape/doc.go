// Package shape caches collections in the shape they are used in: a leaderboard as a sorted set, friends as a set, recent
// actions as a list, a product as a hash. Each loads itself on the first read, by one process for all, and answers reads of
// its parts without moving the whole:
//
//	boards := shape.NewSortedSet(client, "leaderboard", shape.SortedSetConfig[string, int64]{
//		Load:     db.Scores, // func(context.Context, string) ([]shape.Scored[int64], error)
//		LoadOne:  db.Score,  // func(context.Context, string, int64) (float64, error)
//		TTL:      time.Minute,
//	})
//
//	top, err := boards.Top(ctx, "chess", 10)
//	rank, err := boards.Rank(ctx, "chess", 42)
//	score, err := boards.Update(ctx, "chess", 42, func(ctx context.Context) (float64, error) { return db.AddPoints(ctx, "chess", 42, 10) })
//
// In Redis they are plain: ZREVRANGE leaderboard:chess 0 9 WITHSCORES in redis-cli shows the same, and every one has a TTL.
//
// # What is promised
//
// For each member what package nearside promises for a value: none is older than a write of that member that was acknowledged before the
// read began, whether by Update, by Delete, by Add and its like, or by an Invalidate of the whole. A collection is whole or
// missing, never half. What is not promised is that the whole is one state of the database: if the writes of two members
// overlap, a read between their ends shows the one and not the other.
//
// Reads go on while members are written: a write of one member costs two trips, and no load. Where two writers of one member
// overlap, the order of their commits is not known to the cache; then the member's row is read again (LoadOne), or the higher
// version wins (HashConfig.Version, SortedSetConfig.GrowingScores), or else the collection is dropped and loaded by the next
// read; Stats counts such drops as Dropped.
//
// A collection without elements and one that does not exist are the same, as in Redis: it has no members, and Top and Range return none.
// Only a question about one member or field, and Hash.All, returns ErrNotFound. That there is nothing is remembered for NotFoundTTL.
package shape
