package redis

import (
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"
)

// kept is a keeper that remembers what it was told.
type kept struct{ barred, emptied map[string]bool }

func newKept() *kept { return &kept{make(map[string]bool), make(map[string]bool)} }

func (k *kept) Bar(globs []string) {
	for _, g := range globs {
		k.barred[g] = true
	}
}

func (k *kept) Free(globs []string) {
	for _, g := range globs {
		delete(k.barred, g)
	}
}

func (k *kept) Empty(globs []string, _ uint64) {
	for _, g := range globs {
		k.emptied[g] = true
	}
}

func (k *kept) Spare(globs []string, _ uint64) {
	for _, g := range globs {
		delete(k.emptied, g)
	}
}

// judged is a store of one cache that has judged a first look.
func judged(r reading, now []span) (*Store, *kept) {
	k := newKept()
	s := &Store{logger: slog.New(slog.DiscardHandler), poke: make(chan struct{}, 1)}
	s.Keep(k)
	s.judge(noon, now, map[uint16]reading{0: r})
	s.Register("user:*")
	return s, k
}

var (
	noon   = time.Now()
	master = span{0, slots - 1, node{"a:1", "run1 master"}}
	first  = reading{id: "run1", line: "L1", previous: "-", at: 1000, caches: map[string]bool{nameOf("user:*"): false}}
)

func TestJudge(t *testing.T) {
	const hash = "user:*"
	second := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	for _, c := range []struct {
		name            string
		looks           int // at which H moved by 1000
		then            reading
		at              time.Time
		barred, emptied bool
	}{
		{"nothing happened", 20, reading{id: "run1", line: "L1", previous: "-", at: 22000}, second(21), false, false},
		{"promoted, up to date", 20, reading{id: "run2", line: "L2", previous: "L1", ended: 21000, at: 22000}, second(21), false, false},
		{"promoted, 5 s behind", 20, reading{id: "run2", line: "L2", previous: "L1", ended: 16000, at: 22000}, second(21), false, false},
		{"promoted, 12 s behind", 20, reading{id: "run2", line: "L2", previous: "L1", ended: 9000, at: 22000}, second(21), false, true},
		{"older than all that is remembered", 20, reading{id: "run2", line: "L2", previous: "L1", ended: 10, at: 22000}, second(21), false, true},
		{"in place", 20, reading{id: "run1", line: "L2", previous: "L1", ended: 9000, at: 22000}, second(21), false, true},
		{"no look for long", 20, reading{id: "run2", line: "L2", previous: "L1", ended: 21000, at: 22000}, second(200), false, true},
		{"two failovers between looks", 20, reading{id: "run3", line: "L3", previous: "L2", ended: 21000, at: 22000}, second(21), true, false},
		{"the same, and another process vouches", 20, reading{id: "run3", line: "L3", previous: "L2", ended: 21000, at: 22000, caches: map[string]bool{nameOf(hash): false}}, second(21), false, false},
		{"started empty", 20, reading{id: "run2", line: "L2", previous: "-", bare: true, at: 22000}, second(21), false, false},
		{"started without H, with data", 20, reading{id: "run2", line: "L2", previous: "-", at: 22000}, second(21), true, false},
		{"started without keys, with an append-only file", 20, reading{id: "run2", line: "L2", previous: "-", at: 22000, caches: map[string]bool{"*": false}}, second(21), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := []span{master}
			s, k := judged(first, now)
			if len(k.barred) > 0 {
				t.Fatal("it is barred at first")
			}
			for n := range c.looks {
				r := first
				r.at += int64(n+1) * 1000
				s.judge(second(n+1), now, map[uint16]reading{0: r})
			}
			s.judge(c.at, now, map[uint16]reading{0: c.then})
			if k.barred[hash] != c.barred || k.emptied[hash] != c.emptied {
				t.Errorf("barred %v, emptied %v", k.barred[hash], k.emptied[hash])
			}
		})
	}
}

// A master that crashes again before the first look at its new line.
func TestJudgeTwoFailovers(t *testing.T) {
	now := []span{master}
	s, k := judged(first, now)
	r := first
	r.at = 2000
	s.judge(noon.Add(time.Second), now, map[uint16]reading{0: r})
	s.judge(noon.Add(2*time.Second), now, map[uint16]reading{0: {id: "run2", line: "L2", previous: "L1", ended: 2000, at: 3000}})
	s.judge(noon.Add(3*time.Second), now, map[uint16]reading{0: {id: "run3", line: "L3", previous: "L2", ended: 3000, at: 4000}})
	if len(k.emptied) > 0 || len(k.barred) > 0 {
		t.Errorf("got %+v", k)
	}
}

