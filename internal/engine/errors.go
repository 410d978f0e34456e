package engine

import (
	"errors"
	"fmt"

	"github.com/nearside/nearside/internal/recovery"
	"github.com/nearside/nearside/internal/store"
)

var (
	// ErrNotFound says that the database has no such row.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable says that the database is written and that the cache could not be invalidated.
	ErrUnavailable = recovery.ErrUnavailable
	// ErrClosed is the error of calls after Close.
	ErrClosed = errors.New("the client is closed")
	// ErrKey is wrapped by the error of a key that cannot be one.
	ErrKey = store.ErrKey
	// ErrOverloaded says that a load found no place among MaxLoads.
	ErrOverloaded = errors.New("overloaded")
	// ErrCycle is wrapped by the error of a read by a loader that would wait for that loader's own load.
	ErrCycle = errors.New("a loader would wait for its own load")
	// ErrTooLarge is wrapped by the error of a Set above MaxValue.
	ErrTooLarge = errors.New("value too large")
)

// NewPanicError makes the error of a function of the application that panicked: value is what it panicked with, nil if it called
// runtime.Goexit. Package nearside sets it once, to a type that applications know.
var NewPanicError = func(value any, stack []byte) error { return fmt.Errorf("the loader panicked: %v", value) }
