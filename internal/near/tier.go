// Package near is the tier in the process: decoded values, bounded, kept right by the pushes of the store.
//
// # Why nothing stale stays
//
// A value may be kept only if every later change of its key will be pushed, and only if none was pushed since it was read:
//
//   - It was read by a tracked read (store.Tracking), never taken from a load or a write of our own, whose push is still on
//     its way and would find nothing to remove.
//   - A reservation stands before the read is sent. A push that comes between the read and the fill finds the reservation
//     and makes it void; without it, it would find nothing, and the older value would be filled behind it.
//   - Whoever writes drops the key before and after, also if the write fails: it may have been carried out.
//   - An absence is kept like a value: by a tracked read of all that can end it.
//   - A lost connection may have lost pushes: everything of that epoch is dead at once.
//   - What no push can reach ends by itself: with the life of the value in the store, and at NearMax at the latest.
package near

import (
	"hash/maphash"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/nearside/nearside/internal/testhooks"
)

// Options are the settings of a tier.
type Options[K comparable] struct {
	Size  int    // entries; zero: as many as Bytes hold
	Bytes uint64 // of encoded values, with what keeping them costs; zero: as many as Size entries have

	Text  func(K) string         // a key as it stands in the store
	Parse func(string) (K, bool) // and back; nil: it cannot be told, and entries are kept by their text

	Clock *Clock
}

// Tier keeps decoded values. Those that it gives are shared. It is safe for concurrent use.
type Tier[K comparable] struct {
	text   func(K) string
	parse  func(string) (K, bool)
	byKey  *otter.Cache[K, *Entry]
	byText *otter.Cache[string, *Entry] // where a key cannot be told from its text
	clock  *Clock
	epoch  atomic.Uint64
	seed   maphash.Seed
	shards [64]shard
}

// shard has the reservations of some keys.
type shard struct {
	mu       sync.Mutex // guards reserved, and fills against drops
	reserved map[string]*Reservation
	_        [40]byte
}

// Entry is a value that is kept. It is not modified once it is.
type Entry struct {
	Value  any   // as the cache's owner knows it
	Loaded int64 // when it was loaded, by the clock; or Unknown
	Fresh  int64 // until when it is fresh, by the clock; Unknown if it has no TTL
	until  int64 // until when it may be served from here
	epoch  uint64
	weight uint32
	Absent bool // there is no such row, and no Value
}

// Unknown is a time that is not known.
const Unknown = math.MinInt64

// overhead is what an entry costs beside its encoded value, about.
const overhead = 160

// New returns a tier.
func New[K comparable](o Options[K]) *Tier[K] {
	t := &Tier[K]{text: o.Text, parse: o.Parse, clock: o.Clock, seed: maphash.MakeSeed()}
	if t.parse != nil {
		t.byKey = otter.Must(bounds[K](o.Size, o.Bytes))
	} else {
		t.byText = otter.Must(bounds[string](o.Size, o.Bytes))
	}
	for i := range t.shards {
		t.shards[i].reserved = make(map[string]*Reservation)
	}
	return t
}

func bounds[K comparable](size int, bytes uint64) *otter.Options[K, *Entry] {
	if bytes == 0 {
		return &otter.Options[K, *Entry]{MaximumSize: size}
	}
	least := uint64(1) // so that no more than size entries fit
	if size > 0 {
		least = max(bytes/uint64(size), 1)
	}
	return &otter.Options[K, *Entry]{
		MaximumWeight: bytes,
		Weigher:       func(_ K, e *Entry) uint32 { return uint32(max(uint64(e.weight), least)) },
	}
}

// Get returns the entry of a key, if one is kept and may be served.
func (t *Tier[K]) Get(k K) (*Entry, bool) {
	if t.byKey == nil {
		return t.current(t.byText.GetIfPresent(t.text(k)))
	}
	return t.current(t.byKey.GetIfPresent(k))
}

// GetText is Get by the text of a key.
func (t *Tier[K]) GetText(text string) (*Entry, bool) {
	if t.byKey == nil {
		return t.current(t.byText.GetIfPresent(text))
	}
	k, ok := t.parse(text)
	if !ok {
		return nil, false
	}
	return t.current(t.byKey.GetIfPresent(k))
}

// current returns an entry if it may be served.
func (t *Tier[K]) current(e *Entry, ok bool) (*Entry, bool) {
	if !ok || e.until <= t.clock.Now() || e.epoch != t.epoch.Load() {
		return nil, false
	}
	return e, true
}

