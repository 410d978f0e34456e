package redis_test

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/storetest"
	"github.com/nearside/nearside/internal/testhooks"
)

// Every script names in KEYS each key that one of its commands has: a cluster goes by KEYS alone. Each place in the scripts that
// calls a command is watched, and has to be reached: a new one needs a test among those that this one runs.
func TestScriptsNameTheirKeys(t *testing.T) {
	w := newWatch(t)
	testhooks.Altered.Store(&testhooks.Alteration{Rewrite: w.rewrite})
	defer testhooks.Altered.Store(nil)
	server := redistest.Shared(t)
	t.Run("conformance", func(t *testing.T) {
		storetest.Run(t, func(t testing.TB) store.Store {
			server.FlushAll(t)
			return open(t, server.URL())
		})
	})
	for name, test := range map[string]func(*testing.T){
		"scripts": TestScripts, "sidecar of another type": TestSidecarOfAnotherType, "key of another type": TestKeyOfAnotherType,
		"batch": TestBatchWithASidecarOfAnotherType, "collection": TestCollection, "marks": TestMarksLost,
		"load without marks": TestEndStopsALoadThatLostItsMarks, "intents": TestIntentsLost, "somebody's list": TestCollectionBesideSomebodysList,
		"garbage": TestGarbageInASidecar, "no end": TestBarrierWithoutAnEnd,
		"removed": TestRemovedIsBounded, "lives": TestLives, "versions": TestVersions, "around": TestAround, "session": TestSessionOfAnotherType,
	} {
		t.Run(name, test)
	}
	t.Run("put in a full server", func(t *testing.T) {
		server.Do(t, "CONFIG", "SET", "maxmemory", "1")
		defer server.Do(t, "CONFIG", "SET", "maxmemory", "0")
		if o := open(t, server.URL()).Put(t.Context(), []store.Put{{Key: "a", Value: []byte("v"), TTL: time.Minute}}, 0)[0]; o.Err == nil {
			t.Error("it was stored")
		}
	})
	t.Run("rights that are revoked", func(t *testing.T) {
		server.Do(t, "ACL", "SETUSER", "u", "reset", "on", ">p", "~*", "&*", "+@all")
		defer server.Do(t, "ACL", "DELUSER", "u")
		s := open(t, strings.Replace(server.URL(), "redis://", "redis://u:p@", 1))
		server.Do(t, "ACL", "SETUSER", "u", "-sadd")
		if g := s.Acquire(t.Context(), []store.Claim{{Key: "denied", Kind: store.Set, Token: "t1", Lease: time.Minute}})[0]; g.State == store.Granted {
			t.Error("a set was claimed without the right to add to one")
		}
		server.Do(t, "ACL", "SETUSER", "u", "+sadd", "-del")
		server.Do(t, "SET", "{held}:~l", "t1", "PX", "60000")
		s.Release(t.Context(), []store.Lease{{Key: "held", Token: "t1"}})
	})
	t.Run("a collection that ends before an intent", func(t *testing.T) {
		b := newBoard(t, open(t, server.URL()), server, store.Set)
		b.load(b.el("a", 1))
		server.Do(t, "PEXPIRE", b.key, "50")
		b.begin("w1", "b", store.Alone)
		eventually.True(t, "it has ended", func() bool { return b.exists(b.key) == 0 })
		b.acquire("t2")
	})
	reached, undeclared := w.read(server.Log(t))
	for _, what := range undeclared {
		t.Errorf("a key that is not in KEYS: %s", what)
	}
	for _, place := range w.places() {
		if !reached[place] {
			t.Errorf("%s: no test that this one runs reaches the command there", place)
		}
	}
}

// A script that touches what it does not name is found.
func TestUnnamedKeyIsFound(t *testing.T) {
	w := newWatch(t)
	for _, c := range []struct{ src, want string }{
		{"return redis.call('GET', KEYS[1])", ""},
		{"return redis.call('PING')", ""},
		{"return redis.call('GET', KEYS[1] .. ':~l')", "a:~l"},
		{"return redis.pcall('RENAME', KEYS[1], 'b')", "b"},
		{"return redis.call('MGET', KEYS[1], ARGV[1])", "c"},
	} {
		server := redistest.Start(t)
		server.Client(t).Do(t.Context(), server.Client(t).B().Eval().Script(w.rewrite(c.src)).Numkeys(1).Key("a").Arg("c").Build())
		_, undeclared := w.read(server.Log(t))
		if got := strings.TrimPrefix(strings.Join(undeclared, "; "), "script:1.1 "); got != c.want {
			t.Errorf("%s: found %q, want %q", c.src, got, c.want)
		}
	}
}

