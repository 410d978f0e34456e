package topology

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/testhooks"
)

const againIn = 2 * time.Second // after the first repetition

// Repeater remembers what a change of servers may lose, and repeats it where that may have happened.
type Repeater struct {
	Ctx        context.Context // ends with the store
	Goroutines *sync.WaitGroup // of the store; the caller of Repeat is counted there
	Logger     *slog.Logger

	Invalidate func(ctx context.Context, keys []string, hold time.Duration) []store.Outcome
	Release    func(ctx context.Context, leases []store.Lease) []store.Outcome
	Unmended   func() bool // nothing else mends what is not remembered

	Invalidated Recent // invalidations, and writes that count as such
	Ended       Recent // leases
}

// Prune forgets what was sent long before a look at which all masters were known.
func (r *Repeater) Prune(look time.Time) {
	r.Invalidated.prune(look.Add(-recentFor))
	r.Ended.prune(look.Add(-recentFor))
}

// Repeat invalidates again what was invalidated lately in some slots, and once more a little later.
func (r *Repeater) Repeat(moved []Span) {
	if testhooks.WithoutRepeat.Load() {
		return
	}
	r.Goroutines.Go(func() {
		for i := range 2 {
			if i > 0 {
				select {
				case <-time.After(againIn):
				case <-r.Ctx.Done():
					return
				}
			}
			list, dropped := r.Invalidated.in(moved)
			keys := make(map[string]time.Duration) // with the longest hold of each
			for _, t := range list {
				keys[t.Key] = max(keys[t.Key], t.Hold)
			}
			done, failed := r.invalidateAgain(keys)
			r.releaseAgain(moved)
			if i == 0 || failed != nil {
				args := []any{"server", moved[0].Node.Address, "repeated", done, "of", len(keys)}
				if failed != nil {
					args = append(args, "error", failed)
				}
				r.Logger.Info("redis: another server answers for some keys, recent invalidations are repeated", args...)
			}
			if dropped && r.Unmended() {
				r.Logger.Warn("redis: more was invalidated than is remembered: values that a failover brought back live until their TTL",
					"keys", recentMax, "bytes", recentBytes)
			}
		}
	})
}

// releaseAgain gives back leases that have ended. Nobody is harmed if it fails, but has to wait for their end.
func (r *Repeater) releaseAgain(moved []Span) {
	ctx, cancel := context.WithTimeout(r.Ctx, 5*time.Second)
	defer cancel()
	list, _ := r.Ended.in(moved)
	for batch := range slices.Chunk(list, 1000) {
		leases := make([]store.Lease, len(batch))
		for i, t := range batch {
			leases[i] = store.Lease{Key: t.Key, Token: t.Token, Kind: t.Kind}
		}
		r.Release(ctx, leases)
	}
}

// invalidateAgain sends the invalidations in batches, each until it is done or the store is closed; the longest outage
// that is waited out is a minute.
func (r *Repeater) invalidateAgain(keys map[string]time.Duration) (done int, failed error) {
	ctx, cancel := context.WithTimeout(r.Ctx, time.Minute)
	defer cancel()
	byHold := make(map[time.Duration][]string)
	for key, hold := range keys {
		byHold[hold] = append(byHold[hold], key)
	}
	for hold, keys := range byHold {
		for len(keys) > 0 && ctx.Err() == nil {
			batch := keys[:min(len(keys), 1000)]
			keys = keys[len(batch):]
			var again []string
			for i, o := range r.Invalidate(ctx, batch, hold) {
				if o.Err == nil {
					done++
					continue
				}
				failed = o.Err
				again = append(again, batch[i])
			}
			if keys = append(keys, again...); len(again) > 0 {
				select {
				case <-time.After(100 * time.Millisecond):
				case <-ctx.Done():
				}
			}
		}
	}
	if done == len(keys) {
		failed = nil
	}
	return done, failed
}
