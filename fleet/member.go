package fleet

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/nearside/nearside/internal/build"
)

// Member is a process, in its own words.
type Member struct {
	ID       string                 `json:"id"`
	Host     string                 `json:"host"`
	PID      int                    `json:"pid"`
	Version  string                 `json:"version"` // of the program
	Started  time.Time              `json:"started"`
	Seen     time.Time              `json:"seen"`              // when it last reported
	Ended    bool                   `json:"ended,omitempty"`   // that was its last report
	Breaker  string                 `json:"breaker,omitempty"` // "closed", or why Redis is not asked
	Problems []string               `json:"problems,omitempty"`
	Caches   map[string]MemberCache `json:"caches"`
}

// MemberCache is a cache in a process.
type MemberCache struct {
	Config      string `json:"config,omitempty"` // a hash of its settings
	NearEntries int    `json:"near_entries,omitempty"`
	NearBytes   uint64 `json:"near_bytes,omitempty"`
}

// Alive reports whether the process reported within 30 s before now, and has not ended.
func (m *Member) Alive(now time.Time) bool { return !m.Ended && now.Sub(m.Seen) <= alive }

const alive = 30 * time.Second

const (
	maxRecord   = 256 << 10 // bytes of a member's record
	maxProblems = 20
	maxText     = 500 // bytes of one
)

// self is this process.
func self() Member {
	host, _ := os.Hostname()
	var id [8]byte
	rand.Read(id[:])
	return Member{ID: hex.EncodeToString(id[:]), Host: host, PID: os.Getpid(), Version: build.Version(), Started: time.Now()}
}

// record writes a member as its key holds it.
func (m *Member) record() string {
	m.bound()
	text, err := json.Marshal(m)
	if err != nil || len(text) > maxRecord { // of very many caches: the process is worth more than what it says of them
		short := *m
		short.Caches = nil
		text, _ = json.Marshal(short)
	}
	return string(text)
}

// readMember reads a record. False: it is none.
func readMember(id, record string) (m Member, ok bool) {
	if len(record) > maxRecord || json.Unmarshal([]byte(record), &m) != nil || m.ID != id {
		return m, false
	}
	m.bound()
	return m, true
}

// bound cuts what is longer than anybody needs.
func (m *Member) bound() {
	m.Host, m.Version, m.Breaker = cut(m.Host), cut(m.Version), cut(m.Breaker)
	m.Problems = slices.Clone(m.Problems[:min(len(m.Problems), maxProblems)])
	for i, p := range m.Problems {
		m.Problems[i] = cut(p)
	}
}

func cut(s string) string { return s[:min(len(s), maxText)] }
