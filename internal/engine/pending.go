package engine

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// An invalidation that the store did not confirm is kept until it is delivered (redeliver.go): one per key, the last wins.
// While it is kept, this process reads the key past the store: what stands there may be older than the database. If more
// keys come than are kept, all of their caches are read past, until each was swept (sweep.go).

// defaultMaxPending is how many keys are kept.
const defaultMaxPending = 10_000

// space is what recovery has to know of a cache.
type space struct {
	glob    string                // of its keys; "": they cannot be swept
	ours    func(key string) bool // which of the keys that match are its; nil: all
	hold    time.Duration
	margin  time.Duration // a load that began before an invalidation may store something for so long after it
	longest atomic.Int64  // life of what is stored, as far as this process knows, in nanoseconds

	overflowed atomic.Bool // the cache is read past
	barred     atomic.Bool // so it is for now: see history.go

	// Guarded by pending.mu:
	missed   uint64    // the number of the last invalidation that did not fit
	missedAt time.Time // when it came; to come, of a write in doubt
	sweeping bool
	said     bool   // that it cannot be swept
	number   uint64 // of store.Keeper.Empty, until it was swept; zero: it need not be emptied
	emptying uint64 // what missed was then
}

// space returns what recovery has to know of a cache, but for the life of its values.
func (s *Shared) space(glob string, ours func(string) bool, hold, loadTimeout time.Duration) *space {
	return &space{glob: glob, ours: ours, hold: hold, margin: store.Sum(loadTimeout, leaseMargin, s.WriteBudget, hold)}
}

// lives notes how long something is stored.
func (sp *space) lives(d time.Duration) {
	for {
		known := sp.longest.Load()
		if int64(d) <= known || sp.longest.CompareAndSwap(known, int64(d)) {
			return
		}
	}
}

// life is how long after an invalidation a value from before it can be in the store.
func (sp *space) life() time.Duration { return store.Sum(time.Duration(sp.longest.Load()), sp.margin) }

// pending keeps invalidations. Its lock is held for a few lines that call nothing.
type pending struct {
	some  atomic.Int64  // keys kept, and caches read past: while zero, reads cost nothing
	clock atomic.Uint64 // counts what was kept, so that an invalidation knows what came after it began

	barred atomic.Uint64 // counts when caches were barred; see history.go

	repeated atomic.Uint64 // keys that were delivered by repetition
	wake     chan struct{} // something has been delivered, or the store answers again

	mu         sync.Mutex // guards all below, and what space says
	keys       map[string]*kept
	over       map[*space]bool // the caches that are read past
	spaces     []*space        // those that a store with a history can bar
	delivering bool            // a goroutine repeats
	sweeping   bool            // a goroutine sweeps
	round      uint64          // of repetition
	spell      spell
	failure    error // the last
}

// spell is the time in which something is pending, for the log.
type spell struct {
	began              time.Time // zero: there is none
	delivered, expired int       // but for what the store tells of
}

// kept is an invalidation that could not be delivered.
type kept struct {
	space  *space
	hold   time.Duration
	number uint64    // on the clock
	at     time.Time // the last failure
	tried  uint64    // the round in which it was repeated last
}

func (p *pending) init() {
	p.wake = make(chan struct{}, 1)
	p.keys, p.over = make(map[string]*kept), make(map[*space]bool)
}

// past reports whether a key must not be read from the store. To be asked before the read: afterwards the invalidation may
// have been delivered, behind the value that was read.
func (p *pending) past(sp *space, key string) bool {
	return p.some.Load() != 0 && p.holds(sp, key)
}

func (p *pending) holds(sp *space, key string) bool {
	if sp.overflowed.Load() || sp.barred.Load() {
		return true
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.keys[key] != nil
}

// mark is taken before an invalidation begins, or before the write whose end it is. If it succeeds, what was kept before
// the mark is done with: it was about older rows.
func (p *pending) mark() uint64 { return p.clock.Load() }

// done says that an invalidation, or the end of a write, was carried out.
func (p *pending) done(key string, mark uint64) {
	if p.some.Load() == 0 {
		return
	}
	p.mu.Lock()
	removed := p.remove(key, mark)
	if removed {
		p.spell.delivered++
	}
	empty := removed && len(p.keys) == 0
	p.mu.Unlock()
	if empty {
		p.rouse()
	}
}

// remove forgets a key if it was not kept anew behind mark. p.mu is held.
func (p *pending) remove(key string, mark uint64) bool {
	k := p.keys[key]
	if k == nil || k.number > mark {
		return false
	}
	p.drop(key)
	return true
}

// drop takes a key out. p.mu is held.
func (p *pending) drop(key string) {
	delete(p.keys, key)
	p.some.Add(-1)
}

func (p *pending) rouse() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// news is what add has changed.
type news struct {
	first    bool // nothing was pending before
	overflow bool // the cache is read past from now on
	deliver  bool // a goroutine must be started
	sweep    bool // another one
}

// add keeps an invalidation that failed. It must come before the caller hears of the failure, and before the key's call is
// forgotten: the next one shall see it.
func (p *pending) add(sp *space, key string, hold time.Duration, failure error, most int) (n news) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now, number := time.Now(), p.clock.Add(1)
	p.failure = failure
	if n.first = p.spell.began.IsZero(); n.first {
		p.spell.began = now
	}
	k := p.keys[key]
	switch {
	case k != nil:
		k.hold = max(k.hold, hold)
	case p.over[sp] && !sp.sweeping:
		sp.miss(number, now) // the sweep to come covers it
		return n
	case len(p.keys) >= most:
		n.overflow = p.overflow(sp, number, now)
		n.sweep, p.sweeping = !p.sweeping, true
		return n
	default:
		k = &kept{space: sp, hold: hold}
		p.keys[key] = k
		p.some.Add(1)
	}
	k.number, k.at = number, now
	n.deliver, p.delivering = !p.delivering, true
	return n
}

// overflow has a cache read past. The keys kept of it make room: the sweep covers them. p.mu is held.
func (p *pending) overflow(sp *space, number uint64, now time.Time) (news bool) {
	for key, k := range p.keys {
		if k.space == sp {
			p.drop(key)
		}
	}
	return p.bypass(sp, number, now)
}

// bypass has a cache read past until it was swept. p.mu is held.
func (p *pending) bypass(sp *space, number uint64, now time.Time) (news bool) {
	sp.miss(number, now)
	if p.over[sp] {
		return false
	}
	p.over[sp] = true
	p.some.Add(1)
	sp.overflowed.Store(true)
	return true
}

// doubtful has a cache read past, some of whose keys are in doubt until a time to come.
func (p *pending) doubtful(sp *space, until time.Time) (n news) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.spell.began.IsZero() {
		p.spell.began = time.Now()
	}
	n.overflow = p.overflow(sp, p.clock.Add(1), until)
	n.sweep, p.sweeping = !p.sweeping, true
	return n
}

// miss notes an invalidation that did not fit: a sweep covers it that begins at its time or later. p.mu is held.
func (sp *space) miss(number uint64, at time.Time) {
	sp.missed = number
	if at.After(sp.missedAt) {
		sp.missedAt = at
	}
}

// size is how many keys are kept, of which the first to have failed is named, and which caches are read past.
func (p *pending) size() (n int, first string, over []*space) {
	p.mu.Lock()
	defer p.mu.Unlock()
	least := uint64(0)
	for key, k := range p.keys {
		if least == 0 || k.number < least {
			first, least = key, k.number
		}
	}
	for sp := range p.over {
		over = append(over, sp)
	}
	return len(p.keys), first, over
}
