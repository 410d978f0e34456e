package history

import (
	"log/slog"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/topology"
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

// judged is the history of one cache that has judged a first look.
func judged(r Reading, now []topology.Span) (*History, *kept) {
	k, logger := newKept(), slog.New(slog.DiscardHandler)
	h := New(Config{
		Logger: logger, Problems: conn.NewProblems(logger), Look: func() {}, Repeat: func([]topology.Span) {},
		Knows: func(time.Time) bool { return true },
	})
	h.Keep(k)
	h.Judge(noon, now, map[uint16]Reading{0: r})
	h.Register("user:*")
	return h, k
}

func node(address, identity string) topology.Node {
	return topology.Node{Address: address, Identity: identity}
}

func span(first, last uint16, n topology.Node) topology.Span {
	return topology.Span{First: first, Last: last, Node: n}
}

var (
	noon   = time.Now()
	master = span(0, topology.Slots-1, node("a:1", "run1 master"))
	first  = Reading{id: "run1", line: "L1", previous: "-", at: 1000, caches: map[string]bool{nameOf("user:*"): false}}
)

func TestJudge(t *testing.T) {
	const hash = "user:*"
	second := func(n int) time.Time { return noon.Add(time.Duration(n) * time.Second) }
	for _, c := range []struct {
		name            string
		looks           int // at which H moved by 1000
		then            Reading
		at              time.Time
		barred, emptied bool
	}{
		{"nothing happened", 20, Reading{id: "run1", line: "L1", previous: "-", at: 22000}, second(21), false, false},
		{"promoted, up to date", 20, Reading{id: "run2", line: "L2", previous: "L1", ended: 21000, at: 22000}, second(21), false, false},
		{"promoted, 5 s behind", 20, Reading{id: "run2", line: "L2", previous: "L1", ended: 16000, at: 22000}, second(21), false, false},
		{"promoted, 12 s behind", 20, Reading{id: "run2", line: "L2", previous: "L1", ended: 9000, at: 22000}, second(21), false, true},
		{"older than all that is remembered", 20, Reading{id: "run2", line: "L2", previous: "L1", ended: 10, at: 22000}, second(21), false, true},
		{"in place", 20, Reading{id: "run1", line: "L2", previous: "L1", ended: 9000, at: 22000}, second(21), false, true},
		{"no look for long", 20, Reading{id: "run2", line: "L2", previous: "L1", ended: 21000, at: 22000}, second(200), false, true},
		{"two failovers between looks", 20, Reading{id: "run3", line: "L3", previous: "L2", ended: 21000, at: 22000}, second(21), true, false},
		{"the same, and another process vouches", 20, Reading{id: "run3", line: "L3", previous: "L2", ended: 21000, at: 22000, caches: map[string]bool{nameOf(hash): false}}, second(21), false, false},
		{"started empty", 20, Reading{id: "run2", line: "L2", previous: "-", bare: true, at: 22000}, second(21), false, false},
		{"started without H, with data", 20, Reading{id: "run2", line: "L2", previous: "-", at: 22000}, second(21), true, false},
		{"started without keys, with an append-only file", 20, Reading{id: "run2", line: "L2", previous: "-", at: 22000, caches: map[string]bool{"*": false}}, second(21), false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			now := []topology.Span{master}
			h, k := judged(first, now)
			if len(k.barred) > 0 {
				t.Fatal("it is barred at first")
			}
			for n := range c.looks {
				r := first
				r.at += int64(n+1) * 1000
				h.Judge(second(n+1), now, map[uint16]Reading{0: r})
			}
			h.Judge(c.at, now, map[uint16]Reading{0: c.then})
			if k.barred[hash] != c.barred || k.emptied[hash] != c.emptied {
				t.Errorf("barred %v, emptied %v", k.barred[hash], k.emptied[hash])
			}
		})
	}
}

