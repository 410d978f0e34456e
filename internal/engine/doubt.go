package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// A write is in doubt if its function failed and nobody knows whether its commit is still to become visible: the answer to
// COMMIT was lost, its caller left, the server waits for a standby. If its intents were ended then, a reader could load the
// old row, fill it, and keep it after the commit became visible. So:
//
//   - The intents of a write in doubt are not ended. They stand, and are renewed, until its outcome is known: the database was
//     asked (InDoubt), or the longest time has passed in which a commit can still become visible (Config.InDoubt).
//   - After that moment the keys are invalidated, by the ends of the intents. What was filled meanwhile, where an intent was
//     lost, is gone then.
//   - If the process dies, the intents stand for as long as a commit can still take: each lives Config.InDoubt longer than
//     the write, or than the interval of renewal.

const (
	defaultMaxInDoubt = 10_000                // keys
	maxAsking         = 32                    // writes whose outcome is asked for at once
	askTimeout        = 10 * time.Second      // of one question
	firstAsk          = 50 * time.Millisecond // before a question, or a renewal that failed, is repeated first
	lastAsk           = 2 * time.Second
	doubtBatch        = 1000             // keys of one command
	longestRenewal    = 15 * time.Second // between two renewals
	shortestRenewal   = 100 * time.Millisecond
	doubtLogAfter     = time.Second // doubts that are over sooner are counted, not logged
)

// doubt is a write whose outcome is not known.
type doubt struct {
	settled func(context.Context) error // nil: there is nobody to ask
	until   time.Time                   // then the outcome is final, if there is nobody to ask
	every   time.Duration               // between renewals

	// Guarded by doubts.mu:
	renew time.Time     // when the intents are renewed next
	pause time.Duration // before the next try, after a renewal that failed

	mu   sync.Mutex // held while the store is told about the keys; comes before doubts.mu. renewDoubts alone holds several
	ins  []*intent
	over bool
}

// doubts are the writes in doubt of a client.
type doubts struct {
	ctx    context.Context // of asking and renewing
	cancel context.CancelFunc
	places chan struct{} // for those who ask
	wake   chan struct{} // there is one to be renewed
	ended  chan struct{} // one is over

	mu       sync.Mutex // guards the rest; nothing is called while it is held
	open     map[*doubt]bool
	keys     int
	renewing bool // a goroutine renews
	spell    doubtSpell
}

// doubtSpell is the time in which some write is in doubt, for the log.
type doubtSpell struct {
	began  time.Time // zero: there is none
	writes int
	key    string // of the first
	cause  error
	logged bool
}

func (p *doubts) init() {
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.places = make(chan struct{}, maxAsking)
	p.wake, p.ended = make(chan struct{}, 1), make(chan struct{}, 1)
	p.open = make(map[*doubt]bool)
}

// failedWrite does what follows from an error of a write's function, and returns the error for its caller. If the
// outcome is final, it invalidates the keys and ends the intents. Otherwise the write is in doubt.
func (s *Shared) failedWrite(ctx context.Context, what string, ins []*intent, cause error) error {
	settled, final := outcome(cause)
	longest := longestDoubt(ins)
	if final || settled == nil && longest == 0 {
		_ = s.endWrites(ctx, ins, make([]store.End, len(ins))) // the caller is told the cause
		return cause
	}
	s.doubt(ctx, ins, settled, cause)
	if settled != nil {
		longest = 0
	}
	return inDoubt(what, ins[0].key, longest, cause)
}

// errNoReturn is the cause of the doubt about a write that panicked.
var errNoReturn = errors.New("the function of the write did not return: it panicked, or called runtime.Goexit")

// lostWrite is failedWrite for a function that did not return.
func (s *Shared) lostWrite(ctx context.Context, ins []*intent) {
	_ = s.failedWrite(ctx, "write", ins, errNoReturn) // there is no caller to tell
}

func longestDoubt(ins []*intent) (d time.Duration) {
	for _, in := range ins {
		d = max(d, in.c.Policy.InDoubt)
	}
	return d
}

