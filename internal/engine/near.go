package engine

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/meter"
	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/testhooks"
)

// NearConfig are the settings of a cache's tier in the process. The zero value is: none.
type NearConfig struct {
	Size      int              // entries
	Bytes     uint64           // of values, by Weigh, and what keeping them costs
	Max       time.Duration    // how long an entry is kept at most
	Untracked time.Duration    // the same where the store does not tell of changes; zero: nothing is kept then
	Weigh     func([]byte) int // bytes of an encoded value when it is decoded; nil: they are those of the encoded one
	Clone     func(any) any    // of values that callers modify; nil: they are shared

	// Make returns the tier. The typed shell keeps it as well, to read it by keys of their own type.
	Make func(clock *near.Clock, size int, bytes uint64) NearTier
}

// NearTier is a *near.Tier, whatever its keys are.
type NearTier interface {
	GetText(key string) (*near.Entry, bool)
	Reserve(key string) (*near.Reservation, *near.Read)
	Leave(r *near.Reservation, missing bool)
	Fill(r *near.Reservation, e near.Entry, sent, d time.Duration, size int) bool
	Drop(key string) bool
	Lost()
	Clear()
	SetBytes(n uint64)
	Len() int
	Bytes() uint64
}

// nearTier is the tier of one cache.
type nearTier struct {
	NearTier
	cfg   NearConfig
	count *meter.Meter
	back  readBack
}

// changed drops a key that another process has changed, or this one.
func (t *nearTier) changed(text string) {
	if t.Drop(text) {
		t.count.Add(tally.ByPush)
	}
	t.back.pushed(text)
}

// lost discards all entries, since pushes may have been lost.
func (t *nearTier) lost() {
	t.Lost()
	t.count.Add(tally.ByLost)
}

// newNear adds a tier to a cache.
func newNear(s *Shared, c NearConfig, m *meter.Meter) *nearTier {
	c.Max, c.Untracked = store.Bounded(c.Max), store.Bounded(c.Untracked)
	if c.Size <= 0 && c.Bytes == 0 {
		return nil
	}
	shared := c.Bytes == 0 && s.NearBytes > 0
	if shared {
		c.Bytes = s.NearBytes
	}
	t := &nearTier{NearTier: c.Make(s.near.clock, c.Size, c.Bytes), cfg: c, count: m}
	s.mu.Lock()
	var all []tier
	if old := s.near.all.Load(); old != nil {
		all = *old
	}
	all = append(all[:len(all):len(all)], t)
	s.near.all.Store(&all)
	if shared {
		s.near.shared = append(s.near.shared, t)
		for _, one := range s.near.shared {
			one.SetBytes(s.NearBytes / uint64(len(s.near.shared)))
		}
	}
	s.mu.Unlock()
	if s.near.began.CompareAndSwap(false, true) {
		s.spawn(func() { s.near.clock.Run(s.ctx.Done()) })
	}
	s.tracking()
	return t
}

// NearHit counts a hit in the near cache. If sample is true and the hit is chosen, the caller measures one more read of the key and
// passes the time to SampleNear.
func (c *Cache) NearHit() (hit meter.Hit, sample bool) { return c.count.NearHit() }

// SampleNear records the key of a hit and how long a hit takes.
func (c *Cache) SampleNear(key string, took time.Duration) { c.count.NearSampled(key, took) }

// kept returns the near entry of a key: a value or an absence.
func (c *Cache) kept(key string) (*near.Entry, bool) {
	e, ok := c.near.GetText(key)
	if !ok {
		return nil, false
	}
	if hit, due := c.NearHit(); due && hit.Chosen() {
		began := time.Now()
		c.near.GetText(key)
		c.SampleNear(key, time.Since(began))
	}
	return e, true
}

// cloned returns a value for one caller. It is a copy if the cache has a Clone.
func (c *Cache) cloned(v any) any {
	if c.near != nil && c.near.cfg.Clone != nil {
		return c.near.cfg.Clone(v)
	}
	return v
}

// Near returns the answer of a near entry. Age and TTL are set only if ttl is true.
func (c *Cache) Near(key string, e *near.Entry, ttl bool) (Entry, error) {
	out := Entry{Source: Near, Age: -1}
	var err error
	if e.Absent {
		err = c.Absent(key)
	} else {
		out.Value = c.cloned(e.Value)
	}
	if !ttl {
		return out, err
	}
	now := int64(c.Shared.near.clock.Exact())
	if e.Loaded != near.Unknown {
		out.Age = time.Duration(now - e.Loaded)
	}
	if e.Fresh != near.Unknown {
		out.TTL = max(time.Duration(e.Fresh-now), 0)
	}
	return out, err
}

// trackedRead is a read of the store whose values can be kept near. The zero value keeps nothing.
type trackedRead struct {
	t       store.Tracking // nil: the store sends no pushes
	sent    time.Duration  // by the clock of the near caches
	longest time.Duration  // for which an entry is kept; zero: nothing is kept
}

