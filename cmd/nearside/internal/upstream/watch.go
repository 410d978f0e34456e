package upstream

import (
	"context"
	"time"
)

const (
	suspectAfter = 25 * time.Millisecond // a node that takes longer is asked whether it answers at all, as reads ask it
	suspectPause = 25 * time.Millisecond // between two questions
	awayFor      = 3 * time.Second       // that a command waits for a node that is known not to answer: it may go on
)

// watched returns a context that ends when the node at an address has been unavailable for awayFor, with that as its cause. A
// command that takes long is not touched while the node answers others. done must be called.
func (p *Pool) watched(ctx context.Context, address string) (_ context.Context, done func()) {
	ctx, cancel := context.WithCancelCause(ctx)
	timer := time.AfterFunc(suspectAfter, func() {
		var since time.Time
		for ctx.Err() == nil {
			err := p.route.Suspect(ctx, address)
			switch {
			case err == nil:
				since = time.Time{}
			case since.IsZero():
				since = time.Now()
			case time.Since(since) >= awayFor:
				cancel(err)
				return
			}
			pause(ctx, suspectPause)
		}
	})
	return ctx, func() { timer.Stop(); cancel(nil) }
}
