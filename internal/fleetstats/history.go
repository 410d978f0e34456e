package fleetstats

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/tally"
)

const (
	aNow          = 2       // minutes of Now: the current one and the one before
	anHour        = 60      // minutes of Hour, which are kept one by one
	aDay          = 24 * 60 // minutes of Day, which are kept in steps of ten
	step          = 10
	maxHotMinutes = 10 + 1 // minutes of which the hot keys are kept
)

// history is what was counted of one cache: each minute of the last hour, and each ten minutes of the last day.
type history struct {
	minutes, tens map[int64]*tally.Tally // by Unix time / 60, and / 600; nil if nothing was counted
	hot           map[int64]map[string]uint64

	// The minutes from to until-1 were read and no longer change.
	from, until int64
}

func newHistory() *history {
	return &history{minutes: make(map[int64]*tally.Tally), tens: make(map[int64]*tally.Tally), hot: make(map[int64]map[string]uint64)}
}

// add adds to a minute.
func (h *history) add(minute int64, t *tally.Tally) {
	addTo(h.minutes, minute, t)
	addTo(h.tens, minute/step, t)
}

func addTo(m map[int64]*tally.Tally, i int64, t *tally.Tally) {
	if m[i] == nil {
		m[i] = new(tally.Tally)
	}
	m[i].Add(t)
}

// put sets a minute. A minute of the last hour may be set again.
func (h *history) put(minute, now int64, t *tally.Tally) {
	if old := h.minutes[minute]; old != nil {
		h.tens[minute/step].Sub(old)
		delete(h.minutes, minute)
	}
	switch {
	case *t == (tally.Tally{}):
	case minute > now-anHour:
		h.add(minute, t)
	default:
		addTo(h.tens, minute/step, t)
	}
}

// addHot adds reads of hot keys to a minute.
func (h *history) addHot(minute int64, key string, reads uint64) {
	if h.hot[minute] == nil {
		h.hot[minute] = make(map[string]uint64)
	}
	if m := h.hot[minute]; m[key] != 0 || len(m) < maxHot {
		m[key] += reads
	}
}

// trim removes what is too old.
func (h *history) trim(now int64) {
	maps.DeleteFunc(h.minutes, func(m int64, _ *tally.Tally) bool { return m <= now-anHour })
	maps.DeleteFunc(h.tens, func(t int64, _ *tally.Tally) bool { return t <= (now-aDay)/step })
	maps.DeleteFunc(h.hot, func(m int64, _ map[string]uint64) bool { return m <= now-maxHotMinutes })
}

// cache returns the part of the history that q selects, at a time. since is when the first process began to report.
func (h *history) cache(name string, q fleet.Query, at, since time.Time) fleet.Cache {
	now := minuteOf(at)
	c := fleet.Cache{Name: name, Now: window(h.minutes, firstOf(aNow, now), now, time.Minute, at, since)}
	if first := firstOf(anHour, now); h.from <= first {
		c.Hour = window(h.minutes, first, now, time.Minute, at, since)
		c.Minutes = points(h.minutes, first, now, time.Minute, at, since)
	}
	if first := firstOf(aDay, now); h.from <= first {
		c.Day = window(h.tens, first/step, now/step, step*time.Minute, at, since)
		c.Tens = points(h.tens, first/step, now/step, step*time.Minute, at, since)
	}
	reads := make(map[string]uint64)
	first := firstOf(hotMinutes(q), now)
	for m := first; m <= now; m++ {
		for key, n := range h.hot[m] {
			reads[key] += n
		}
	}
	all := window(h.minutes, first, now, time.Minute, at, since)
	for key, n := range reads {
		k := fleet.HotKey{Key: key, Reads: n, PerSecond: all.Rate(n)}
		if all.Reads() > 0 {
			k.Share = min(float64(n)/float64(all.Reads()), 1)
		}
		c.Hot = append(c.Hot, k)
	}
	slices.SortFunc(c.Hot, func(a, b fleet.HotKey) int {
		return cmp.Or(cmp.Compare(b.Reads, a.Reads), strings.Compare(a.Key, b.Key))
	})
	c.Hot = c.Hot[:min(len(c.Hot), shownHot)]
	return c
}

// firstOf returns the first of the last minutes. A day begins with a whole step.
func firstOf(minutes, now int64) int64 {
	if minutes == aDay {
		return (now/step - aDay/step + 1) * step
	}
	return now - minutes + 1
}

func minuteOf(t time.Time) int64 { return t.Unix() / 60 }

// span returns how much of the steps first to last has passed since the first report.
func span(first, last int64, each time.Duration, at, since time.Time) time.Duration {
	began := start(first, each)
	if began.Before(since) {
		began = since
	}
	ended := start(last+1, each)
	if ended.After(at) {
		ended = at
	}
	return ended.Sub(began)
}

func start(i int64, each time.Duration) time.Time { return time.Unix(i*int64(each/time.Second), 0) }

// window sums the steps first to last.
func window(m map[int64]*tally.Tally, first, last int64, each time.Duration, at, since time.Time) (w fleet.Window) {
	var sum tally.Tally
	for i := first; i <= last; i++ {
		if m[i] != nil {
			sum.Add(m[i])
		}
	}
	setWindow(&w, &sum)
	w.Span = max(span(first, last, each, at, since), time.Second)
	return w
}

// points returns the steps first to last, without those before the first report.
func points(m map[int64]*tally.Tally, first, last int64, each time.Duration, at, since time.Time) (ps []fleet.Point) {
	none := new(tally.Tally)
	for i := first; i <= last; i++ {
		d := span(i, i, each, at, since)
		if d <= 0 && m[i] == nil {
			continue
		}
		t := cmp.Or(m[i], none)
		ps = append(ps, fleet.Point{
			Start: start(i, each), Span: max(d, time.Second), Counts: counts(t),
			NearLatency: quantiles(t, tally.NearTier), StoreLatency: quantiles(t, tally.StoreTier), LoadLatency: quantiles(t, tally.LoadTier),
		})
	}
	return ps
}