// beginTrackedRead returns a read that begins now. It is zero for a cache without a near cache.
func (c *Cache) beginTrackedRead() (s trackedRead) {
	if c.near == nil {
		return s
	}
	s.sent, s.longest = c.Shared.near.clock.Exact(), c.near.cfg.Untracked
	if t := c.Shared.near.track.Load(); t != nil {
		s.t, s.longest = t.Tracking, c.near.cfg.Max
	}
	return s
}

// reserve announces the read of a key. The reservation is nil if nothing will be kept. The second result is another read of the key
// that is under way, or nil.
func (c *Cache) reserve(s trackedRead, key string) (*near.Reservation, *near.Read) {
	if s.longest <= 0 {
		return nil, nil
	}
	return c.near.Reserve(key)
}

// waitSharedRead waits for another caller's read of a key. The value that it keeps near may be given to callers that came while the
// read was under way: a moment later they would have had a near hit, or a miss if it was dropped. If ok is false, the caller reads
// the store itself, unless missing is true. If ok is true, the reservation r has ended.
func (c *Cache) waitSharedRead(ctx context.Context, read *near.Read, r *near.Reservation, key string, ttl bool, until time.Time) (e Entry, ok, missing bool, err error) {
	select {
	case <-read.Done:
	case <-c.steps().At(until).Done():
		return e, false, false, nil
	case <-ctx.Done():
		c.near.Leave(r, false)
		e, err = c.Failed(ctx.Err())
		return e, true, false, err
	}
	if kept, had := c.kept(key); had {
		c.near.Leave(r, false) // before Clone, which may panic
		e, err = c.Near(key, kept, ttl)
		return e, true, false, err
	}
	return e, false, read.Missing, nil
}

// completeReservation ends a reservation. It keeps a fresh value, and nothing else.
func (c *Cache) completeReservation(s trackedRead, r *near.Reservation, e Entry, item store.Item) {
	switch {
	case r == nil:
		return
	case item.Err != nil || !item.Found || e.Stale || e.Source != Store:
		c.near.Leave(r, item.Err == nil && !item.Found)
		return
	}
	life := s.longest
	cloned := false
	defer func() {
		if !cloned { // Clone has panicked: others wait for this read
			c.near.Leave(r, false)
		}
	}()
	v := c.cloned(e.Value)
	cloned = true
	n := near.Entry{Value: v, Loaded: near.Unknown, Fresh: near.Unknown}
	if item.TTL > 0 {
		fresh := item.TTL - c.Policy.Stale
		life = min(life, fresh)
		n.Fresh = int64(s.sent + fresh)
	}
	if e.Age >= 0 {
		n.Loaded = int64(s.sent - e.Age)
	}
	size := len(item.Value)
	if weigh := c.near.cfg.Weigh; weigh != nil {
		size = max(size, weigh(item.Value))
	}
	c.near.Fill(r, n, s.sent, life, size)
}

// retainAbsences keeps the absences that claims have found. Claims are not tracked, so each key is read once more in the background.
func (c *Cache) retainAbsences(js jobs, grants []store.Grant) {
	var gone jobs
	if c.near != nil && c.Shared.near.track.Load() != nil {
		for i, j := range js {
			if grants[i].Err == nil && grants[i].State == store.Absent {
				gone = append(gone, j)
			}
		}
	}
	if len(gone) > 0 {
		c.spawn(func() { c.retainAbsent(gone) })
	}
}

func (c *Cache) retainAbsent(js jobs) {
	s := c.beginTrackedRead()
	if s.t == nil {
		return
	}
	epoch := c.deferred.Epoch()
	reserved := make([]*near.Reservation, 0, len(js))
	keys := make([]string, 0, len(js))
	for _, j := range js {
		r, _ := c.reserve(s, j.key)
		if c.recovery.Bypasses(j.key) { // after the reservation: see Values.find
			c.near.Leave(r, false)
			continue
		}
		reserved, keys = append(reserved, r), append(keys, j.key)
	}
	for i, d := range s.t.Absences(c.step(), keys) {
		if d <= 0 || c.deferred.Overtaken(epoch) {
			c.near.Leave(reserved[i], false)
			continue
		}
		e := near.Entry{Absent: true, Loaded: near.Unknown, Fresh: int64(s.sent + d)}
		c.near.Fill(reserved[i], e, s.sent, min(d, s.longest), 0)
	}
}

// drop removes keys from the near cache. It is called before they are changed.
func (c *Cache) drop(keys ...string) {
	if c.near == nil || testhooks.WithoutDrop.Load() {
		return
	}
	for _, key := range keys {
		c.near.Drop(key)
	}
}

// forget ends what the callers of this process share of a key that was changed, or may have been: the call and the near entry.
func (c *Cache) forget(key string) {
	c.flights.Forget(key)
	if c.kind != "" {
		c.whole.Forget(key)
	}
	c.drop(key)
}
