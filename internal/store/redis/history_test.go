package redis_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
	"github.com/nearside/nearside/internal/store/redis/history"
)

// keeper remembers what it was told.
type keeper struct {
	mu              sync.Mutex
	barred, emptied map[string]bool
	bars            int
}

func newKeeper(s *redis.Store) *keeper {
	k := &keeper{barred: make(map[string]bool), emptied: make(map[string]bool)}
	s.Keep(k)
	return k
}

func (k *keeper) set(in map[string]bool, globs []string, to bool) {
	for _, g := range globs {
		in[g] = to
	}
}

func (k *keeper) Bar(globs []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set(k.barred, globs, true)
	k.bars++
}

func (k *keeper) Free(globs []string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set(k.barred, globs, false)
}

func (k *keeper) Empty(globs []string, _ uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set(k.emptied, globs, true)
}

func (k *keeper) Spare(globs []string, _ uint64) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.set(k.emptied, globs, false)
}

// state returns whether a cache is barred, whether it must be emptied, and how often something was barred.
func (k *keeper) state(glob string) (barred, emptied bool, bars int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.barred[glob], k.emptied[glob], k.bars
}

// Nothing is read from a new data set before the caches are barred: by the client of reads, and by that of tracked ones.
func TestBarredBeforeItIsRead(t *testing.T) {
	defer func(d time.Duration) { history.LossMended = d }(history.LossMended)
	history.LossMended = -1
	for _, name := range []string{"plain", "tracked"} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			s := open(t, server.URL())
			k := newKeeper(s)
			s.Register("user:*")
			read := s.Get
			if name == "tracked" {
				tracked, err := s.Track(t.Context(), func(string) {}, func() {})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(tracked.Close)
				read = tracked.Get
			}
			server.Do(t, "SET", "user:1", "old", "PX", "600000")
			read(t.Context(), "user:1", false)
			server.Do(t, "SAVE")
			eventually.True(t, "the cache is read", func() bool { barred, _, _ := k.state("user:*"); return !barred })
			_, _, bars := k.state("user:*")
			server.Restart(t)
			eventually.True(t, "an answer", func() bool {
				ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
				defer cancel()
				return read(ctx, "user:1", false).Found
			})
			if _, emptied, now := k.state("user:*"); now == bars && !emptied {
				t.Error("the new data set was read before the cache was barred")
			}
			eventually.True(t, "the cache is read again", func() bool { barred, _, _ := k.state("user:*"); return !barred })
		})
	}
}

// Who may not touch H has no history, and caches that are read all the same.
func TestHistoryIsDenied(t *testing.T) {
	for name, rights := range map[string][]string{"the key": {"resetkeys", "~user:*", "~{user:*}:~?"}, "info": {"-info"}} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, slices.Concat([]string{"--appendonly", "yes", "--user", "app", "on", ">s3cret"}, redistest.Rights, rights)...)
			s, log := logged(t, "redis://app:s3cret@"+server.Addr)
			k := newKeeper(s)
			s.Register("user:*")
			if barred, emptied, _ := k.state("user:*"); barred || emptied {
				t.Error("the cache is not read")
			}
			if n := len(s.Problems()); n != 1 || log.count("old snapshot")+log.count("older than it was") != 1 {
				t.Errorf("%q\n%s", s.Problems(), log)
			}
			server.Restart(t)
			eventually.True(t, "the server answers", func() bool { return s.Get(t.Context(), "user:1", false).Err == nil })
			eventually.True(t, "the cache is read again", func() bool { barred, _, _ := k.state("user:*"); return !barred })
		})
	}
}

// H is one key for each master, which no key of a user can be, and expires.
func TestMarkers(t *testing.T) {
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			s := open(t, server.URL())
			eventually.True(t, "a marker in each master", func() bool {
				n := 0
				for _, master := range s.Masters() {
					keys, _ := nodeAt(t, server, master).Do(t, "KEYS", "nearside:*:~h").AsStrSlice()
					for _, key := range keys {
						if ttl, _ := nodeAt(t, server, master).Do(t, "PTTL", key).AsInt64(); ttl <= 0 || store.CheckKey(key) == nil {
							t.Errorf("%s lives %d ms", key, ttl)
						}
					}
					n += min(len(keys), 1)
				}
				return n == len(s.Masters())
			})
		})
	}
}

func nodeAt(t *testing.T, b redistest.Backend, address string) *redistest.Server {
	t.Helper()
	if c, ok := b.(*redistest.Cluster); ok {
		return c.Nodes[slices.IndexFunc(c.Nodes, func(s *redistest.Server) bool { return s.Addr == address })]
	}
	return b.Node(t, "")
}

// What a server writes to disk is named with the commands that turn it off.
func TestPersists(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	if off := s.Persists(t.Context()); off != nil {
		t.Errorf("got %q of a server that writes nothing", off)
	}
	server.Do(t, "CONFIG", "SET", "save", "3600 1")
	server.Do(t, "CONFIG", "SET", "appendonly", "yes")
	want := `CONFIG SET appendonly no; CONFIG SET save ""`
	if off := s.Persists(t.Context()); strings.Join(off, "; ") != want {
		t.Errorf("got %q, want %s", off, want)
	}
}

// A data set of the same server process whose H is less than what was seen is an old one.
func TestMarkerGoesBack(t *testing.T) {
	defer func(d time.Duration) { history.LossMended = d }(history.LossMended)
	history.LossMended = -1
	server := redistest.Start(t)
	s := open(t, server.URL())
	k := newKeeper(s)
	s.Register("user:*")
	keys, err := server.Do(t, "KEYS", "nearside:*:~h").AsStrSlice()
	if err != nil || len(keys) != 1 {
		t.Fatalf("got %q, %v, want one marker", keys, err)
	}
	before, _ := server.Do(t, "GET", keys[0]).ToString()
	eventually.True(t, "the marker counts", func() bool {
		now, _ := server.Do(t, "GET", keys[0]).ToString()
		return strings.Fields(now)[0] > strings.Fields(before)[0]
	})
	s.LookSoon()
	eventually.True(t, "the old data set is noticed", func() bool { // a look may be between: it is put back until one has seen it
		server.Do(t, "SET", keys[0], before, "PX", "600000")
		_, emptied, _ := k.state("user:*")
		return emptied
	})
}