// doubt keeps the intents of a write standing until its outcome is known.
func (s *Shared) doubt(ctx context.Context, ins []*intent, settled func(context.Context) error, cause error) {
	now := time.Now()
	d := &doubt{settled: settled, ins: ins, until: now.Add(longestDoubt(ins)), renew: now.Add(longestRenewal), every: longestRenewal}
	for _, in := range ins {
		in.c.count.Add(tally.InDoubt)
		traceOf(ctx).filled(in.key, ErrInDoubt)
		d.every = min(d.every, max(shortestRenewal, max(in.c.Policy.InDoubt, in.limit)/4))
		if in.err != nil { // no intent stands, as far as is known
			in.c.recovery.Keep(in.key, in.c.Hold, in.err)
			d.renew = now
		} else if due := in.began.Add(in.limit); due.Before(d.renew) {
			d.renew = due
		}
		in.c.forget(in.key)
	}
	most := s.MaxInDoubt
	if most <= 0 {
		most = defaultMaxInDoubt
	}
	kept, renew := s.doubts.add(d, cause, most)
	if !kept {
		for _, in := range ins {
			if in.c.recovery.BypassUntil(d.until) { // what can be asked about them is not: it would have to be kept
				s.Logger.Warn("more writes are in doubt than are kept: a cache is read past the store until all of it is invalidated",
					"keys", in.c.recovery.Glob, "not before", d.until.Format(time.RFC3339))
			}
		}
		return
	}
	if renew {
		s.spawn(s.renewDoubts)
	} else {
		signal(s.doubts.wake)
	}
	if settled != nil {
		s.spawn(func() { s.ask(d) })
	}
}

// add keeps a doubt. kept is false if there are too many keys. renew says that a goroutine must be started.
func (p *doubts) add(d *doubt, cause error, most int) (kept, renew bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.keys+len(d.ins) > most {
		return false, false
	}
	p.open[d] = true
	p.keys += len(d.ins)
	if p.spell.began.IsZero() {
		p.spell = doubtSpell{began: time.Now(), key: d.ins[0].key, cause: cause}
	}
	p.spell.writes++
	renew, p.renewing = !p.renewing, true
	return true, renew
}

// ask asks for the outcome of a write until it is known.
func (s *Shared) ask(d *doubt) {
	returned := false
	defer func() {
		if !returned { // settled called runtime.Goexit: there is nobody to ask
			s.doubts.mu.Lock()
			d.settled = nil
			s.doubts.mu.Unlock()
			signal(s.doubts.wake)
		}
	}()
	settled := d.settled
	for pause := firstAsk; ; pause = min(2*pause, lastAsk) {
		select {
		case s.doubts.places <- struct{}{}:
		case <-s.doubts.ctx.Done():
			returned = true
			return
		}
		err := s.askOnce(settled)
		if err == nil {
			s.endDoubt(d)
		}
		if err == nil || !retry.Sleep(s.doubts.ctx, pause) {
			returned = true
			return
		}
	}
}

// askOnce asks once, in a place that is taken. A panic is an error: the outcome is still not known.
func (s *Shared) askOnce(settled func(context.Context) error) (err error) {
	ctx, cancel := context.WithTimeout(s.doubts.ctx, askTimeout)
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked: %v", p)
		}
		cancel()
		<-s.doubts.places
	}()
	return settled(ctx)
}

// endDoubt invalidates the keys of a write whose outcome is known, and ends its intents.
func (s *Shared) endDoubt(d *doubt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.over {
		d.over = true
		s.endKeys(d.ins)
		s.closed(d)
	}
}

// endSome is endDoubt for many.
func (s *Shared) endSome(ds []*doubt) {
	var ins []*intent
	var ended []*doubt
	for _, d := range ds {
		d.mu.Lock()
		defer d.mu.Unlock()
		if !d.over {
			d.over = true
			ins, ended = append(ins, d.ins...), append(ended, d)
		}
	}
	if len(ins) > 0 {
		s.endKeys(ins)
		s.closed(ended...)
	}
}

func (s *Shared) endKeys(ins []*intent) {
	for _, in := range ins {
		in.mark = s.deferred.Mark() // as of an invalidation that begins now: the end puts nothing
	}
	_ = s.endWrites(context.Background(), ins, make([]store.End, len(ins))) // what is not delivered is repeated
}

// closed forgets doubts that are over.
func (s *Shared) closed(ds ...*doubt) {
	p := &s.doubts
	p.mu.Lock()
	for _, d := range ds {
		delete(p.open, d)
		p.keys -= len(d.ins)
	}
	var was doubtSpell
	if len(p.open) == 0 {
		was, p.spell = p.spell, was
	}
	p.mu.Unlock()
	signal(p.ended)
	if was.logged {
		s.Logger.Info("no write is in doubt any more: their keys were invalidated and are cached again",
			"writes", was.writes, "after", time.Since(was.began).Round(time.Millisecond))
	}
}

// inBatches calls f with some of ds at a time.
func inBatches(ds []*doubt, f func([]*doubt)) {
	for len(ds) > 0 {
		n, keys := 1, len(ds[0].ins)
		for n < len(ds) && keys+len(ds[n].ins) <= doubtBatch {
			keys += len(ds[n].ins)
			n++
		}
		f(ds[:n])
		ds = ds[n:]
	}
}

