package engine

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// intent is a begun write of one key.
type intent struct {
	c     *Cache
	key   string
	limit time.Duration // of the write

	mark    uint64 // before the write
	behind  bool   // its end was not delivered
	token   string
	earlier []string
	err     error     // no begin was answered
	began   time.Time // before the last sending
}

// Written names a key for Mutate.
type Written struct{ in *intent }

// Written returns a key for Mutate.
func (c *Cache) Written(key string) (Written, error) { return Written{c.intent(key)}, c.check(key) }

// Mutate runs a database transaction that changes several keys. They are all invalidated, whatever write returns; after an
// error that leaves its outcome open, when that is known (doubt.go). The write has as long as the shortest of their intents stands.
func (s *Shared) Mutate(ctx context.Context, keys []Written, write func(context.Context) error) error {
	if s.ctx.Err() != nil {
		return fmt.Errorf("mutate: %w", ErrClosed) // nobody would deliver what fails
	}
	var ins []*intent
	seen := make(map[string]bool)
	for _, k := range keys {
		if !seen[k.in.key] {
			seen[k.in.key] = true
			in := *k.in // a Written may be used again
			ins = append(ins, &in)
		}
	}
	if len(ins) == 0 {
		return write(ctx)
	}
	limit := ins[0].limit
	for _, in := range ins {
		limit = min(limit, in.limit)
	}
	s.begin(ctx, ins)
	for _, in := range ins {
		traceOf(ctx).writeBegan(in.key, in.err)
	}
	done := false
	defer func() {
		if !done { // write panicked, or called Goexit
			s.lostWrite(ctx, ins)
		}
	}()
	wctx, cancel := context.WithTimeout(ctx, limit)
	began := time.Now()
	err := write(wctx)
	cancel()
	done = true
	for _, in := range ins {
		traceOf(ctx).writeEnded(in.key, time.Since(began), err)
	}
	var behind error
	if err != nil {
		err = s.failedWrite(ctx, "mutate", ins, err)
	} else {
		behind = s.endWrites(ctx, ins, make([]store.End, len(ins)))
	}
	for _, in := range ins {
		switch {
		case err != nil:
		case in.behind:
			in.c.count.Add(tally.Deferred)
		default:
			in.c.count.Add(tally.ByMutate)
		}
	}
	if err == nil && behind != nil {
		err = unavailable("mutate", ins[max(slices.IndexFunc(ins, func(in *intent) bool { return in.behind }), 0)].key, behind)
	}
	return err
}

const leaseMargin = time.Second // an intent outlives its write by this

// life is how long an intent stands if its writer dies: longer than the write may take, which begins up to WriteBudget
// after the begin that was carried out, then as long as a commit without a sender may take to become visible, and then until
// a lagging replica shows it. docs/model has what breaks without each. An intent of a large batch stands for longer, since the
// other pieces are begun before the write.
func (s *Shared) life(in *intent) time.Duration {
	return store.Sum(in.limit, s.WriteBudget, in.c.Policy.InDoubt, in.c.Hold, leaseMargin)
}

// begin announces writes. Each sending draws a fresh token and names the earlier ones: a late copy of an old one must
// not revive an intent that has ended.
func (s *Shared) begin(ctx context.Context, ins []*intent) {
	most := s.WriteBudget * piecesOf(len(ins))
	ctx, cancel := s.detached(ctx, most)
	defer cancel()
	for _, in := range ins {
		in.c.drop(in.key)
		in.mark = s.deferred.Mark()
	}
	answers := retry.SendEach(ctx, s.WriteBudget, retry.LongFirst, func(a retry.Attempt, left []int) []store.Outcome {
		some := pick(ins, left)
		batch := make([]store.Intent, len(some))
		for i, in := range some {
			if a.N > 0 {
				in.earlier = append(in.earlier, in.token)
			}
			in.token, in.began = store.NewToken(), time.Now()
			batch[i] = store.Intent{Key: in.key, Token: in.token, Earlier: in.earlier, Life: s.life(in) + most - s.WriteBudget}
		}
		return sendPieces(a, batch, bytesOfIntent, s.Store.Begin)
	})
	for i, in := range ins {
		in.err = answers[i].Err
	}
}

// endWrites tells the store that writes are over; ends say what is put. An end that is sent again puts nothing: its
// intent is gone. The error is the first that stayed.
func (s *Shared) endWrites(ctx context.Context, ins []*intent, ends []store.End) error {
	ctx, cancel := s.detached(ctx, s.WriteBudget*piecesOf(len(ins)))
	defer cancel()
	for i, in := range ins {
		e := &ends[i]
		e.Key, e.Token, e.Earlier, e.Hold = in.key, in.token, in.earlier, in.c.Hold
	}
	var failed error
	lost := make(map[string]bool)
	for i, o := range retry.SendEach(ctx, s.WriteBudget, retry.LongFirst, func(a retry.Attempt, left []int) []store.Outcome {
		return sendPieces(a, pick(ends, left), bytesOfEnd, s.Store.End)
	}) {
		if o.Err == nil {
			traceOf(ctx).ended(ends[i], o.OK)
			continue
		}
		failed = cmp.Or(failed, o.Err)
		lost[ends[i].Key] = true
		traceOf(ctx).filled(ends[i].Key, o.Err)
	}
	if err := s.unsettle(ctx, ins, lost); failed == nil {
		failed = err
	}
	for _, in := range ins {
		if lost[in.key] {
			in.behind = true
			in.c.recovery.Keep(in.key, in.c.Hold, failed)
		} else {
			s.deferred.Done(in.key, in.mark)
		}
		in.c.forget(in.key)
	}
	return failed
}

// unsettle makes the writers of members unsure whose collections were written as a whole: they may hold what is older. It adds
// to those that could not be told.
func (s *Shared) unsettle(ctx context.Context, ins []*intent, lost map[string]bool) (failed error) {
	byHold := make(map[time.Duration][]string)
	for _, in := range ins {
		if in.c.kind != "" && !lost[in.key] {
			byHold[in.c.Hold] = append(byHold[in.c.Hold], in.key)
		}
	}
	for hold, keys := range byHold {
		outcomes := inPieces(keys, bytesOfKey, func(some []string) []store.Outcome { return s.Store.Invalidate(ctx, some, hold) })
		for i, o := range outcomes {
			if o.Err != nil {
				lost[keys[i]], failed = true, o.Err
			}
		}
	}
	return failed
}

// unavailable returns the error of a write that the database has and whose key could not be invalidated.
func unavailable(what, key string, cause error) error {
	return fmt.Errorf("%s %.100q: %w: %w", what, key, ErrUnavailable, cause)
}

func bytesOfIntent(in *store.Intent) int { return len(in.Key) }
func bytesOfEnd(e *store.End) int        { return len(e.Key) + len(e.Value) }
func bytesOfKey(key *string) int         { return len(*key) }
