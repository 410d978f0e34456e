package nearside

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/engine"
)

// Trace is a set of callbacks that report the steps of one call, after net/http/httptrace: what was looked for where, how long it
// took, which call loaded, and what became of it. Each may be nil. All are given the key as it stands in Redis, since a call may be
// about many.
//
// A traced call takes the same steps as any other one. But if it has loaded, it returns when its fill is known, up to one budget
// after LoadEnded, which is when it would have been answered otherwise. Callers that share its load do not wait for that.
//
// A load runs concurrently with its caller, and a refresh in the background. So several goroutines may call the callbacks at once,
// and after the call has returned. Callbacks must not panic, and should not wait.
type Trace struct {
	// Near is called after a look into this process. found is true for a value and for a remembered absence. Caches without a
	// near cache look nowhere.
	Near func(key string, found bool)

	// Store is called after a read of the store. With an error the store did not answer, or was not asked: it is unavailable, or
	// an invalidation is deferred. A cache whose last reads found nothing skips this step and begins with the claim.
	Store func(key string, found bool, took time.Duration, err error)

	// Joined is called if the call waits for a load that another call of this process has begun.
	Joined func(key string)

	// Claimed is called with the answer to a claim of the lease:
	//
	//   - granted: this process loads.
	//   - waiting: another process has the lease. It is waited for, and claimed again.
	//   - hit, stale, absent: there is an answer by now.
	//   - refresh: there is a stale value, and the lease is granted.
	//   - barrier: a write is in progress. This process loads, and does not fill.
	//   - foreign: the key holds another type.
	//
	// With an error there was no answer, and the load goes on without a lease.
	Claimed func(key, state string, err error)

	// LoadBegan and LoadEnded are called around the loader. A load that found no place among MaxLoads only ends.
	LoadBegan func(key string)
	LoadEnded func(key string, took time.Duration, err error)

	// Filled is called when the store has what was loaded or written, or with why it has not. It is not called after a load that
	// failed.
	Filled func(key string, err error)

	// WriteBegan is called when Update or Mutate has removed the old value, or with why the store could not be reached. WriteEnded
	// is called after the caller's own function. Filled follows.
	WriteBegan func(key string, err error)
	WriteEnded func(key string, took time.Duration, err error)

	// Answered is called at the end of a read.
	Answered func(key string, source Source, err error)
}

// WithTrace returns a context whose calls of Get, GetEntry, GetMany, Update, Mutate, and of the caches of package shape, report to t.
// What a loader does with its context is reported too. A nil t ends the trace of an outer context.
//
// Until something is traced in the process, all other calls pay for it with one look at a flag; afterwards with a search of their
// context.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	if t == nil {
		return engine.WithTrace(ctx, nil)
	}
	inside := &engine.Trace{
		Near: t.Near, Store: t.Store, Joined: t.Joined, Claimed: t.Claimed, LoadBegan: t.LoadBegan, LoadEnded: t.LoadEnded,
		Filled: t.Filled, WriteBegan: t.WriteBegan, WriteEnded: t.WriteEnded,
	}
	if t.Answered != nil {
		inside.Answered = func(key string, source engine.Source, err error) { t.Answered(key, Source(source), err) }
	}
	return engine.WithTrace(ctx, inside)
}
