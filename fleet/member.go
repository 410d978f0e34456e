package fleet

import "time"

// Member is a process of the fleet, as it reported itself.
type Member struct {
	ID       string                 `json:"id"` // random, of this run of the process
	Host     string                 `json:"host"`
	PID      int                    `json:"pid"`
	Version  string                 `json:"version"` // of the program
	Started  time.Time              `json:"started"`
	Seen     time.Time              `json:"seen"`               // when it last reported
	Ended    bool                   `json:"ended,omitempty"`    // it said that this was its last report
	Breaker  string                 `json:"breaker,omitempty"`  // "closed" if it asks Redis, or why it does not
	Problems []string               `json:"problems,omitempty"` // what it found to be wrong with its store
	Caches   map[string]MemberCache `json:"caches"`             // by name
}

// MemberCache is a cache of one process.
type MemberCache struct {
	Config      string `json:"config,omitempty"`       // a hash of its settings
	NearEntries int    `json:"near_entries,omitempty"` // entries of its in-process cache
	NearBytes   uint64 `json:"near_bytes,omitempty"`   // about how many bytes they take
}

// aliveFor is how long after its last report a process counts as alive. It reports every 10 s.
const aliveFor = 30 * time.Second

// Alive reports whether the process reported within 30 s before now, and has not ended.
func (m *Member) Alive(now time.Time) bool { return !m.Ended && now.Sub(m.Seen) <= aliveFor }
