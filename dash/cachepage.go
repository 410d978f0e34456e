package dash

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/human"
	"github.com/nearside/nearside/internal/store"
)

// cacheHead is the row of numbers of one cache.
type cacheHead struct {
	headline
	Name        string
	Kind        string
	Keys, Bytes estimate
	NearEntries int
	NearBytes   uint64
	Writable    bool
	Done        string // what was just invalidated
	Err         error
}

func (h *Handler) cache(r *http.Request) (*page, error) {
	cache := r.PathValue("cache")
	p := &page{Title: name(cache), Here: "cache", Live: true, Span: spanOf(r), Caches: h.names()}
	if !slices.Contains(p.Caches, cache) {
		return nil, missing(fmt.Sprintf("No cache is named %s.", name(cache)))
	}
	own := h.keyed()[cache]
	v, err := h.watch.look()
	if errors.Is(err, errNoFleet) {
		p.add("nofleet", "card", nil)
		if own != nil {
			h.addKeys(p, cache, own.Settings(), fleet.Cache{Name: cache}, base(r))
		}
		return p, nil
	}
	if v == nil {
		return nil, err
	}
	p.late(v, err)
	c := fleet.Cache{Name: cache}
	for _, one := range v.Caches {
		if one.Name == cache {
			c = one
		}
	}
	head := cacheHead{Name: cache, Writable: h.opts.AllowWrite && own != nil, NearEntries: c.NearEntries, NearBytes: c.NearBytes, Done: done(r), Err: c.Err}
	head.headline = headline{Now: &c.Now, Hour: &c.Hour, Day: &c.Day, P99: c.Now.Quantile(0.99), Base: base(r)}
	head.Keys, head.Bytes = h.size(cache)
	if own != nil {
		head.Kind = kinds[own.Settings().Kind]
	}
	members := having(v, &c)
	for _, m := range members {
		if m.Alive {
			head.Alive++
		}
	}
	p.add("cachehead", "", head)
	p.addChart(outcomeChart(points(&c, p.Span)))
	p.addChart(latencyChart(points(&c, p.Span)))
	p.addChart(causeChart(points(&c, p.Span)))
	if own != nil {
		h.addKeys(p, cache, own.Settings(), c, base(r))
	}
	p.add("hot", "card", struct {
		Cache, Base string
		Keys        []fleet.HotKey
		Secret      bool // no key of it may be looked at
	}{cache, base(r), c.Hot[:min(len(c.Hot), 20)], own == nil})
	p.add("counted", "card", counted(&c))
	p.add("having", "card", struct {
		Members []holder
		Drift   bool
	}{members, c.Drifts()})
	return p, nil
}

// done says what the invalidation did that has led here.
func done(r *http.Request) string {
	switch r.URL.Query().Get("done") {
	case "all":
		return "All keys of this cache were invalidated."
	case "key":
		return "It was invalidated: the next read loads it."
	}
	return ""
}

var kinds = map[store.Kind]string{"": "values", store.List: "lists", store.Set: "sets", store.SortedSet: "sorted sets", store.Hash: "hashes"}

// addKeys adds what is known by the samples.
func (h *Handler) addKeys(p *page, cache string, s engine.Settings, c fleet.Cache, base string) {
	taken, err := h.sample.wanted(h.ctx, h.settings())
	var one *sample
	if taken != nil {
		one, err = taken.caches[cache], nil // an old one is better than none
	}
	p.add("tune", "card", tuned(s, &c, one, err))
	p.add("lives", "card", livesOf(s, one, err))
	keys := struct {
		Cache, Base string
		Keys        []sampled
		At          time.Time
		Pending     bool
		Err         error
	}{Cache: cache, Base: base, Pending: one == nil, Err: err}
	if one != nil {
		keys.At = taken.at
		keys.Keys = slices.Clone(one.keys)
		slices.SortFunc(keys.Keys, func(a, b sampled) int { return cmp.Or(cmp.Compare(b.Bytes, a.Bytes), cmp.Compare(a.Key, b.Key)) })
		keys.Keys = keys.Keys[:min(len(keys.Keys), 10)]
	}
	p.add("largest", "card", keys)
}

// tuning is what loads cost beside the TTL that causes them.
type tuning struct {
	engine.Settings
	Keys    estimate
	Loads   float64 // per hour
	PerKey  float64 // loads per key and hour
	Expiry  float64 // how often a key that is always wanted is loaded in an hour because its TTL ends
	Changes float64 // invalidations per key and hour
	Reads   float64 // per load
	Load    time.Duration
	Advice  string
}

func tuned(s engine.Settings, c *fleet.Cache, one *sample, err error) tuning {
	t := tuning{Settings: s, Loads: c.Hour.Rate(c.Hour.Loads()) * 3600, Load: c.Hour.LoadLatency.Quantile(0.5)}
	if s.TTL > 0 {
		t.Expiry = 1 / s.TTL.Hours()
	}
	if n := c.Hour.Loads(); n > 0 {
		t.Reads = float64(c.Hour.Reads()) / float64(n)
	}
	switch {
	case err != nil:
		t.Keys.Why = err.Error()
	case one == nil:
		t.Keys.Pending = true
	default:
		t.Keys = one.estimate()
		if n := t.Keys.About.N; n > 0 {
			changed := c.Hour.Invalidated + c.Hour.Updated + c.Hour.Mutated
			t.PerKey, t.Changes = t.Loads/n, c.Hour.Rate(changed)*3600/n
			t.Advice = t.advice(c)
		}
	}
	return t
}

