package fleet

import (
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/tally"
)

// View is the whole fleet, as far as it has reported. Names and keys are as they are: who shows them escapes them.
type View struct {
	At     time.Time `json:"at"`
	Since  time.Time `json:"since,omitzero"` // when somebody began to report; zero: nobody has
	Names  []string  `json:"names"`          // of all caches
	Caches []Cache   `json:"caches"`         // those that were asked for, by name

	// Of Caches together.
	Now  Window `json:"now"`
	Hour Window `json:"hour,omitzero"`
	Day  Window `json:"day,omitzero"`

	Members []Member `json:"members"` // by host and process; those that were last seen within an hour
}

// Cache is what all processes counted of a cache.
type Cache struct {
	Name string `json:"name"`

	// Hour and Day, with their Points, if Query.Back asks for them.
	Now  Window `json:"now"`
	Hour Window `json:"hour,omitzero"`
	Day  Window `json:"day,omitzero"`

	Minutes []Point  `json:"minutes,omitempty"` // of the last hour
	Tens    []Point  `json:"tens,omitempty"`    // of the last day, ten minutes each
	Hot     []HotKey `json:"hot,omitempty"`     // the hottest first, of as long as Query.Hot asks for

	NearEntries int    `json:"near_entries"` // in all processes that are alive
	NearBytes   uint64 `json:"near_bytes"`

	// Configs are the hashes of the settings that the processes alive have for this cache, each with their ids. More than
	// one is a drift: some run with other settings.
	Configs map[string][]string `json:"configs,omitempty"`

	Err error `json:"-"` // its numbers could not be read: they are zero
}

// Drifts reports whether processes have different settings.
func (c *Cache) Drifts() bool { return len(c.Configs) > 1 }

// Window is what was counted in a time: Now is the minute under way and the one before, Hour and Day are what they say.
type Window struct {
	tally.Tally
	Span time.Duration // how long it is: shorter where nobody reported before
}

// Rate is a number per second.
func (w *Window) Rate(n uint64) float64 {
	if w.Span <= 0 {
		return 0
	}
	return float64(n) / w.Span.Seconds()
}

// Loads is how many calls of the loader ended.
func (w *Window) Loads() uint64 {
	return w.Counts[tally.LoadOK] + w.Counts[tally.LoadNotFound] + w.Counts[tally.LoadError] + w.Counts[tally.LoadTimeout]
}

// SavedPerSecond is how many seconds of the database's time are saved in one second.
func (w *Window) SavedPerSecond() float64 { return w.Rate(w.Counts[tally.SavedMicros]) / 1e6 }

// Invalidations is how many keys were invalidated, by whatever cause.
func (w *Window) Invalidations() (n uint64) {
	for c := tally.ByInvalidate; c <= tally.ByLost; c++ {
		n += w.Counts[c]
	}
	return n
}

// Quantile estimates below which duration a share q of reads was answered: those from near as they were sampled, those from the
// store as its reads took, and those that needed the loader as its calls took. Zero: nothing was measured.
func (w *Window) Quantile(q float64) time.Duration {
	var reads [tally.Tiers]uint64
	reads[tally.NearTier] = w.Counts[tally.Near]
	reads[tally.LoadTier] = w.Counts[tally.Load] + w.Counts[tally.Error]
	reads[tally.StoreTier] = w.Reads() - reads[tally.NearTier] - reads[tally.LoadTier]
	var weights [tally.Buckets]float64
	all := 0.0
	for tier := range w.Latency {
		n := w.Latency[tier].N()
		if n == 0 || reads[tier] == 0 {
			continue
		}
		each := float64(reads[tier]) / float64(n) // reads that one measurement stands for
		for i, b := range w.Latency[tier] {
			weights[i] += each * float64(b)
		}
		all += float64(reads[tier])
	}
	rank, last := q*all, time.Duration(0)
	for i, weight := range weights {
		if weight == 0 {
			continue
		}
		last = tally.Middle(i)
		if rank -= weight; rank <= 0 {
			break
		}
	}
	return last
}

// Share is the share of reads that were answered in a way, from Near to Error.
func (w *Window) Share(c tally.Count) float64 {
	all := w.Reads()
	if all == 0 {
		return 0
	}
	return float64(w.Counts[c]) / float64(all)
}

// Point is one step of a chart.
type Point struct {
	Start    time.Time
	Span     time.Duration // that has passed of it
	Counts   [tally.Counts]uint64
	P50, P99 [tally.Tiers]time.Duration // zero: nothing was measured
}

// HotKey is a key that is read much.
type HotKey struct {
	Key       string
	Reads     uint64 // about
	PerSecond float64
	Share     float64 // in the reads of its cache, from 0 to 1; zero if those are not known
}

// finish adds what the members say, and the sums.
func (v *View) finish() {
	slices.SortFunc(v.Members, func(a, b Member) int {
		if c := strings.Compare(a.Host, b.Host); c != 0 {
			return c
		}
		if a.PID != b.PID {
			return a.PID - b.PID
		}
		return strings.Compare(a.ID, b.ID)
	})
	for i := range v.Caches {
		c := &v.Caches[i]
		for j := range v.Members {
			m := &v.Members[j]
			own, ok := m.Caches[c.Name]
			if !ok || !m.Alive(v.At) {
				continue
			}
			c.NearEntries += own.NearEntries
			c.NearBytes += own.NearBytes
			if own.Config != "" {
				if c.Configs == nil {
					c.Configs = make(map[string][]string)
				}
				c.Configs[own.Config] = append(c.Configs[own.Config], m.ID)
			}
		}
		for _, w := range [...]struct{ sum, part *Window }{{&v.Now, &c.Now}, {&v.Hour, &c.Hour}, {&v.Day, &c.Day}} {
			w.sum.Add(&w.part.Tally)
			w.sum.Span = max(w.sum.Span, w.part.Span)
		}
	}
}