// A master that crashes again before the first look at its new line.
func TestJudgeTwoFailovers(t *testing.T) {
	now := []topology.Span{master}
	h, k := judged(first, now)
	r := first
	r.at = 2000
	h.Judge(noon.Add(time.Second), now, map[uint16]Reading{0: r})
	h.Judge(noon.Add(2*time.Second), now, map[uint16]Reading{0: {id: "run2", line: "L2", previous: "L1", ended: 2000, at: 3000}})
	h.Judge(noon.Add(3*time.Second), now, map[uint16]Reading{0: {id: "run3", line: "L3", previous: "L2", ended: 3000, at: 4000}})
	if len(k.emptied) > 0 || len(k.barred) > 0 {
		t.Errorf("got %+v", k)
	}
}

// A server that takes no writes has no H that moves: it is judged once, and not at each look.
func TestJudgeWithoutWrites(t *testing.T) {
	now := []topology.Span{master}
	h, k := judged(first, now)
	r := first
	r.at = 2000
	h.Judge(noon.Add(time.Second), now, map[uint16]Reading{0: r})
	refused := Reading{id: "run2", line: "T1", had: "L1", previous: "L1", ended: 100, at: 100, refusal: "OOM"}
	h.Judge(noon.Add(2*time.Second), now, map[uint16]Reading{0: refused})
	if !k.emptied["user:*"] {
		t.Fatal("it is not emptied")
	}
	h.Emptied("user:*", h.number)
	clear(k.emptied)
	refused.line = "T2"
	h.Judge(noon.Add(3*time.Second), now, map[uint16]Reading{0: refused})
	refused.line, refused.refusal, refused.at = "T3", "", 5000
	h.Judge(noon.Add(4*time.Second), now, map[uint16]Reading{0: refused})
	if len(k.emptied)+len(k.barred) > 0 {
		t.Errorf("got %+v", k)
	}
}

// Slots that move take nothing back in time, wherever their H is.
func TestJudgeMovedSlots(t *testing.T) {
	a, b := node("a:1", "run1 master"), node("b:1", "run2 master")
	h, k := judged(first, []topology.Span{span(0, topology.Slots-1, a)})
	moved := Reading{id: "run2", line: "L9", previous: "-", at: 5000}
	h.Judge(noon.Add(time.Second), []topology.Span{span(0, 99, a), span(100, topology.Slots-1, b)}, map[uint16]Reading{0: first, 100: moved})
	if len(k.emptied)+len(k.barred) > 0 {
		t.Errorf("the old master is there: %+v", k)
	}
	c := node("c:1", "run3 master")
	h.Judge(noon.Add(2*time.Second), []topology.Span{span(0, 199, a), span(200, topology.Slots-1, c)}, map[uint16]Reading{0: first, 200: moved})
	if !k.barred["user:*"] {
		t.Error("b has gone, and c has its slots")
	}
}

// What is too much to be remembered is not repeated.
func TestJudgeForgotten(t *testing.T) {
	now := []topology.Span{master}
	h, k := judged(first, now)
	for n := range 5 {
		r := first
		r.at += int64(n+1) * 1000
		h.Judge(noon.Add(time.Duration(n+1)*time.Second), now, map[uint16]Reading{0: r})
	}
	h.config.Knows = func(since time.Time) bool { return noon.Add(4 * time.Second).Before(since) }
	h.Judge(noon.Add(6*time.Second), now, map[uint16]Reading{0: {id: "run2", line: "L2", previous: "L1", ended: 4000, at: 9000}})
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
	run := "*3\r\n$7\r\nEVALSHA\r\n$40\r\n" + historyScript.SHA + "\r\n$1\r\n0\r\n"
	if !quiet([]byte(run)) {
		t.Error("a look puts its connection in doubt")
	}
}

func TestReadingOf(t *testing.T) {
	got := readingOf([]string{"id", "1", "", "42", "L2", "L1", "41", " 00 11+", "L1"})
	want := &Reading{id: "id", bare: true, at: 42, line: "L2", previous: "L1", ended: 41, had: "L1", caches: map[string]bool{"00": false, "11": true}}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v", got)
	}
	if !slices.Contains(quietCommands, "INFO") {
		t.Error("who asks how a server does would bar the caches")
	}
}