// A server that takes no writes has no H that moves: it is judged once, and not at each look.
func TestJudgeWithoutWrites(t *testing.T) {
	now := []span{master}
	s, k := judged(first, now)
	r := first
	r.at = 2000
	s.judge(noon.Add(time.Second), now, map[uint16]reading{0: r})
	refused := reading{id: "run2", line: "T1", had: "L1", previous: "L1", ended: 100, at: 100, refusal: "OOM"}
	s.judge(noon.Add(2*time.Second), now, map[uint16]reading{0: refused})
	if !k.emptied["user:*"] {
		t.Fatal("it is not emptied")
	}
	s.Emptied("user:*", s.history.number)
	clear(k.emptied)
	refused.line = "T2"
	s.judge(noon.Add(3*time.Second), now, map[uint16]reading{0: refused})
	refused.line, refused.refusal, refused.at = "T3", "", 5000
	s.judge(noon.Add(4*time.Second), now, map[uint16]reading{0: refused})
	if len(k.emptied)+len(k.barred) > 0 {
		t.Errorf("got %+v", k)
	}
}

// Slots that move take nothing back in time, wherever their H is.
func TestJudgeMovedSlots(t *testing.T) {
	a, b := node{"a:1", "run1 master"}, node{"b:1", "run2 master"}
	s, k := judged(first, []span{{0, slots - 1, a}})
	moved := reading{id: "run2", line: "L9", previous: "-", at: 5000}
	s.judge(noon.Add(time.Second), []span{{0, 99, a}, {100, slots - 1, b}}, map[uint16]reading{0: first, 100: moved})
	if len(k.emptied)+len(k.barred) > 0 {
		t.Errorf("the old master is there: %+v", k)
	}
	c := node{"c:1", "run3 master"}
	s.judge(noon.Add(2*time.Second), []span{{0, 199, a}, {200, slots - 1, c}}, map[uint16]reading{0: first, 200: moved})
	if !k.barred["user:*"] {
		t.Error("b has gone, and c has its slots")
	}
}

// What is too much to be remembered is not repeated.
func TestJudgeForgotten(t *testing.T) {
	now := []span{master}
	s, k := judged(first, now)
	for n := range 5 {
		r := first
		r.at += int64(n+1) * 1000
		s.judge(noon.Add(time.Duration(n+1)*time.Second), now, map[uint16]reading{0: r})
	}
	s.recent.lost = noon.Add(4 * time.Second)
	s.judge(noon.Add(6*time.Second), now, map[uint16]reading{0: {id: "run2", line: "L2", previous: "L1", ended: 4000, at: 9000}})
	if !k.emptied["user:*"] {
		t.Error("it is not emptied")
	}
}

func TestQuiet(t *testing.T) {
	command := func(words ...string) (out string) {
		out = "*" + string(rune('0'+len(words))) + "\r\n"
		for _, w := range words {
			out += "$" + string(rune('0'+len(w))) + "\r\n" + w + "\r\n"
		}
		return out
	}
	for text, want := range map[string]bool{
		command("PING"): true,
		command("INFO", "server") + command("CLUSTER"): true,
		command("ping") + command("client", "NO"):      true,
		command("GET", "a"):                            false,
		command("PING") + command("GET", "a"):          false,
		command("INFO", "server")[:12]:                 false,
		"PING\r\n":                                     false,
		"*-1\r\n":                                      false,
		"*1\r\n$99999999999999999999\r\nPING\r\n":      false,
	} {
		if got := quiet([]byte(text)); got != want {
			t.Errorf("%q: got %v", text, got)
		}
	}
	run := "*3\r\n$7\r\nEVALSHA\r\n$40\r\n" + historyScript.sha + "\r\n$1\r\n0\r\n"
	if !quiet([]byte(run)) {
		t.Error("a look puts its connection in doubt")
	}
}

func TestReadingOf(t *testing.T) {
	got := readingOf([]string{"id", "1", "", "42", "L2", "L1", "41", " 00 11+", "L1"})
	want := &reading{id: "id", bare: true, at: 42, line: "L2", previous: "L1", ended: 41, had: "L1", caches: map[string]bool{"00": false, "11": true}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if !slices.Contains(quietCommands, "INFO") {
		t.Error("who asks how a server does would bar the caches")
	}
}
