// Package engine is the way of a read and of a write: store, lease, load, fill. The public packages and the server are
// skins over it.
//
// # A read
//
// Get reads the store. A value is served; a stale one too, and a refresh starts behind it. A miss joins the key's call
// (package flight): one goroutine of this process claims the lease, loads, and fills, while the callers wait, each with
// his own context. The load has a time limit of its own, so a caller who leaves takes nobody with him.
//
// # Who may have a result
//
// What a load returns is what the database held at some time after the load began. So a caller who was waiting when it
// began may have it in any case. One who joined later may have begun after an invalidation that the load has not seen;
// he may have it only if its fill was accepted, which proves that nobody invalidated until then, and only if he joined
// before the fill was sent. All others share the next load: nobody waits for more than two.
//
// # When the store does not answer
//
// Each step of a read waits for the store no longer than the budget (budget.go). A look without an answer is followed by a load
// without a lease, which fills nothing. Batches are cut into pieces (pieces.go), each with a budget of its own; after a piece
// without an answer, the rest of the batch bypasses the store. The token of a claim without an answer is never used to fill, since it may have been granted after the database was read; it is
// released behind the load.
//
// An invalidation without an answer is kept, and repeated until it is delivered; so long this process reads its key past the
// store.
//
// # When nobody knows what a write has done
//
// A commit whose answer did not come may become visible at any later moment. Its intents stand until its outcome is known, and are
// ended then: see doubt.go.
package engine
