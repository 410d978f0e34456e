package engine

import (
	"cmp"
	"context"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// leases are those that the caches of a client hold. A lease lasts for store.LeaseLife, so that the keys of a process that is
// killed are free soon. One goroutine renews the leases of loads that take longer: it looks at all of them several times in a
// lease's life, while there are any, so a load that is over by then costs no command and no timer. The zero value is ready.
//
// A renewal that fails is tried again. A lease that was not renewed in time is over: the store refuses the fill, and another
// process may load. It is not taken again, since an invalidation may have come in between.
type leases struct {
	mu      sync.Mutex // guards the rest
	first   *held      // of a list
	ticking bool       // look is called by the timer, or runs
	timer   *time.Timer
	lost    map[lostLease]time.Time // when the lease ends at the latest, unless another process has it by then
}

// held is a lease of a load that is under way: a link of the list, and a part of the job.
type held struct {
	of         interface{ lease() store.Lease } // nil: it is not in the list
	kind       store.Kind
	since      time.Time // when the claim or the last renewal was sent that was answered
	prev, next *held
}

// lostLease is a lease of this process that may stand in the store although its load is over.
type lostLease struct{ key, token string }

const (
	looksPerLife  = 6 // looks of the renewing goroutine, and of a waiter whom the store notifies of changes
	renewsAt      = 3 // a lease is renewed when this part of its life is over
	renewedAtOnce = 1024

	// A fill reaches the store within LoadTimeout and so many lives of a lease after its row was read. Later the store refuses
	// it: each renewal that may be under way when the load ends (one in each third of a life, until the client itself takes the
	// lease for lost) prolongs the lease by a life at most.
	fillsWithin = renewsAt + 1
	maxLost     = 10_000
)

// leaseLife is how long the leases of this client last.
func (s *Shared) leaseLife() time.Duration { return cmp.Or(s.LeaseLife, store.LeaseLife) }

// lease is the one that a job holds.
func (j *job) lease() store.Lease {
	return store.Lease{Key: j.key, Token: j.token, Kind: j.held.kind}
}

// hold has the leases of jobs renewed until they are let go. They were claimed at a time.
func (c *Cache) hold(js jobs, claimed time.Time) {
	l := &c.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range js {
		if j.leased && j.held.of == nil {
			j.held.of, j.held.kind, j.held.since = j, c.kind, claimed
			l.insert(&j.held)
		}
	}
	if l.first != nil {
		c.tick()
	}
}

// letGo ends the renewal of the leases of jobs, before the leases are ended.
func (c *Cache) letGo(js jobs) {
	c.leases.mu.Lock()
	defer c.leases.mu.Unlock()
	for _, j := range js {
		c.leases.remove(&j.held)
	}
}

func (l *leases) insert(h *held) {
	if h.next = l.first; h.next != nil {
		h.next.prev = h
	}
	l.first = h
}

func (l *leases) remove(h *held) {
	if h.of == nil {
		return
	}
	if h.next != nil {
		h.next.prev = h.prev
	}
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		l.first = h.next
	}
	*h = held{}
}

// tick has the timer call for the next look, if it does not yet. The caller holds the lock.
func (s *Shared) tick() {
	if l := &s.leases; !l.ticking {
		l.ticking = true
		s.again()
	}
}

// again sets the timer. The caller holds the lock.
func (s *Shared) again() {
	if l, pause := &s.leases, s.leaseLife()/looksPerLife; l.timer == nil {
		l.timer = time.AfterFunc(pause, func() { s.spawn(s.look) })
	} else {
		l.timer.Reset(pause)
	}
}

// look renews what is due, and sets the timer again while there is anything to look after.
func (s *Shared) look() {
	l, life := &s.leases, s.leaseLife()
	var due []*held
	var leases []store.Lease
	l.mu.Lock()
	now := time.Now()
	for h := l.first; h != nil; {
		next := h.next
		switch age := now.Sub(h.since); {
		case age >= life: // it has ended, unless a renewal was carried out that was not answered: the store knows
			l.remove(h)
		case age >= life/renewsAt:
			due, leases = append(due, h), append(leases, h.of.lease())
		}
		h = next
	}
	for lost, end := range l.lost {
		if now.After(end) {
			delete(l.lost, lost)
		}
	}
	l.mu.Unlock()
	for len(due) > 0 {
		n := min(len(due), renewedAtOnce)
		s.renewLeases(due[:n], leases[:n])
		due, leases = due[n:], leases[n:]
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ticking = l.first != nil || len(l.lost) > 0; l.ticking {
		s.again()
	}
}

// renewLeases renews some leases.
func (s *Shared) renewLeases(due []*held, leases []store.Lease) {
	life := s.leaseLife()
	ctx, cancel := context.WithTimeout(context.Background(), life/renewsAt) // afterwards it is time for the next try
	defer cancel()
	sent := time.Now()
	outcomes := s.Store.Renew(ctx, leases, life)
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	for i, o := range outcomes {
		switch h := due[i]; {
		case h.of == nil, o.Err != nil:
		case o.OK:
			h.since = sent
		default:
			s.leases.remove(h)
		}
	}
}

// lose notes leases of this process that may stand although their loads are over: what ends them was not answered, or refused.
func (s *Shared) lose(lost []store.Lease) {
	l := &s.leases
	l.mu.Lock()
	defer l.mu.Unlock()
	end := time.Now().Add(s.leaseLife())
	for _, lease := range lost {
		if len(l.lost) == maxLost {
			break
		}
		if l.lost == nil {
			l.lost = make(map[lostLease]time.Time)
		}
		l.lost[lostLease{lease.Key, lease.Token}] = end
	}
	s.tick()
}

// isLost reports whether a lease is one of this process whose load is over.
func (s *Shared) isLost(key, token string) bool {
	s.leases.mu.Lock()
	defer s.leases.mu.Unlock()
	_, ok := s.leases.lost[lostLease{key, token}]
	return ok
}