// Reservation is made before a tracked read is sent. It is void when the key was pushed, dropped, or when pushes may have
// been lost, since then.
type Reservation struct {
	text  string
	epoch uint64
	void  bool  // guarded by the shard
	users int   // reads under way that share it; guarded by the shard
	read  *Read // what others wait for; nil: nobody does; guarded by the shard
}

// Read is a read under way that somebody else waits for.
type Read struct {
	Done    chan struct{} // closed at its end
	Missing bool          // it found nothing; set before Done is closed
}

func (t *Tier[K]) shard(text string) *shard {
	return &t.shards[maphash.String(t.seed, text)%uint64(len(t.shards))]
}

// Reserve announces a read of a key, to be ended by Fill or Leave. If another one is under way that nothing was pushed behind,
// it may be waited for instead: what it fills and Get returns then is as if it had been filled before.
func (t *Tier[K]) Reserve(text string) (*Reservation, *Read) {
	s := t.shard(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	r := s.reserved[text]
	if r == nil || r.epoch != t.epoch.Load() {
		r = &Reservation{text: text, epoch: t.epoch.Load()}
		s.reserved[text] = r
	}
	if r.users++; r.users == 1 {
		return r, nil
	}
	if r.read == nil {
		r.read = &Read{Done: make(chan struct{})}
	}
	return r, r.read
}

// Leave ends a reservation of which nothing came, since nothing was found or for another reason.
func (t *Tier[K]) Leave(r *Reservation, missing bool) {
	s := t.shard(r.text)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.leave(r, missing)
}

func (s *shard) leave(r *Reservation, missing bool) {
	if r.read != nil {
		r.read.Missing = missing
		close(r.read.Done)
		r.read = nil
	}
	if r.users--; r.users == 0 && s.reserved[r.text] == r {
		delete(s.reserved, r.text)
	}
}

// Fill keeps what the read returned, if its reservation still stands, for at most d from when the read was sent. size is
// that of the encoded value, in bytes. A key of which there are several (a time in another zone has the same text) is kept as its
// text is parsed, which is how Drop finds it.
func (t *Tier[K]) Fill(r *Reservation, e Entry, sent time.Duration, d time.Duration, size int) bool {
	s := t.shard(r.text)
	s.mu.Lock()
	defer s.mu.Unlock()
	defer s.leave(r, false) // behind all: who waits looks for what is kept
	// The clock is behind by up to a tick, so that much is taken off.
	e.until, e.epoch, e.weight = int64(sent+d-tick), r.epoch, uint32(min(size+overhead, 1<<31))
	if r.void && !testhooks.WithoutReservation.Load() || r.epoch != t.epoch.Load() || e.until <= t.clock.Now() {
		return false
	}
	if t.byKey == nil {
		t.byText.Set(r.text, &e)
		return true
	}
	k, ok := t.parse(r.text)
	if again, _ := t.parse(r.text); !ok || again != k {
		return false // Drop would not find it: each parse of the text makes another key, such as a pointer
	}
	t.byKey.Set(k, &e)
	return true
}

// Drop removes a key, and makes the reads of it that are under way void: it was changed, or is about to be. True: it was kept.
func (t *Tier[K]) Drop(text string) (had bool) {
	var k K
	if t.parse != nil {
		var ok bool
		if k, ok = t.parse(text); !ok {
			return false // of another cache
		}
	}
	s := t.shard(text)
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.reserved[text]; r != nil {
		r.void = true
		delete(s.reserved, text)
	}
	if t.byKey != nil {
		_, had = t.byKey.Invalidate(k)
	} else {
		_, had = t.byText.Invalidate(text)
	}
	return had
}

// Lost ends an epoch: pushes may have been lost, so nothing that was read before is served any more. Clear frees it.
func (t *Tier[K]) Lost() { t.epoch.Add(1) }

// Clear removes everything.
func (t *Tier[K]) Clear() {
	if t.byKey != nil {
		t.byKey.InvalidateAll()
	} else {
		t.byText.InvalidateAll()
	}
}

// SetBytes changes the bound in bytes of a tier that has one.
func (t *Tier[K]) SetBytes(n uint64) {
	if t.byKey != nil {
		t.byKey.SetMaximum(n)
	} else {
		t.byText.SetMaximum(n)
	}
}

// Len returns how many entries are kept, and Bytes how much they weigh, about.
func (t *Tier[K]) Len() int {
	if t.byKey != nil {
		return t.byKey.EstimatedSize()
	}
	return t.byText.EstimatedSize()
}

// Bytes returns the weight of the entries; zero where the tier is bounded by their number alone.
func (t *Tier[K]) Bytes() uint64 {
	if t.byKey != nil {
		return t.byKey.WeightedSize()
	}
	return t.byText.WeightedSize()
}
