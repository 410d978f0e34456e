// Package nearside is a caching layer between an application and its database, on Redis or Valkey, or in memory.
//
// A cache has its loader inside. Get answers from the store, else loads, once for all processes, and remembers:
//
//	client, err := nearside.Open(ctx, "redis://localhost:6379", nearside.Options{})
//
//	users := nearside.New(client, "user", nearside.Config[int64, User]{
//		Load:  db.User, // func(context.Context, int64) (User, error)
//		TTL:   time.Hour,
//		Stale: 10 * time.Minute,
//	})
//
//	u, err := users.Get(ctx, 42) // key user:42
//
// # What it promises
//
// A value that was read from the database before a write is never served by a Get that began after that write's Update
// or Invalidate returned nil; what another process keeps near (Config.NearSize) lives until the push is there. For one key one process loads at a time. A Get that the loader can answer succeeds without
// Redis. Values are plain: GET user:42 in redis-cli shows what the codec wrote. Everything that is written has a TTL. A
// caller's cancel is his own. Each answer can say where it came from.
//
// Outside of the promise: Set (the last call wins), programs that change a key without deleting its sidecar too (DEL
// user:42 {user:42}:~l), invalidations that returned an error, and the last seconds that a failover of Redis loses.
// All of it ends with the TTL. A Redis that is started from an old snapshot is noticed, and emptied before it is read.
//
// # Writing
//
// Update runs the database write and leaves the new value in the cache. Invalidate, after a commit made elsewhere,
// removes values. See the examples of Cache.
package nearside