// watch has scripts write into the server's log which places in them have called a command, and which keys these commands had that
// are not in KEYS.
type watch struct {
	files map[string]string // the text of each .lua file, by its name
	mu    sync.Mutex        // protects the rest
	done  map[string]string // what rewrite has made, by what it was given
	since time.Time         // when the calls of rewrite were counted from 0
	calls map[string]int    // of each script
}

// A batch of thousands is watched in part: it would take longer than a connection may be silent.
const (
	watchedAtOnce = 500
	atOnce        = 100 * time.Millisecond
)

func newWatch(t *testing.T) *watch {
	w := &watch{files: make(map[string]string), done: make(map[string]string)}
	for _, pattern := range []string{"*.lua", "collection/*.lua", "history/*.lua"} {
		names, err := filepath.Glob(pattern)
		if err != nil || len(names) == 0 {
			t.Fatalf("%s: found %d files, %v", pattern, len(names), err)
		}
		for _, name := range names {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			w.files[name] = string(text)
		}
	}
	return w
}

// watched is in front of every script, in one line.
const watched = `local function watched(place, call, ...) ` +
	`redis.log(redis.LOG_NOTICE, 'reached=' .. place) ` +
	`local keys = select('#', ...) > 1 and redis.pcall('COMMAND', 'GETKEYS', ...) or {} ` + // a name alone has no key
	`if keys.err and not string.find(keys.err, 'no key arguments', 1, true) then redis.log(redis.LOG_NOTICE, 'undeclared=' .. place .. ' ' .. keys.err) end ` +
	`for _, key in ipairs(keys) do local known = false for _, k in ipairs(KEYS) do known = known or k == key end ` +
	`if not known then redis.log(redis.LOG_NOTICE, 'undeclared=' .. place .. ' ' .. key) end end ` +
	`return call(...) end `

var commandCall = regexp.MustCompile(`redis\.(p?call)\(`)

// rewrite has a script watched.
func (w *watch) rewrite(src string) string {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now := time.Now(); now.Sub(w.since) > atOnce {
		w.since, w.calls = now, make(map[string]int)
	}
	if w.calls[src]++; w.calls[src] > watchedAtOnce {
		return src
	}
	if out, ok := w.done[src]; ok {
		return out
	}
	out := src
	for name, text := range w.files {
		out = strings.Replace(out, text, number(name, text), 1)
	}
	out = watched + number("script", out)
	w.done[src] = out
	return out
}

// number gives each call of a command in a text its place.
func number(name, text string) string {
	lines := strings.SplitAfter(text, "\n")
	for i, line := range lines {
		n := 0
		lines[i] = commandCall.ReplaceAllStringFunc(line, func(call string) string {
			n++
			return fmt.Sprintf("watched('%s:%d.%d', %s, ", name, i+1, n, strings.TrimSuffix(call, "("))
		})
	}
	return strings.Join(lines, "")
}

// places are those of all calls of commands in the files.
func (w *watch) places() (all []string) {
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		for _, m := range regexp.MustCompile(`watched\('([^']+)'`).FindAllStringSubmatch(number(name, w.files[name]), -1) {
			all = append(all, m[1])
		}
	}
	return all
}

// read returns what watched scripts have written into a log: the places that were reached, and those with a key that is not in
// KEYS, each with the first one.
func (w *watch) read(log string) (reached map[string]bool, undeclared []string) {
	reached = make(map[string]bool)
	found := make(map[string]bool)
	for line := range strings.Lines(log) {
		if _, place, ok := strings.Cut(line, "reached="); ok {
			reached[strings.TrimSpace(place)] = true
		}
		if _, what, ok := strings.Cut(strings.TrimSpace(line), "undeclared="); ok {
			if place, _, _ := strings.Cut(what, " "); !found[place] {
				found[place] = true
				undeclared = append(undeclared, what)
			}
		}
	}
	return reached, undeclared
}
