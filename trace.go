package nearside

import (
	"context"

	"github.com/nearside/nearside/internal/engine"
)

// Trace is a set of callbacks that tell the story of one call, after net/http/httptrace: what was looked for where, how long it
// took, who loaded, and what became of it. Each may be nil. All are told the key as it stands in Redis, since a call may be about
// many:
//
//	Near       func(key string, found bool)                                   // looked in this process
//	Store      func(key string, found bool, took time.Duration, err error)    // asked the store, which may be away
//	Joined     func(key string)                                               // waits for a load of this process
//	Claimed    func(key, state string, err error)                             // asked for the lease: granted, waiting, hit, ...
//	LoadBegan  func(key string)
//	LoadEnded  func(key string, took time.Duration, err error)
//	Filled     func(key string, err error)                                    // the store has it, or why not
//	WriteBegan func(key string, err error)                                    // of Update and Mutate: the old value is gone
//	WriteEnded func(key string, took time.Duration, err error)                // so ended the caller's function
//	Answered   func(key string, source Source, err error)                     // the end of a read
//
// A traced call takes the same way as any other one. But if it has loaded it returns when its fill is known, up to one budget after
// LoadEnded, which is when it would have been answered otherwise; callers that share its load do not wait for that.
//
// A load runs beside its caller, and a refresh goes on behind him: callbacks may be called by several goroutines, at once, and
// after the call has returned. They must not panic, and should not wait.
type Trace = engine.Trace

// WithTrace returns a context whose calls of Get, GetEntry, GetMany, Update, Mutate, and of the collections of package shape, tell
// t their story. What a loader does with its context is told too. A nil t ends what an outer context began.
//
// As long as nothing was ever traced in the process, all others pay for it with one look at a flag; afterwards with a look into
// their context.
func WithTrace(ctx context.Context, t *Trace) context.Context { return engine.WithTrace(ctx, t) }
