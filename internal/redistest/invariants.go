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

// owner returns the key that this may stand beside, as its sidecar or as another of the layer's own: k for {k}:~l, k{tag}:~l
// and ~l:{slot}:k.
func owner(key string) (name string, side bool) {
	n := len(key)
	if n >= 4 && key[0] == '~' && strings.IndexByte(own, key[1]) >= 0 && key[2:4] == ":{" {
		_, name, found := strings.Cut(key[4:], "}:")
		return name, found && key[1] == 'l'
	}
	if n < 3 || key[n-3:n-1] != ":~" || strings.IndexByte(own, key[n-1]) < 0 {
		return key, false
	}
	name = key[:n-3]
	if strings.HasPrefix(name, "{") && strings.HasSuffix(name, "}") {
		name = name[1 : len(name)-1]
	}
	return name, key[n-1] == 'l'
}

// own are the letters of what stands beside a key.
const own = "ltrie"
