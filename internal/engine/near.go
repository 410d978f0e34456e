package engine

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/meter"
	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// NearConfig are the settings of a cache's tier in the process. The zero value is: none.
type NearConfig[K comparable, V any] struct {
	Size      int                    // entries
	Bytes     uint64                 // of values, by Weigh, and what keeping them costs
	Max       time.Duration          // how long an entry is kept at most
	Untracked time.Duration          // the same where the store does not tell of changes; zero: nothing is kept then
	Parse     func(string) (K, bool) // the key of a text; nil: it cannot be told
	Weigh     func([]byte) int       // bytes of an encoded value when it is decoded; nil: they are those of the encoded one
	Clone     func(V) V              // of values that callers modify; nil: they are shared
}

// nearTier is the tier of one cache.
type nearTier[K comparable, V any] struct {
	cfg NearConfig[K, V]
	*near.Tier[K, V]
	count *meter.Meter
	back  readBack[K]
}

// changed drops a key that another process has changed, or this one.
func (t *nearTier[K, V]) changed(text string) {
	if t.Drop(text) {
		t.count.Add(tally.ByPush)
	}
	t.back.pushed(text)
}

// lost ends what is kept, since changes may have been missed.
func (t *nearTier[K, V]) lost() {
	t.Lost()
	t.count.Add(tally.ByLost)
}

// newNear adds a tier to a cache.
func newNear[K comparable, V any](s *Shared, c NearConfig[K, V], m *meter.Meter, text func(K) string) *nearTier[K, V] {
	if c.Size <= 0 && c.Bytes == 0 {
		return nil
	}
	shared := c.Bytes == 0 && s.NearBytes > 0
	if shared {
		c.Bytes = s.NearBytes
	}
	t := &nearTier[K, V]{cfg: c, count: m, Tier: near.New(near.Options[K, V]{
		Size: c.Size, Bytes: c.Bytes, Text: text, Parse: c.Parse, Clock: s.near.clock,
	})}
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

// kept returns what is kept in the process of k: a value, or its absence.
func (c *Cache[K, V]) kept(k K) (*near.Entry[V], bool) {
	e, ok := c.near.Get(k)
	if ok {
		if hit, due := c.count.NearHit(); due {
			c.sample(k, hit)
		}
	}
	return e, ok
}

// sample examines one of some hits: which key it is, and how long such a hit takes.
func (c *Cache[K, V]) sample(k K, hit meter.Hit) {
	if !hit.Chosen() {
		return
	}
	key, err := c.Key(k)
	if err != nil {
		key = ""
	}
	began := time.Now()
	c.near.Get(k)
	c.count.NearSampled(key, time.Since(began))
}

// give is a value for a caller, who may modify it if there is a Clone.
func (c *Cache[K, V]) give(v V) V {
	if c.near != nil && c.near.cfg.Clone != nil {
		return c.near.cfg.Clone(v)
	}
	return v
}

// missing is the error of a key whose absence is kept.
func (c *Cache[K, V]) missing(k K) error {
	key, _ := c.Key(k)
	return c.absent(key)
}

// described is the answer of what is kept for k; without ttl, all but its times.
func (c *Cache[K, V]) described(k K, e *near.Entry[V], ttl bool) (Entry[V], error) {
	out := Entry[V]{Source: Near, Age: -1}
	var err error
	if e.Absent {
		err = c.missing(k)
	} else {
		out.Value = c.give(e.Value)
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

// A seeker reads keys of a cache from the store, so that what it finds can be kept. The zero value of a cache without a tier
// keeps nothing.
type seeker struct {
	t       store.Tracking // nil: changes are not told
	sent    time.Duration
	longest time.Duration // that an entry is kept; zero: nothing is
}

// seek begins a read.
func (c *Cache[K, V]) seek() (s seeker) {
	if c.near == nil {
		return s
	}
	s.sent, s.longest = c.Shared.near.clock.Exact(), c.near.cfg.Untracked
	if t := c.Shared.near.track.Load(); t != nil {
		s.t, s.longest = t.Tracking, c.near.cfg.Max
	}
	return s
}

// reserve announces the read of a key; nil: nothing will be kept. Another one may be under way.
func (c *Cache[K, V]) reserve(s seeker, key string) (*near.Reservation, *near.Read) {
	if s.longest <= 0 {
		return nil, nil
	}
	return c.near.Reserve(key)
}

// share waits for another one's read of a key. What that keeps near may be given to those who came while it was under way: had
// they come a moment later they would have found it, or would have found that it was dropped. Not ok: they look for themselves,
// unless it is missing. If it is ok the reservation r has ended.
func (c *Cache[K, V]) share(ctx context.Context, read *near.Read, r *near.Reservation, k K, ttl bool, until time.Time) (e Entry[V], ok, missing bool, err error) {
	select {
	case <-read.Done:
	case <-c.steps().At(until).Done():
		return e, false, false, nil
	case <-ctx.Done():
		c.near.Leave(r, false)
		e, err = c.failed(ctx.Err())
		return e, true, false, err
	}
	if kept, had := c.kept(k); had {
		c.near.Leave(r, false) // before Clone, which may panic
		e, err = c.described(k, kept, ttl)
		return e, true, false, err
	}
	return e, false, read.Missing, nil
}

// retain ends a reservation: with a value that is fresh, or with nothing.
func (c *Cache[K, V]) retain(s seeker, r *near.Reservation, k K, e Entry[V], item store.Item) {
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
	v := c.give(e.Value)
	cloned = true
	n := near.Entry[V]{Value: v, Loaded: near.Unknown, Fresh: near.Unknown}
	if item.TTL > 0 {
		fresh := item.TTL - c.Config.Stale
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
	c.near.Fill(r, k, n, s.sent, life, size)
}

// retainAbsences keeps what claims were told does not exist. Claims are not tracked, so that it is read once more, behind the
// answer: the next one who asks is the first to gain.
func (c *Cache[K, V]) retainAbsences(js jobs[K, V], grants []store.Grant) {
	var gone jobs[K, V]
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

func (c *Cache[K, V]) retainAbsent(js jobs[K, V]) {
	s := c.seek()
	if s.t == nil {
		return
	}
	epoch := c.deferred.Epoch()
	reserved := make([]*near.Reservation, 0, len(js))
	asked, keys := js[:0], make([]string, 0, len(js))
	for _, j := range js {
		r, _ := c.reserve(s, j.key)
		if c.recovery.Bypasses(j.key) { // behind the reservation: see Cache.get
			c.near.Leave(r, false)
			continue
		}
		reserved, asked, keys = append(reserved, r), append(asked, j), append(keys, j.key)
	}
	for i, d := range s.t.Absences(c.step(), keys) {
		if d <= 0 || c.deferred.Overtaken(epoch) {
			c.near.Leave(reserved[i], false)
			continue
		}
		e := near.Entry[V]{Absent: true, Loaded: near.Unknown, Fresh: int64(s.sent + d)}
		c.near.Fill(reserved[i], asked[i].k, e, s.sent, min(d, s.longest), 0)
	}
}

// drop removes keys from the near tier, before they are changed.
func (c *Cache[K, V]) drop(keys ...string) {
	if c.near == nil || near.WithoutDrop.Load() {
		return
	}
	for _, key := range keys {
		c.near.Drop(key)
	}
}

// forget ends what this process shares of a key that was changed, or may have been.
func (c *Cache[K, V]) forget(key string) {
	c.flights.Forget(key)
	c.drop(key)
}
