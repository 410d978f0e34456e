package engine

import (
	"context"
	"errors"
	"runtime/debug"
	"time"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// rereads is how often a member is read again for one write, while others write it too. Then the collection is dropped.
const rereads = 4

// Write tells of members whose rows were changed, after the commit, each with what it is now. Of two writers of one member the
// later call wins, not the newer row.
func (c *Collection) Write(ctx context.Context, k Key, changes ...store.Change) error {
	key, err := k.Text, c.check(k.Text)
	if err != nil || len(changes) == 0 {
		return err
	}
	for i := range changes {
		changes[i].Key, changes[i].Kind = key, c.kind
	}
	ctx, cancel := c.detached(ctx, c.WriteBudget)
	defer cancel()
	defer c.forget(key)
	var failed error
	for _, o := range c.Store.Write(ctx, changes) {
		switch {
		case o.Err != nil && failed == nil:
			failed = o.Err
		case o.Err == nil && !o.OK:
			c.count.Add(tally.Dropped)
		}
	}
	if failed == nil {
		c.count.AddN(tally.ByUpdate, len(changes))
		return nil
	}
	// Not sent again: a late copy might replace what was written later. What stands there must go.
	c.recovery.Keep(key, c.Hold, failed)
	return c.behind("write", key, failed)
}

// memberIntent is a begun write of one member.
type memberIntent struct {
	store.MemberIntent
	err error // no begin was answered
}

// Update writes the database and tells of one member: write holds the whole transaction, commit included, and returns what has
// become of the member, with the version of its row if the collection is Versioned. The member of a list is "".
//
// An error of write ends in a drop. If it does not say that the outcome is final, the collection as a whole is in doubt from then
// on: nothing of it is cached until the outcome is known.
func (c *Collection) Update(ctx context.Context, k Key, member string, write func(context.Context) (store.Change, float64, error)) error {
	key := k.Text
	if err := c.check(key); err != nil {
		return err
	}
	in := c.begin(ctx, key, member)
	traceOf(ctx).writeBegan(key, in.err)
	end := store.MemberEnd{Change: store.Change{Op: store.Drop}}
	done := false
	defer func() {
		if !done { // write panicked, or called Goexit: nobody knows what it did
			_ = c.failedWrite(ctx, k, in, errNoReturn)
		}
	}()
	wctx, cancel := context.WithTimeout(ctx, c.LoadTimeout)
	began := time.Now()
	change, version, err := write(wctx)
	cancel()
	done = true
	traceOf(ctx).writeEnded(key, time.Since(began), err)
	if err != nil {
		return c.failedWrite(ctx, k, in, err)
	}
	if in.err == nil {
		end.Change, end.Version = change, version
	}
	behind := c.end(ctx, k, in, end)
	switch {
	case errors.Is(behind, ErrUnavailable): // of the invalidation in place of an end
		return behind
	case behind != nil:
		return c.behind("update", key, behind)
	}
	c.count.Add(tally.ByUpdate)
	return nil
}

// failedWrite drops the collection, and returns the error for the caller of a write that failed. In doubt, the intent of the
// member gives way to one of the whole: a collection that stands under a member's intent is loaded anew when that is over, and
// may then lack the commit.
func (c *Collection) failedWrite(ctx context.Context, k Key, in *memberIntent, cause error) error {
	settled, final := outcome(cause)
	if final || settled == nil && c.Policy.InDoubt == 0 {
		_ = c.end(ctx, k, in, store.MemberEnd{Change: store.Change{Op: store.Drop}}) // the caller is told the cause
		return cause
	}
	whole := []*intent{c.intent(in.Key)}
	c.Shared.begin(ctx, whole)
	_ = c.end(ctx, k, in, store.MemberEnd{Change: store.Change{Op: store.Drop}}) // the intent of the whole protects the key
	return c.Shared.failedWrite(ctx, "update", whole, cause)
}

// begin announces the write. Each sending draws a fresh token and names the earlier ones, as those of values do.
func (c *Collection) begin(ctx context.Context, key, member string) *memberIntent {
	in := &memberIntent{MemberIntent: store.MemberIntent{
		Key: key, Kind: c.kind, Member: member, Order: store.Alone,
		Life: c.Shared.life(&intent{c: &c.Cache, limit: c.LoadTimeout}), Lease: c.LoadTimeout + fillsWithin*c.leaseLife(),
	}}
	switch {
	case c.kind == store.List:
		in.Order = store.Pushed
	case c.cfg.Versioned:
		in.Order = store.Versioned
	}
	ctx, cancel := c.detached(ctx, c.WriteBudget)
	defer cancel()
	in.err = retry.Send(ctx, c.WriteBudget, retry.LongFirst, func(a retry.Attempt) error {
		if a.N > 0 {
			in.Earlier = append(in.Earlier, in.Token)
		}
		in.Token = store.NewToken()
		try, stop := a.Context()
		defer stop()
		return c.Store.BeginMember(try, in.MemberIntent).Err
	})
	return in
}

// end tells that the write is over. Where the store is not sure of the order, the row is read again, behind a number that the
// store draws: who has the highest number has read everything that was committed before.
func (c *Collection) end(ctx context.Context, k Key, in *memberIntent, e store.MemberEnd) error {
	defer c.forget(in.Key)
	e.Key, e.Kind, e.Member, e.Token = in.Key, c.kind, in.Member, in.Token
	e.Again = c.cfg.LoadOne != nil && c.kind != store.List
	for n := 0; ; n++ {
		if n == rereads {
			e.Op, e.Again = store.Drop, false
		}
		ending := c.endOnce(ctx, e)
		switch {
		case ending.Err != nil:
			c.recovery.Keep(in.Key, c.Hold, ending.Err)
			traceOf(ctx).filled(in.Key, ending.Err)
			return ending.Err
		case ending.Number > 0:
			c.count.Add(tally.Reread)
			c.readAgain(ctx, k, in, &e, ending.Number)
			continue
		case !ending.Applied:
			c.count.Add(tally.Dropped)
			traceOf(ctx).filled(in.Key, errOthers)
		case e.Op == store.Drop:
			traceOf(ctx).filled(in.Key, errNoValue)
		default:
			traceOf(ctx).filled(in.Key, nil)
		}
		break
	}
	if in.err == nil {
		return nil
	}
	// Nobody knows of the write but this end: a copy of the begin may still be on its way, and a load may have missed both.
	_, err := c.InvalidateKeys(ctx, []string{k.Text})
	return err
}

// endOnce sends an end until it is answered. A second one finds its token gone, and drops.
func (c *Collection) endOnce(ctx context.Context, e store.MemberEnd) (ending store.Ending) {
	ctx, cancel := c.detached(ctx, c.WriteBudget)
	defer cancel()
	_ = retry.Send(ctx, c.WriteBudget, retry.LongFirst, func(a retry.Attempt) error {
		try, stop := a.Context()
		defer stop()
		ending = c.Store.EndMember(try, e)
		return ending.Err
	})
	return ending
}

// readAgain reads the member behind a number.
func (c *Collection) readAgain(ctx context.Context, k Key, in *memberIntent, e *store.MemberEnd, number float64) {
	ctx, cancel := c.detached(ctx, c.LoadTimeout)
	defer cancel()
	e.Version = number
	row, ok, err := c.loadOne(ctx, k, in.Member)
	switch {
	case err != nil:
		c.ails.complain(panicked, "member", "", func() {
			c.Logger.Warn("a member that others wrote too could not be read again: the collection is dropped", "key", in.Key, "error", err)
		})
		e.Op, e.Again = store.Drop, false
	case ok:
		e.Op, e.Element = store.Add, row
	default:
		e.Op, e.Element = store.Remove, store.Element{Member: in.Member}
	}
}

// loadOne is LoadOne, whose panic is an error: the end must be sent.
func (c *Collection) loadOne(ctx context.Context, k Key, member string) (e store.Element, ok bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = NewPanicError(p, debug.Stack())
		}
	}()
	e, ok, err = c.cfg.LoadOne(ctx, k, member)
	if errors.Is(err, ErrNotFound) {
		return e, false, nil
	}
	return e, ok, err
}
