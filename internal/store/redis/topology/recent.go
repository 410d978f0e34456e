package topology

import (
	"encoding/binary"
	"slices"
	"sync"
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
)

// Recent is what was invalidated, or which leases were ended, lately. It is written to with every miss and nearly never read, so
// it is kept as bytes: a hundred thousand of them cost the garbage collector nothing.
type Recent struct {
	mu      sync.Mutex // guards the rest
	pages   []page     // the oldest first
	n       int        // in all pages
	bytes   int        // that all pages have allocated
	dropped bool       // some were forgotten since the last change of the topology
	lost    time.Time  // when the last of those that were too many was noted
}

// page is what was noted within a second, or less: it is forgotten as a whole.
type page struct {
	bytes       []byte
	n           int
	first, last time.Time
}

const pageBytes = 64 << 10

// Touched is a key that was invalidated, or whose lease was ended.
type Touched struct {
	Key   string
	Hold  time.Duration // of an invalidation
	Kind  store.Kind    // of a lease
	Token string
}

// Add notes what is about to be sent: a change that is seen while it is under way must repeat it.
func (r *Recent) Add(n int, what func(i int) Touched) {
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

func (p *page) add(t Touched) {
	b := binary.AppendUvarint(p.bytes, uint64(t.Hold))
	for _, text := range [...]string{t.Key, string(t.Kind), t.Token} {
		b = append(binary.AppendUvarint(b, uint64(len(text))), text...)
	}
	p.bytes = b
}

// all yields what was noted.
func (p *page) all(yield func(Touched) bool) {
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
		if !yield(Touched{Hold: hold, Key: text(), Kind: store.Kind(text()), Token: text()}) {
			return
		}
	}
}

// forget ends the oldest pages.
func (r *Recent) forget(pages int) {
	for i := range pages {
		r.n -= r.pages[i].n
		r.bytes -= cap(r.pages[i].bytes)
	}
	r.pages = slices.Delete(r.pages, 0, pages)
}

// prune forgets what is older, and sometimes keeps a second more.
func (r *Recent) prune(than time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := 0
	for n < len(r.pages) && r.pages[n].last.Before(than) {
		n++
	}
	r.forget(n)
}

// Knows reports whether all that was noted since a time is remembered, if that is not longer ago than recentFor.
func (r *Recent) Knows(since time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.lost.Before(since)
}

// in returns what is about keys of some slots, the oldest first, and whether anything was forgotten.
func (r *Recent) in(spans []Span) (list []Touched, dropped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := range r.pages {
		for t := range r.pages[i].all {
			slot := Slot(t.Key)
			if slices.ContainsFunc(spans, func(sp Span) bool { return sp.First <= slot && slot <= sp.Last }) {
				list = append(list, t)
			}
		}
	}
	dropped, r.dropped = r.dropped, false
	return list, dropped
}
