package nearside

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/typed"
)

var (
	// ErrNotFound is the only word for absence. A loader returns or wraps it when the database has no such row; Get
	// reports it, and remembers it for Config.NotFoundTTL.
	ErrNotFound = engine.ErrNotFound

	// ErrUnavailable says that Redis could not be reached. Get and its like never return it, since the loader answers. Peek, TTL and
	// Cached, which have no loader, return the error of the store.
	//
	//   - Update, Mutate and Invalidate, and those of package shape, return it after the database was written: the write is done,
	//     and only the invalidation is missing. The client repeats it until Redis has it, and its own reads of the key bypass Redis
	//     until then. Other processes may read the old value meanwhile. So log it, and do not report the write as failed; Update shows
	//     how.
	//   - Set returns it if the value was not stored.
	//   - Package session returns it from all calls: a session is nowhere but in Redis.
	ErrUnavailable = engine.ErrUnavailable

	// ErrInDoubt says that an Update or a Mutate has failed and that nobody knows whether the database will have the write. Its
	// commit may become visible at any later moment; until it is known not to, nothing is cached for the key. It wraps the
	// error of the write.
	ErrInDoubt = engine.ErrInDoubt

	// ErrClosed is returned by every call after Client.Close.
	ErrClosed = engine.ErrClosed

	// ErrKey is wrapped by the error of a key that is longer than 64 KiB, that looks like a key of the layer's own, or that
	// Client.InvalidateKeys is given and that is no key of the cache.
	ErrKey = engine.ErrKey

	// ErrOverloaded is wrapped by the error of Get if Config.MaxLoads were under way for as long as a load may take.
	ErrOverloaded = engine.ErrOverloaded

	// ErrCycle is wrapped by the error of a read that a loader makes, and that would wait for the very load that it is part
	// of. The error names the circle: "user:1 -> team:7 -> user:1". It is found at once, also where two loads wait for each
	// other that two callers have begun. Not found is a circle through another process, or through a goroutine that the
	// loader starts without its context: it ends with Config.LoadTimeout.
	ErrCycle = engine.ErrCycle

	// ErrTooLarge is wrapped by the error of Set for a value above Config.MaxValue.
	ErrTooLarge = engine.ErrTooLarge
)

// BatchError is the error that a Config.LoadMany returns if it knows which keys failed, each with its error (what GetMany returns is a
// KeyErrors):
//
//	failed := nearside.BatchError[int64]{}
//	...
//	failed[id] = err
//	...
//	return users, failed // or fmt.Errorf("...: %w", failed)
//
// Keys that it names fail, whatever the map has for them; one with ErrNotFound has no row. A key that it does not name has the row
// that is in the map, or no row if the map lacks it. With an empty BatchError no key failed. Joined with another error
// (errors.Join) it is an error of all keys.
type BatchError[K comparable] map[K]error

// Error names one of the keys and its error.
func (e BatchError[K]) Error() string { return typed.Failures[K](e).Error() }

// Failed returns the error of each key that failed.
func (e BatchError[K]) Failed() map[K]error { return e }

// KeyErrors is the error that GetMany and GetManyEntries return: the keys that failed, each with its error. errors.As finds it, and
// errors.Is the errors of all keys. (What a LoadMany returns is a BatchError.)
type KeyErrors[K comparable] map[K]error

// Error names one of the keys and its error.
func (e KeyErrors[K]) Error() string { return typed.Failures[K](e).Error() }

// Unwrap returns the errors of all keys.
func (e KeyErrors[K]) Unwrap() []error { return slices.Collect(maps.Values(e)) }

// PanicError is the error of a loader, or of a function given to Update or Mutate, that panicked.
type PanicError struct {
	Value any    // what it panicked with; nil if it called runtime.Goexit
	Stack []byte // of the goroutine that panicked
}

// Error says what the function panicked with.
func (e *PanicError) Error() string {
	if e.Value == nil {
		return "the loader called runtime.Goexit"
	}
	return fmt.Sprintf("the loader panicked: %v", e.Value)
}

// Unwrap returns Value if it is an error.
func (e *PanicError) Unwrap() error {
	err, _ := e.Value.(error)
	return err
}

func init() {
	engine.NewPanicError = func(value any, stack []byte) error { return &PanicError{value, stack} }
}

// NotCommitted marks the error of a database write that is certainly not committed, and never will be: COMMIT was not sent, or
// the database has answered it with an error. Return it from the function given to Update or Mutate: the key is then cached
// again at once. NotCommitted(nil) is nil.
//
// It is right to mark every error from before COMMIT, the loss of the connection included: the database rolls back what it was
// not told to commit. The answer to COMMIT itself is different. If it is lost, nobody knows; return that error as it is, or by
// way of InDoubt.
func NotCommitted(err error) error { return engine.Final(err) }

// InDoubt marks the error of a database write whose COMMIT was sent and not answered, and names a way to ask for its outcome:
// settled returns nil once the outcome is final, that is, committed and visible to loads, or rolled back; it does not matter
// which. An error has it asked again, after 50 ms at first and every 2 s in the end, for as long as it takes. Its context ends
// after 10 s. It may be called by several goroutines at once.
//
// Until then nothing is cached for the key; afterwards it is invalidated once more. Where an error has both this mark and that of
// NotCommitted, the doubt holds. InDoubt(nil, ...) is nil.
func InDoubt(err error, settled func(context.Context) error) error {
	return engine.InDoubt(err, settled)
}
