package fleetstats

import (
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"os"
	"slices"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/build"
)

const (
	maxRecord   = 256 << 10 // bytes of a member's record
	maxProblems = 20
	maxText     = 500 // bytes of one
)

// self describes this process.
func self() fleet.Member {
	host, _ := os.Hostname()
	var id [8]byte
	rand.Read(id[:])
	return fleet.Member{ID: hex.EncodeToString(id[:]), Host: host, PID: os.Getpid(), Version: build.Version(), Started: time.Now()}
}

// record returns a member as the text of its key.
func record(m *fleet.Member) string {
	bound(m)
	text, err := json.Marshal(m)
	if err != nil || len(text) > maxRecord { // of very many caches: the process matters more than they do
		short := *m
		short.Caches = nil
		text, _ = json.Marshal(short)
	}
	return string(text)
}

// readMember reads a record. ok is false if it is not one of this member.
func readMember(id, record string) (m fleet.Member, ok bool) {
	if len(record) > maxRecord || json.Unmarshal([]byte(record), &m) != nil || m.ID != id {
		return m, false
	}
	bound(&m)
	return m, true
}

// bound cuts texts and lists that are too long to be shown.
func bound(m *fleet.Member) {
	m.Host, m.Version, m.Breaker = cut(m.Host), cut(m.Version), cut(m.Breaker)
	m.Problems = slices.Clone(m.Problems[:min(len(m.Problems), maxProblems)])
	for i, p := range m.Problems {
		m.Problems[i] = cut(p)
	}
}

func cut(s string) string { return s[:min(len(s), maxText)] }