// renewDoubts renews the intents of writes in doubt before they expire, and ends the doubts that only time ends, until there
// are none or the client is closed.
func (s *Shared) renewDoubts() {
	p := &s.doubts
	for {
		over, renew, next, spell := p.due(time.Now())
		if next.IsZero() {
			return
		}
		if spell != nil {
			s.Logger.Warn("the outcome of a write is not known: nothing is cached for its key until it is", "key", spell.key, "error", spell.cause)
		}
		inBatches(over, s.endSome)
		inBatches(renew, s.renew)
		if len(over)+len(renew) > 0 {
			continue
		}
		t := time.NewTimer(time.Until(next))
		select {
		case <-t.C:
		case <-p.wake:
		case <-p.ctx.Done():
		}
		t.Stop()
		if p.ctx.Err() != nil {
			return
		}
	}
}

// due returns the doubts that are over, those to be renewed, and when to look again: zero if there are none. spell is to be
// logged.
func (p *doubts) due(now time.Time) (over, renew []*doubt, next time.Time, spell *doubtSpell) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.open) == 0 {
		p.renewing = false
		return
	}
	if at := p.spell.began.Add(doubtLogAfter); !p.spell.logged {
		if next = at; !now.Before(at) {
			p.spell.logged = true
			said := p.spell
			spell = &said
		}
	}
	soonest := func(t time.Time) {
		if next.IsZero() || t.Before(next) {
			next = t
		}
	}
	for d := range p.open {
		switch {
		case d.settled == nil && !now.Before(d.until):
			over = append(over, d)
		case !now.Before(d.renew):
			renew = append(renew, d)
		case d.settled == nil && d.until.Before(d.renew):
			soonest(d.until)
		default:
			soonest(d.renew)
		}
	}
	soonest(now.Add(longestRenewal))
	return over, renew, next, spell
}

// renew announces writes in doubt again, with fresh tokens that name the earlier ones. That also deletes what was filled where
// an intent had been lost.
func (s *Shared) renew(ds []*doubt) {
	var ins []*intent
	for _, d := range ds {
		d.mu.Lock()
		defer d.mu.Unlock()
		if d.over {
			continue
		}
		for _, in := range d.ins {
			in.limit, in.earlier = d.every, append(in.earlier, in.token)
			ins = append(ins, in)
		}
	}
	if len(ins) == 0 {
		return
	}
	s.begin(context.Background(), ins)
	for _, in := range ins {
		in.trim()
		if in.err != nil {
			in.c.recovery.Keep(in.key, in.c.Hold, in.err)
		}
	}
	s.doubts.mu.Lock()
	defer s.doubts.mu.Unlock()
	for _, d := range ds {
		wait := d.every
		if slices.ContainsFunc(d.ins, func(in *intent) bool { return in.err != nil }) {
			d.pause = min(max(2*d.pause, firstAsk), lastAsk)
			wait = d.pause
		} else {
			d.pause = 0
		}
		d.renew = time.Now().Add(wait)
	}
}

// keepEarlier is how many earlier tokens a renewed intent names: the first, which stood, and the latest, of which a copy may
// be on its way. One that is not named any more, and that arrives after all, costs fills until it expires, and nothing else.
const keepEarlier = 16

func (in *intent) trim() {
	if n := len(in.earlier) - keepEarlier; n > 0 {
		in.earlier = append(in.earlier[:1:1], in.earlier[1+n:]...)
	}
}

// endDoubts is called by Close. It waits until the outcomes that can be asked for are known or ctx ends, and returns an error that
// says what is left. The intents of those stand for as long as a commit may take: they were renewed in time.
func (s *Shared) endDoubts(ctx context.Context) error {
	p := &s.doubts
	defer p.cancel()
	for {
		asked, keys, first := p.left()
		if keys == 0 {
			return nil
		}
		if asked && ctx.Err() == nil {
			select {
			case <-p.ended:
			case <-ctx.Done():
			}
			continue
		}
		what := "keys have writes whose outcome is not known"
		if keys == 1 {
			what = "key has a write whose outcome is not known"
		}
		return fmt.Errorf("%d %s, such as %.100q: %w; nothing is cached for them for %v, and what becomes visible later is not invalidated",
			keys, what, first.key, ErrInDoubt, first.c.Policy.InDoubt)
	}
}

// left says how many keys are in doubt, whether some of them are asked for, and names one.
func (p *doubts) left() (asked bool, keys int, first *intent) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for d := range p.open {
		asked = asked || d.settled != nil
		if in := d.ins[0]; first == nil || in.c.Policy.InDoubt > first.c.Policy.InDoubt {
			first = in
		}
	}
	return asked, p.keys, first
}

// signal wakes one who waits, now or soon.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// InDoubt counts the keys whose writes are in doubt now.
func (s *Shared) InDoubt() int {
	s.doubts.mu.Lock()
	defer s.doubts.mu.Unlock()
	return s.doubts.keys
}
