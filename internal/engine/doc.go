// Package engine reads and writes through a cache: store, lease, load, fill. It knows keys as text and values not at all. Package
// typed is the shell that knows both; the public packages and the server are thin layers over that.
//
// Cache (cache.go) is what all caches have in common. Values (values.go) and Collection (collection.go, gather.go) add what
// differs: each is a strategy of loads, and has its own writes (write.go, member.go).
//
// # A read
//
// Get (get.go) reads the store. It serves a value; a stale one too, after which a refresh starts in the background. A miss joins
// the key's call (package flight): one goroutine of this process claims the lease, calls the loader and fills, while the callers
// wait, each with its own context. The load has a time limit of its own, so a caller that leaves does not end it for the others.
//
// The way of a miss is pipeline.go: run claims (claim.go) and loads (load.go); complete ends the lease (fill.go) and answers the
// callers (deliver.go), those that joined before the load even before the fill.
//
// # Which callers may share a load
//
// What a load returns is what the database held at some time after the load began. So a caller that was waiting when it began may
// have it in any case. A caller that joined later may have begun after an invalidation that the load has not seen. It may have the
// result only if its fill was accepted, which proves that there was no invalidation until then, and only if it joined before the
// fill was sent. All others share the next load: no caller waits for more than two.
//
// # When the store does not answer
//
// Each step of a read waits for the store no longer than the budget (budget.go). A read of the store without an answer is followed
// by a load without a lease, which fills nothing. Batches are cut into pieces (pieces.go), each with a budget of its own; after a
// piece without an answer, the rest of the batch bypasses the store. The token of a claim without an answer is never used to fill,
// since it may have been granted after the database was read; it is released after the load.
//
// A command of a write is sent again within WriteBudget (package retry). An invalidation that is not answered by then is deferred:
// it is repeated until it is delivered, and until then this process bypasses the store for its key (package recovery).
//
// # When the outcome of a write is not known
//
// A commit whose answer did not come may become visible at any later moment. Its intents stand until its outcome is known, and are
// ended then: see doubt.go.
package engine
