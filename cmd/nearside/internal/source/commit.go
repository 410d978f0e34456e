package source

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nearside/nearside"
)

// A write is certain until COMMIT is sent: whatever fails before that is rolled back, by us or by the server, which finds the
// connection gone. From then on nothing cancels it: not the end of the caller's context, which ends the wait alone. Its answer is
// the first way to learn the outcome; where the connection is lost instead, the server is asked.

const (
	askAfter = time.Second // how long the answer to COMMIT is waited for before the server is asked for the outcome
	unasked  = time.Minute // how long a commit may take whose outcome cannot be asked for
)

// commit is a COMMIT that was sent.
type commit struct {
	answered func(error) bool            // whether an error is the server's answer, after which the outcome is final
	ask      func(context.Context) error // nil once the outcome is final; nil itself: the server cannot be asked

	done chan struct{} // closed when send has returned
	err  error         // what it returned; to be read after done

	mu   sync.Mutex
	lost time.Time // when it was seen first that there will be no answer
}

// run sends COMMIT by send, which must release the connection, and waits for its answer until ctx ends.
func (c *commit) run(ctx context.Context, send func() error) error {
	c.done = make(chan struct{})
	go func() {
		defer close(c.done)
		c.err = send()
	}()
	select {
	case <-c.done:
	case <-ctx.Done():
		select {
		case <-c.done:
		default:
			return nearside.InDoubt(fmt.Errorf("COMMIT was sent, and not answered yet: %w", ctx.Err()), c.settled)
		}
	}
	switch {
	case c.err == nil:
		return nil
	case c.answered(c.err):
		return nearside.NotCommitted(c.err)
	}
	return nearside.InDoubt(fmt.Errorf("COMMIT was sent, and its answer was lost: %w", c.err), c.settled)
}

var errCommitting = errors.New("COMMIT is not answered yet")

// settled returns nil once the outcome is final.
func (c *commit) settled(ctx context.Context) error {
	wait := time.NewTimer(askAfter)
	defer wait.Stop()
	select {
	case <-c.done:
		if c.err == nil || c.answered(c.err) {
			return nil
		}
	case <-wait.C: // the connection may be dead without a sign of it
		if c.ask == nil {
			return errCommitting
		}
	case <-ctx.Done():
		return ctx.Err()
	}
	if c.ask == nil {
		return c.outwaited(c.err)
	}
	if err := c.ask(ctx); !errors.Is(err, errNobodyKnows) {
		return err
	}
	select {
	case <-c.done:
		return c.outwaited(errNobodyKnows)
	default:
		return errCommitting
	}
}

// errNobodyKnows is returned by ask where another server answers than the one that had the COMMIT.
var errNobodyKnows = errors.New("the server that had the COMMIT cannot be asked")

// outwaited returns nil after a time in which a commit without a sender must have ended.
func (c *commit) outwaited(err error) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lost.IsZero() {
		c.lost = time.Now()
	}
	if time.Since(c.lost) >= unasked {
		return nil
	}
	return err
}
