package fleet

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/tally"
)

// Processes of several versions add to one hash, so a letter never changes its meaning.
func TestLettersAreForEver(t *testing.T) {
	want := map[string]byte{
		"near": 'n', "store": 's', "load": 'l', "stale": 't', "negative": 'a', "error": 'e',
		"load_ok": 'k', "load_notfound": 'f', "load_error": 'x', "load_timeout": 'o', "load_early": 'y',
		"coalesced_process": 'p', "coalesced_fleet": 'q', "saved_us": 'v',
		"by_invalidate": 'i', "by_update": 'u', "by_mutate": 'm', "by_set": 'b', "by_push": 'h', "by_lost": 'j',
		"bytes_read": 'r', "bytes_written": 'w', "unfilled": 'c', "too_large": 'g', "codec_error": 'd',
		"store_error": 'z', "behind": 'B', "dropped": 'D', "reread": 'R',
	}
	used := make(map[byte]bool)
	for c := range tally.Counts {
		letter := letters[c]
		if letter == 0 || used[letter] {
			t.Errorf("%s has the letter %q: each count needs one of its own", c, letter)
		}
		used[letter] = true
		if pinned, ok := want[c.String()]; !ok || pinned != letter {
			t.Errorf("%s is %q, want %q: a new count takes a letter that was never used, and stands here", c, letter, pinned)
		}
	}
	if tally.Buckets != 124 || tally.Middle(40).Round(time.Microsecond) != 71*time.Microsecond || tally.StoreTier.String() != "store" || tally.StoreTier != 1 {
		t.Error("the buckets or tiers mean something else than what processes of other versions add to")
	}
}

func TestFieldsComeBack(t *testing.T) {
	var in, out tally.Tally
	for c := range in.Counts {
		in.Counts[c] = rand.Uint64N(most)
	}
	for tier := range in.Latency {
		for b := range in.Latency[tier] {
			in.Latency[tier][b] = rand.Uint64N(1000)
		}
	}
	fields := encode(nil, &in)
	decode(fields, &out)
	if in != out {
		t.Error("what was written is read otherwise")
	}
	var twice tally.Tally
	decode(fields, &twice)
	decode(fields, &twice)
	if out.Add(&out); out != twice {
		t.Error("fields that are added are not the sum")
	}
	in.Latency[1][6], in.Latency[1][7] = 1<<40, 5 // more than there can be
	out = tally.Tally{}
	if decode(encode(nil, &in), &out); out.Latency[1][6] != half-1 || out.Latency[1][7] != 5 {
		t.Errorf("a bucket that is too full spoils its neighbour: %d, %d", out.Latency[1][6], out.Latency[1][7])
	}
	if empty := encode(nil, new(tally.Tally)); len(empty) != 0 {
		t.Errorf("a tally of nothing has the fields %q", empty)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("n\x001\x0000\x002\x0023f\x003")
	f.Add("n\x00-1\x00n\x0099999999999999999999\x00\x00\x00\xff\x001\x009zz\x005\x002zz\x001")
	f.Fuzz(func(t *testing.T, text string) {
		fields := strings.Split(text, "\x00")
		var a tally.Tally
		decode(fields, &a)
		for tier := range a.Latency {
			a.Latency[tier].Quantile(0.99)
		}
		h := newHistory()
		h.put(100, 100, &a)
		at := time.Unix(100*60+30, 0)
		c := h.cache("x", at, time.Time{})
		if c.Now.Tally != a {
			t.Errorf("%q is shown otherwise than it is read", text)
		}
		var b tally.Tally
		again := encode(nil, &a)
		if decode(again, &b); a != b && !slices.ContainsFunc(a.Counts[:], func(n uint64) bool { return n > most }) {
			for i := range a.Latency { // sums of a field that is named twice may be above what is believed
				if slices.ContainsFunc(a.Latency[i][:], func(n uint64) bool { return n >= half }) {
					return
				}
			}
			t.Errorf("%q: what was read is written otherwise", text)
		}
	})
}

func FuzzMember(f *testing.F) {
	f.Add(`{"id":"x","host":"h","pid":1,"caches":{"user":{"config":"a"}}}`)
	f.Add(`{"id":"x","problems":["` + strings.Repeat("p", 2000) + `"]}`)
	f.Add(`{"id":"x","seen":"9999-12-31T23:59:59Z","caches":null}`)
	f.Fuzz(func(t *testing.T, record string) {
		m, ok := readMember("x", record)
		if !ok {
			return
		}
		v := View{At: time.Unix(1, 0), Members: []Member{m}, Caches: []Cache{{Name: "user"}}}
		v.finish()
		if len(m.Host) > maxText || len(m.Problems) > maxProblems {
			t.Errorf("%q: nothing is cut", record)
		}
	})
}
