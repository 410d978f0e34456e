package engine_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/tally"
)

// sqlError is an error as the drivers of PostgreSQL have it.
type sqlError string

func (e sqlError) Error() string    { return "SQLSTATE " + string(e) }
func (e sqlError) SQLState() string { return string(e) }

// timeout is an error of the network.
type timeout struct{ error }

func (timeout) Timeout() bool   { return true }
func (timeout) Temporary() bool { return true }

func TestWhatAnErrorTells(t *testing.T) {
	settled := func(context.Context) error { return nil }
	for _, x := range []struct {
		err   error
		doubt bool
	}{
		{engine.Final(errLost), false},
		{fmt.Errorf("rename: %w", engine.Final(errLost)), false},
		{engine.ErrNotFound, false},
		{fmt.Errorf("%w: redis", engine.ErrUnavailable), false}, // of an Update within this one
		{sqlError("23505"), false},
		{fmt.Errorf("rename: %w", sqlError("40001")), false},
		{sqlError("40003"), true},
		{sqlError("08006"), true},
		{sqlError("57P01"), true},
		{sqlError("57014"), true},
		{sqlError("58030"), true},
		{sqlError("XX000"), true},
		{sqlError("00000"), true},
		{sqlError(""), true},
		{errors.Join(sqlError("23505"), context.DeadlineExceeded), true},
		{errors.Join(sqlError("23505"), timeout{errLost}), true},
		{errors.Join(sqlError("23505"), io.ErrUnexpectedEOF), true},
		{errLost, true},
		{context.Canceled, true},
		{engine.InDoubt(errLost, settled), true},
		{engine.Final(engine.InDoubt(errLost, settled)), true},
		{errors.Join(engine.Final(errLost), engine.InDoubt(errLost, settled)), true},
	} {
		synctest.Test(t, func(t *testing.T) {
			b, _, _ := doubtful(t, nil)
			_, err := b.Update(t.Context(), "a", func(context.Context) (string, error) { return "", x.err })
			if got := errors.Is(err, engine.ErrInDoubt); got != x.doubt || !errors.Is(err, x.err) {
				t.Errorf("%v: in doubt is %v, want %v: %v", x.err, got, x.doubt, err)
			}
			want(t, "counted", b.Tally().Counts[tally.InDoubt] > 0, x.doubt)
			time.Sleep(2 * longest)
			b.cached(t, "a", "1")
		})
	}
	if engine.Final(nil) != nil || engine.InDoubt(nil, settled) != nil {
		t.Error("no error is no doubt")
	}
}