// advice says what another TTL would change. It is careful: an hour's numbers know little of what is read once a day.
func (t *tuning) advice(c *fleet.Cache) string {
	other := max(t.PerKey-t.Changes, 0) // loads that follow no write
	switch {
	case c.Hour.Span < 10*time.Minute:
		return "What another TTL would change shows after ten minutes of traffic."
	case c.Hour.Loads() == 0:
		return "Nothing was loaded in the last hour: the TTL costs nothing."
	case t.Changes >= t.PerKey/2:
		return "Keys are invalidated about as often as they are loaded: the loads follow writes, and a longer TTL would save little."
	case other > 2*t.Expiry:
		return "Keys are loaded more often than they expire or are invalidated: by first reads of new ones, by evictions, or since values could not be stored, which is counted below. Another TTL changes little."
	case other < t.Expiry/2:
		return "Keys are loaded less often than their TTL ends, so most of them are not read again in the next one: a longer TTL helps those that come back later, and costs memory."
	}
	saved := t.Loads / 3600 * min(other, t.Expiry) / t.PerKey / 2
	return fmt.Sprintf("Loads follow the TTL. Twice the TTL would save up to %s of them per second, and %s of the database's time in each.",
		human.Rate(saved), span(time.Duration(saved*float64(t.Load))))
}

// lives is the spread of what is left of keys' lives.
type lives struct {
	Bars    []bar
	Sampled int
	Endless int // keys without a TTL, which another program wrote
	TTL     time.Duration
	Stale   time.Duration
	Pending bool
	Err     error
}

type bar struct {
	Label       string
	N           int
	Part, Width float64 // Width: of 100
	Stale       bool    // past the TTL: only the stale window is left
}

const bars = 10

func livesOf(s engine.Settings, one *sample, err error) lives {
	l := lives{TTL: s.TTL, Stale: s.Stale, Pending: one == nil, Err: err}
	if one == nil {
		return l
	}
	whole := s.TTL + s.Stale
	for _, k := range one.keys { // a key may have a life of its own (Config.Expire), or another program's
		whole = max(whole, k.TTL)
	}
	l.Bars = make([]bar, bars)
	step := max(whole/bars, 1) // a life may be as long as a duration can
	for i := range l.Bars {
		from, to := step*time.Duration(i), step*time.Duration(i+1)
		l.Bars[i] = bar{Label: life(from) + " – " + life(to), Stale: to <= s.Stale}
		if i == 0 {
			l.Bars[i].Label = "below " + life(to)
		}
	}
	most := 1
	for _, k := range one.keys {
		if l.Sampled++; k.TTL == store.NoTTL {
			l.Endless++
			continue
		}
		i := min(int(k.TTL/step), bars-1)
		l.Bars[i].N++
		most = max(most, l.Bars[i].N)
	}
	for i := range l.Bars {
		l.Bars[i].Part = float64(l.Bars[i].N) / float64(max(l.Sampled, 1))
		l.Bars[i].Width = 100 * float64(l.Bars[i].N) / float64(most)
	}
	return l
}

// counter is a number that has no place elsewhere.
type counter struct {
	Name, Help string
	Hour, Day  uint64
	Bytes, Bad bool // it is a size; more than zero is no good sign
}

// counters are those that were above zero within a day, and those that were not.
type counters struct{ Rows, Never []counter }

func counted(c *fleet.Cache) (out counters) {
	for _, one := range []struct {
		name, help string
		of         func(*fleet.Counts) uint64
		bytes, bad bool
	}{
		{"loads", "calls of the loader that returned a value", func(c *fleet.Counts) uint64 { return c.LoadsOK }, false, false},
		{"loads: not found", "the database has no such row", func(c *fleet.Counts) uint64 { return c.LoadsAbsent }, false, false},
		{"loads: failed", "the loader returned an error", func(c *fleet.Counts) uint64 { return c.LoadsFailed }, false, true},
		{"loads: timed out", "the loader took longer than LoadTimeout", func(c *fleet.Counts) uint64 { return c.LoadsTimedOut }, false, true},
		{"refreshed early", "loads begun before a value was stale", func(c *fleet.Counts) uint64 { return c.Early }, false, false},
		{"shared in a process", "reads that took part in another one's load", func(c *fleet.Counts) uint64 { return c.Coalesced }, false, false},
		{"shared in the fleet", "loads that waited for another process' value", func(c *fleet.Counts) uint64 { return c.CoalescedFleet }, false, false},
		{"not stored", "values loaded and served, but invalidated meanwhile, or Redis was away", func(c *fleet.Counts) uint64 { return c.Unfilled }, false, false},
		{"too large", "values above MaxValue, which are served and not stored", func(c *fleet.Counts) uint64 { return c.TooLarge }, false, true},
		{"codec errors", "values that did not decode, or could not be encoded", func(c *fleet.Counts) uint64 { return c.CodecErrors }, false, true},
		{"store errors", "reads of Redis without an answer", func(c *fleet.Counts) uint64 { return c.StoreErrors }, false, true},
		{"deferred", "writes whose invalidation Redis did not take at once", func(c *fleet.Counts) uint64 { return c.WritesDeferred }, false, true},
		{"writes in doubt", "keys whose write failed without saying whether it was committed", func(c *fleet.Counts) uint64 { return c.WritesInDoubt }, false, true},
		{"bytes read", "of values, from Redis", func(c *fleet.Counts) uint64 { return c.BytesRead }, true, false},
		{"bytes written", "of values, to Redis", func(c *fleet.Counts) uint64 { return c.BytesWritten }, true, false},
	} {
		n := counter{one.name, one.help, one.of(&c.Hour.Counts), one.of(&c.Day.Counts), one.bytes, one.bad}
		if n.Day > 0 {
			out.Rows = append(out.Rows, n)
		} else {
			out.Never = append(out.Never, n)
		}
	}
	return out
}
