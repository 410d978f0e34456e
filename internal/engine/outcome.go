package engine

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"time"
)

// What is known of a database write whose function returned an error.

// ErrInDoubt says that nobody knows whether a database write was committed.
var ErrInDoubt = errors.New("the outcome of the database write is not known")

// Final marks an error of a write whose outcome is final: it was rolled back, was never sent, or is committed and visible.
// Final(nil) is nil.
func Final(err error) error {
	if err == nil {
		return nil
	}
	return finalError{err}
}

type finalError struct{ error }

func (e finalError) Unwrap() error { return e.error }

// InDoubt marks an error of a write that may still become visible, and names the way to ask. settled returns nil once the
// outcome is final, whichever it is, and an error if it must be asked again. InDoubt(nil, ...) is nil.
func InDoubt(err error, settled func(context.Context) error) error {
	if err == nil {
		return nil
	}
	return &doubtError{err, settled}
}

type doubtError struct {
	error
	settled func(context.Context) error
}

func (e *doubtError) Unwrap() error { return e.error }

// outcome says what an error of a write tells: final, or in doubt with a way to ask, or (both zero) in doubt without one.
// Where an error has both marks, the doubt holds.
func outcome(err error) (settled func(context.Context) error, final bool) {
	var doubt *doubtError
	switch {
	case errors.As(err, &doubt):
		return doubt.settled, false
	case errors.Is(err, ErrInDoubt): // of an Update within this one, without a way to ask
		return nil, false
	case errors.As(err, new(finalError)), errors.Is(err, ErrNotFound), errors.Is(err, ErrUnavailable):
		return nil, true
	}
	return nil, rolledBack(err)
}

// rolledBack reports whether an error is the database's own answer, of a class after which the transaction is rolled back.
// The drivers of PostgreSQL tell its SQLSTATE: https://www.postgresql.org/docs/current/errcodes-appendix.html
func rolledBack(err error) bool {
	var answer interface{ SQLState() string }
	if !errors.As(err, &answer) {
		return false
	}
	code := answer.SQLState()
	if len(code) != 5 || code == "40003" { // statement_completion_unknown
		return false
	}
	switch code[:2] {
	case "00", "01", "02", // no errors
		"08",             // the connection
		"57", "58", "XX": // the server was stopped, its system failed, or it did
		return false
	}
	// An answer does not count if the connection was lost too: the error may join the two.
	return !errors.Is(err, context.Canceled) && !errors.As(err, new(net.Error)) &&
		!errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF)
}

// inDoubt is the error that the caller of a write gets. keep is how long the key is not cached; zero: until the outcome is
// known.
func inDoubt(what, key string, keep time.Duration, cause error) error {
	if errors.Is(cause, ErrInDoubt) {
		return cause
	}
	until := "until it is"
	if keep > 0 {
		until = "for " + keep.String()
	}
	return fmt.Errorf("%s %.100q: %w, and nothing is cached for the key %s: %w", what, key, ErrInDoubt, until, cause)
}
