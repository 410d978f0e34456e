package engine

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
)

// Time limits must not be limits of size: a batch is cut into pieces, and each piece has a time limit of its own. A store that
// hangs is noticed by the first piece that is not answered in time. The rest of the batch is not sent then, so that the batch
// waits for one time limit, whatever its size.

const (
	// PieceKeys is how many keys one piece has at most, and how many one call of LoadMany is given.
	PieceKeys = 500

	pieceBytes = 1 << 20 // of one piece, where the size is known; a larger element is alone
	leastKeys  = 16      // of a piece, however slow the store is

	loadsAtOnce = 16 // loads of one batch, where there is no LoadMany
)

// unanswered reports whether a step was not answered within its time limit. A store that is known to be unavailable, or that
// refuses, answers at once.
func unanswered(err error) bool { return errors.Is(err, context.DeadlineExceeded) }

// pieceOf returns how many of xs make the next piece.
func pieceOf[T any](xs []T, bytes func(*T) int) int {
	n, sum := 0, 0
	for n < len(xs) && n < PieceKeys {
		if sum += bytes(&xs[n]); n > 0 && sum > pieceBytes {
			break
		}
		n++
	}
	return n
}

// inPieces calls send for each piece of xs. After a piece that was not answered in time, or of which all failed, the rest is
// not sent and has the same error.
func inPieces[T any](xs []T, bytes func(*T) int, send func([]T) []store.Outcome) []store.Outcome {
	n := pieceOf(xs, bytes)
	if n == len(xs) {
		return send(xs)
	}
	out := make([]store.Outcome, 0, len(xs))
	for ; n > 0; n = pieceOf(xs, bytes) {
		some := send(xs[:n])
		out, xs = append(out, some...), xs[n:]
		if err := hopeless(some); err != nil {
			for range xs {
				out = append(out, store.Outcome{Err: err})
			}
			break
		}
	}
	return out
}

// sendPieces is inPieces for an attempt to send xs: each piece has the time of an attempt.
func sendPieces[T any](a retry.Attempt, xs []T, bytes func(*T) int, send func(context.Context, []T) []store.Outcome) []store.Outcome {
	return inPieces(xs, bytes, func(some []T) []store.Outcome {
		ctx, cancel := a.Context()
		defer cancel()
		return send(ctx, some)
	})
}

// pick returns the elements of xs that have these indexes, in their order; all if indexes is nil.
func pick[T any](xs []T, indexes []int) []T {
	if indexes == nil {
		return xs
	}
	some := make([]T, len(indexes))
	for i, n := range indexes {
		some[i] = xs[n]
	}
	return some
}

// hopeless returns an error of a piece after which the next one need not be sent; nil: it must be.
func hopeless(some []store.Outcome) (err error) {
	bad := 0
	for i := range some {
		if err = cmp.Or(err, some[i].Err); unanswered(some[i].Err) {
			return some[i].Err
		}
		if some[i].Err != nil {
			bad++
		}
	}
	if bad < len(some) || bad < 2 { // of a single one the cause may be its own
		return nil
	}
	return err
}

// piecesOf returns how many pieces n keys without values make.
func piecesOf(n int) time.Duration { return time.Duration(max(1, (n+PieceKeys-1)/PieceKeys)) }

// pace is how many keys the next piece of a read has. The sizes of values are not known before they are read, so a piece
// shrinks when the last one took long, and grows again when it did not. The zero value is ready.
type pace struct{ less atomic.Int32 } // than PieceKeys

func (p *pace) keys() int { return PieceKeys - int(p.less.Load()) }

// took notes how long the store took for a piece of n keys.
func (p *pace) took(n int, took, budget time.Duration) {
	most := p.keys()
	switch {
	case took > budget/2 && n > leastKeys:
		p.less.Store(int32(PieceKeys - max(min(n, most)/2, leastKeys)))
	case took < budget/4 && n >= most && most < PieceKeys:
		p.less.Store(int32(PieceKeys - min(2*most, PieceKeys)))
	}
}

// batch is what the pieces of one call have in common; nil: the call has one piece.
type batch struct {
	late   atomic.Bool // a piece was not answered in time: the rest of the batch bypasses the store
	places places      // for loads of single keys
}

func (b *batch) isLate() bool { return b != nil && b.late.Load() }

// note learns from an error of the store.
func (b *batch) note(err error) {
	if b != nil && unanswered(err) {
		b.late.Store(true)
	}
}

func (c *Cache) newBatch() *batch { return &batch{places: places{free: c.atOnce()}} }

// atOnce is how many loads of single keys a batch runs at once: not all of MaxLoads, so that others get their turn.
func (c *Cache) atOnce() int {
	n := cmp.Or(c.BatchLoads, loadsAtOnce)
	if c.MaxLoads > 0 {
		n = min(n, c.MaxLoads/2)
	}
	return max(1, n)
}
