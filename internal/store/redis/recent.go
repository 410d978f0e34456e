package redis

import (
	"context"
	"encoding/binary"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Redis replicates after it has answered. A master that dies takes with it what it had acknowledged last: an invalidation
// too, and the old value is back on the replica that follows it. So each process remembers what it has invalidated or
// written lately, and invalidates it again when another process serves the key: not once, since the old master may have
// taken commands while the new one was there, but twice.
//
// A lease may come back as well, whose end was lost: until it expires, all others wait for a load that is over. So leases
// that have ended are remembered likewise, and given back again.
//
// A member's write that is lost is an invalidation too: what it said of the member is not known any more.

const (
	recentFor   = 10 * time.Second // how long an invalidation is remembered, counted from when all masters were last seen
	recentMax   = 100_000          // and how many
	recentBytes = 32 << 20         // and how many bytes of them
	againIn     = 2 * time.Second  // after the first repetition
)

// NoRepeat leaves the repetition out, in all stores, so that a test can show that its absence is found. Nothing but a test
// sets it.
var NoRepeat atomic.Bool

// recent is what was invalidated, or which leases were ended, lately. It is written to with every miss and nearly never read, so
// it is kept as bytes: a hundred thousand of them cost the garbage collector nothing.
type recent struct {
	mu      sync.Mutex
	pages   []page    // the oldest first
	n       int       // in all pages
	bytes   int       // that all pages have allocated
	dropped bool      // some were forgotten since the last change of the topology
	lost    time.Time // when the last of those that were too many was noted
}

// page is what was noted within a second, or less: it is forgotten as a whole.
type page struct {
	bytes       []byte
	n           int
	first, last time.Time
}

const pageBytes = 64 << 10

type touched struct {
	key   string
	hold  time.Duration // of an invalidation
	kind  store.Kind    // of a lease
	token string
}

// add notes what is about to be sent: a change that is seen while it is under way must repeat it.
func (r *recent) add(n int, what func(i int) touched) {
	now := time.Now()
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range n {
		last := len(r.pages) - 1
		if last < 0 || len(r.pages[last].bytes) > pageBytes || now.Sub(r.pages[last].first) > time.Second {
			next := page{first: now}
			if last >= 0 && len(r.pages[last].bytes) > pageBytes { // there is much to note
				next.bytes = make([]byte, 0, cap(r.pages[last].bytes))
			}
			r.pages = append(r.pages, next)
			r.bytes += cap(next.bytes)
			last++
		}
		p := &r.pages[last]
		p.last = now
		r.bytes -= cap(p.bytes)
		p.add(what(i))
		r.bytes += cap(p.bytes)
		p.n++
		r.n++
		for (r.n > recentMax || r.bytes > recentBytes) && len(r.pages) > 1 { // also while nothing is pruned, since a master is unknown
			r.lost = r.pages[0].last
			r.forget(1)
			r.dropped = true
		}
	}
}

func (p *page) add(t touched) {
	b := binary.AppendUvarint(p.bytes, uint64(t.hold))
	for _, text := range [...]string{t.key, string(t.kind), t.token} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	p.bytes = b
}

// all yields what was noted.
func (p *page) all(yield func(touched) bool) {
	b := p.bytes
	number := func() uint64 {
		v, n := binary.Uvarint(b)
		b = b[n:]
		return v
	}
	text := func() string {
		n := number()
		s := string(b[:n])
		b = b[n:]
		return s
	}
	for len(b) > 0 {
		hold := time.Duration(number())
		if !yield(touched{hold: hold, key: text(), kind: store.Kind(text()), token: text()}) {
			return
		}
	}
}

// forget ends the oldest pages.
func (r *recent) forget(pages int) {
	for i := range pages {
		r.n -= r.pages[i].n
		r.bytes -= cap(r.pages[i].bytes)
	}
	r.pages = slices.Delete(r.pages, 0, pages)
}

// prune forgets what is older, and sometimes keeps a second more.
func (r *recent) prune(than time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.pages) && r.pages[n].last.Before(than) {
		n++
	}
	r.forget(n)
}

// knows reports whether all that was noted since a time is remembered, if that is not longer ago than recentFor.
func (r *recent) knows(since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost.Before(since)
}

// in returns what is about keys of some slots, the oldest first, and whether anything was forgotten.
func (r *recent) in(spans []span) (list []touched, dropped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.pages {
		for t := range r.pages[i].all {
			slot := Slot(t.key)
			if slices.ContainsFunc(spans, func(sp span) bool { return sp.first <= slot && slot <= sp.last }) {
				list = append(list, t)
			}
		}
	}
	dropped, r.dropped = r.dropped, false
	return list, dropped
}

// repeat invalidates again what was invalidated lately in some slots, and once more a little later.
func (s *Store) repeat(moved []span) {
	if NoRepeat.Load() {
		return
	}
	s.watching.Go(func() {
		for i := range 2 {
			if i > 0 {
				select {
				case <-time.After(againIn):
				case <-s.ctx.Done():
					return
				}
			}
			list, dropped := s.recent.in(moved)
			keys := make(map[string]time.Duration) // with the longest hold of each
			for _, t := range list {
				keys[t.key] = max(keys[t.key], t.hold)
			}
			done, failed := s.invalidateAgain(keys)
			s.releaseAgain(moved)
			if i == 0 || failed != nil {
				args := []any{"server", moved[0].node.address, "repeated", done, "of", len(keys)}
				if failed != nil {
					args = append(args, "error", failed)
				}
				s.logger.Info("redis: another server answers for some keys, recent invalidations are repeated", args...)
			}
			if dropped && s.unhistoric() {
				s.logger.Warn("redis: more was invalidated than is remembered: values that a failover brought back live until their TTL",
					"keys", recentMax, "bytes", recentBytes)
			}
		}
	})
}

// releaseAgain gives back leases that have ended. Nobody is harmed if it fails, but has to wait for their end.
func (s *Store) releaseAgain(moved []span) {
	ctx, cancel := context.WithTimeout(s.ctx, 5*time.Second)
	defer cancel()
	list, _ := s.ended.in(moved)
	for batch := range slices.Chunk(list, 1000) {
		leases := make([]store.Lease, len(batch))
		for i, t := range batch {
			leases[i] = store.Lease{Key: t.key, Token: t.token, Kind: t.kind}
		}
		s.release(ctx, leases)
	}
}

// invalidateAgain sends the invalidations in batches, each until it is done or the store is closed; the longest outage
// that is waited out is a minute.
func (s *Store) invalidateAgain(keys map[string]time.Duration) (done int, failed error) {
	ctx, cancel := context.WithTimeout(s.ctx, time.Minute)
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
			for i, o := range s.invalidate(ctx, batch, hold) {
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
