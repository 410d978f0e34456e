package fleet

import (
	"context"
	"time"
)

// Reader reads what all processes report. nearside.Client.Fleet returns one, which is safe for concurrent use and remembers the
// minutes that are over. A test may have another one.
type Reader interface {
	// Read returns the view of the fleet. It fails if Redis does not answer; an error of one cache alone is in Cache.Err.
	Read(ctx context.Context, q Query) (*View, error)
}

// Query selects what Read reads. The zero value is all caches, a day back.
type Query struct {
	Cache string        // the only cache to read; all if empty
	Back  time.Duration // how far back: up to a minute for Now alone, up to an hour for Hour too; if longer or zero, for Day too
	Hot   time.Duration // how far back the hot keys go, at most ten minutes; those of Now if zero
}

// View is the whole fleet, as far as its processes have reported.
type View struct {
	At     time.Time `json:"at"`             // when it was read
	Since  time.Time `json:"since,omitzero"` // when the first process began to report; zero if none has reported
	Names  []string  `json:"names"`          // of all caches, sorted
	Caches []Cache   `json:"caches"`         // those that Query selects, by name

	// The sums of Caches.
	Now  Window `json:"now"`
	Hour Window `json:"hour,omitzero"`
	Day  Window `json:"day,omitzero"`

	Members []Member `json:"members"` // processes that reported within an hour, by host and process id
}

// Cache is what all processes counted of one cache.
type Cache struct {
	Name string `json:"name"`

	Now  Window `json:"now"`           // the current minute and the one before
	Hour Window `json:"hour,omitzero"` // the last 60 minutes; zero unless Query.Back reaches beyond a minute
	Day  Window `json:"day,omitzero"`  // the last 24 hours; zero unless Query.Back reaches beyond an hour

	Minutes []Point  `json:"minutes,omitempty"` // Hour in steps of a minute, from the oldest
	Tens    []Point  `json:"tens,omitempty"`    // Day in steps of ten minutes, from the oldest
	Hot     []HotKey `json:"hot,omitempty"`     // the keys that were read most in the time that Query.Hot selects, the hottest first

	NearEntries int    `json:"near_entries"` // entries of the in-process caches of all processes that are alive
	NearBytes   uint64 `json:"near_bytes"`   // about how many bytes they take

	// Configs has the ids of the processes that are alive, by the hash of the settings that they run the cache with.
	Configs map[string][]string `json:"configs,omitempty"`

	// Err says why the numbers of this cache could not be read. They are zero then.
	Err error `json:"-"`
}

// Drifts reports whether processes run the cache with different settings.
func (c *Cache) Drifts() bool { return len(c.Configs) > 1 }

// HotKey is a key that is read often.
type HotKey struct {
	Key       string
	Reads     uint64 // about how often it was read
	PerSecond float64
	Share     float64 // of the reads of its cache, from 0 to 1; zero if those are not known
}
