// Package retry sends a command to the store again until it is carried out or its time is over.
package retry

import (
	"context"
	"errors"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Attempts is how often a command is sent at most.
const Attempts = 3

// Share says how the attempts of a command divide its time: how many thirds of it the first attempt may take. Every other
// attempt may take one third.
type Share time.Duration

const (
	Equal Share = 1

	// LongFirst is for commands that a server may take long to answer: a slot moves, or replicas are waited for. What is left is
	// enough for a second attempt, after a server that hung.
	LongFirst Share = 2
)

// Attempt is one sending of a command.
type Attempt struct {
	N     int // zero for the first attempt
	ctx   context.Context
	limit time.Duration
}

// Context returns the context of a request whose time begins now. An attempt that is sent in several requests calls it for each.
func (a Attempt) Context() (context.Context, context.CancelFunc) {
	return context.WithTimeout(a.ctx, a.limit)
}

// Send calls send until it returns nil, and returns its last error. It ends early when ctx has ended, when attempts without an
// answer have used up budget, and after an error that another attempt would meet again: the server is known to be unavailable, or
// the store is closed. budget is the time of all attempts, if each of them is one request.
func Send(ctx context.Context, budget time.Duration, first Share, send func(Attempt) error) error {
	third := budget / Attempts
	a := Attempt{ctx: ctx, limit: time.Duration(first) * third}
	for left := budget; ; {
		err := send(a)
		if err == nil || final(err) {
			return err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			left -= a.limit
		}
		a.N++
		a.limit = third
		if left < third || a.N == Attempts || !Pause(ctx, a.N) {
			return err
		}
	}
}

// SendEach is Send for a command about several elements. send is given the indexes of the elements that are left, nil of all, and
// returns the outcome of each. The result has the last outcome of every element.
func SendEach(ctx context.Context, budget time.Duration, first Share, send func(a Attempt, left []int) []store.Outcome) (last []store.Outcome) {
	var left []int
	_ = Send(ctx, budget, first, func(a Attempt) (err error) {
		outcomes := send(a, left)
		if left == nil {
			last = outcomes
		}
		var failed []int
		for i, o := range outcomes {
			if left != nil {
				i = left[i]
			}
			last[i] = o
			if o.Err == nil {
				continue
			}
			failed = append(failed, i)
			if err == nil || final(err) { // one that may be carried out is reason enough for another attempt
				err = o.Err
			}
		}
		left = failed
		return err
	})
	return last
}

// final reports whether another attempt would fail as well.
func final(err error) bool { return errors.Is(err, store.ErrAway) || errors.Is(err, store.ErrClosed) }

// Pause waits before the nth repetition: 10 ms, 40 ms, 90 ms. What failed at once may have met a connection that another caller
// was making under a short deadline, or a server that was changing its role. It returns false if ctx has ended.
func Pause(ctx context.Context, n int) bool {
	return Sleep(ctx, time.Duration(n*n)*10*time.Millisecond)
}

// Sleep waits for d. It returns false if ctx has ended before.
func Sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
