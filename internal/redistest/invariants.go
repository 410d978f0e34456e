package redistest

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// grace is how long a lease may outlast what a test did.
const grace = 2 * time.Second

// Invariants checks what must hold when nothing goes on any more: every key has a TTL and begins with one of the
// prefixes, and after a while no lease is left. Absences, holds and the intents of writers that died stand for their time.
func (s *Server) Invariants(t testing.TB, prefixes ...string) {
	t.Helper()
	until := time.Now().Add(grace)
	for _, key := range s.scan(t) {
		if ttl, _ := s.Do(t, "PTTL", key).AsInt64(); ttl == -1 {
			t.Errorf("the key %q has no TTL", key)
		}
		name, side := owner(key)
		if strings.HasPrefix(name, "nearside:") {
			continue // the layer's own
		}
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			t.Errorf("the key %q is none of ours", key)
		}
		for side {
			v, _ := s.Do(t, "GET", key).ToString()
			if !strings.HasPrefix(v, "t") {
				break
			}
			if time.Now().After(until) {
				t.Errorf("a lease is left: %q = %q", key, v)
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}

// scan returns every key.
func (s *Server) scan(t testing.TB) (keys []string) {
	t.Helper()
	for cursor := uint64(0); ; {
		e, err := s.Do(t, "SCAN", strconv.FormatUint(cursor, 10), "COUNT", "1000").AsScanEntry()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Elements...)
		if cursor = e.Cursor; cursor == 0 {
			slices.Sort(keys)
			return slices.Compact(keys) // SCAN may name a key twice
		}
	}
}

// owner returns the key whose sidecar this may be: k for {k}:~l, k{tag}:~l and ~l:{slot}:k.
func owner(key string) (name string, side bool) {
	if rest, ok := strings.CutPrefix(key, "~l:{"); ok {
		_, name, side = strings.Cut(rest, "}:")
		return name, side
	}
	name, side = strings.CutSuffix(key, ":~l")
	if side && strings.HasPrefix(name, "{") && strings.HasSuffix(name, "}") {
		name = name[1 : len(name)-1]
	}
	return name, side
}
