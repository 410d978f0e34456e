package fleetstats

import (
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store"
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
		"store_error": 'z', "deferred": 'B', "dropped": 'D', "reread": 'R', "in_doubt": 'I',
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
	rng := seed.Rand(t)
	var in, out tally.Tally
	for c := range in.Counts {
		in.Counts[c] = rng.Uint64N(maxCount)
	}
	for tier := range in.Latency {
		for b := range in.Latency[tier] {
			in.Latency[tier][b] = rng.Uint64N(1000)
		}
	}
	text := encode(&in)
	decode(text, &out)
	if in != out {
		t.Error("what was written is read otherwise")
	}
	var twice tally.Tally
	decode(text, &twice)
	decode(text, &twice)
	if out.Add(&out); out != twice {
		t.Error("fields that are added are not the sum")
	}
	if empty := encode(new(tally.Tally)); empty != "" {
		t.Errorf("a tally of nothing is %q", empty)
	}
}

// What stands there is read by processes of other versions, and by other programs.
func TestFieldsAreMessagePack(t *testing.T) {
	var in, out tally.Tally
	in.Counts[tally.Near], in.Counts[tally.Load], in.Latency[tally.StoreTier][123] = 127, 65536, 255
	const want = "\xde\x00\x03\xa1n\x7f\xa1l\xce\x00\x01\x00\x00\xa313f\xcc\xff"
	if text := encode(&in); text != want {
		t.Errorf("written is %q, want %q", text, want)
	}
	decode("\x84\xa1n\x05\xa1!\x06\xa8of later\x07\xa1s\xcd\x01\x02", &out)
	if out.Counts[tally.Near] != 5 || out.Counts[tally.Store] != 258 || out.Reads() != 263 {
		t.Errorf("with fields of a later version, read is %v", out.Counts)
	}
}

// The server's sums are those of Go, whatever is added to whatever.
func TestSumsOfTheServer(t *testing.T) {
	srv := redistest.Shared(t)
	srv.FlushAll(t)
	s := open(t, srv.URL())
	var want tally.Tally
	add := func(c *change) {
		t.Helper()
		cmd, some := c.command(7)
		if !some {
			t.Fatal("there is nothing to add")
		}
		if r := s.Run(t.Context(), []store.Command{cmd}); r[0].Err != nil {
			t.Fatal(r[0].Err)
		}
	}
	rng := seed.Rand(t)
	for range 20 {
		c := change{name: "user"}
		for i := range c.diff.Counts {
			c.diff.Counts[i] = rng.Uint64N(1<<rng.IntN(43)) * rng.Uint64N(2)
		}
		for tier := range c.diff.Latency {
			for b := range c.diff.Latency[tier] {
				c.diff.Latency[tier][b] = rng.Uint64N(1<<rng.IntN(43)) * rng.Uint64N(2)
			}
		}
		want.Add(&c.diff)
		add(&c)
	}
	got := func() (out tally.Tally) {
		text, _ := srv.Do(t, "GET", minuteKey("user", 7)).ToString()
		decode(text, &out)
		return out
	}
	if got() != want {
		t.Error("the server's sums are others")
	}
	one := change{name: "user"}
	one.diff.Counts[tally.Near] = 1
	want = one.diff
	for _, garbage := range []string{"a text", "", "\x81\xa1n\xa1x", "\xde", "\xc0", "\x93\x01\x02", "\x81\xa1n\xcb\x7f\xf8\x00\x00\x00\x00\x00\x00x"} {
		srv.Do(t, "SET", minuteKey("user", 7), garbage)
		add(&one)
		if now := got(); now.Reads() > 1 || now != want && garbage[len(garbage)-1] != 'x' {
			t.Errorf("added to %q: %v", garbage, now.Counts)
		}
	}
	srv.Do(t, "SET", minuteKey("user", 7), "\x82\xa1n\x02\xa5later\x03")
	add(&one)
	text, _ := srv.Do(t, "GET", minuteKey("user", 7)).ToString()
	if now := got(); now.Reads() != 3 || !strings.Contains(text, "\xa5later\x03") {
		t.Errorf("beside a field of a later version: %q", text)
	}
	if ttl, _ := srv.Do(t, "TTL", minuteKey("user", 7)).AsInt64(); ttl != 25*3600 {
		t.Errorf("it is kept for %d s", ttl)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add("\x83\xa1n\x01\xa200\x02\xa323f\xcd\x01\x00")
	f.Add("\x81\xa323g\x01") // one bucket too many
	f.Add("\xde\x00\x06\xa1n\xcf\xff\xff\xff\xff\xff\xff\xff\xff\xa1n\xcc\x80\xa0\x01\xa29z\x05\xa32zz\x01\xa1s\xff")
	f.Fuzz(func(t *testing.T, text string) {
		var a tally.Tally
		decode(text, &a)
		for tier := range a.Latency {
			a.Latency[tier].Quantile(0.99)
		}
		h := newHistory()
		h.put(100, 100, &a)
		at := time.Unix(100*60+30, 0)
		c := h.cache("x", fleet.Query{}, at, time.Time{})
		shown := a
		shown.Counts[tally.SavedMicros] = min(shown.Counts[tally.SavedMicros], math.MaxInt64/1000)
		if tallyOf(t, c.Now) != shown {
			t.Errorf("%q is shown otherwise than it is read", text)
		}
		var b tally.Tally
		decode(encode(&a), &b)
		over := func(n uint64) bool { return n > maxCount } // sums of a field that is named twice may be more than is believed
		if a != b && !slices.ContainsFunc(a.Counts[:], over) && !slices.ContainsFunc(a.Latency[:], func(h tally.Histogram) bool { return slices.ContainsFunc(h[:], over) }) {
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
		v := fleet.View{At: time.Unix(1, 0), Members: []fleet.Member{m}, Caches: []fleet.Cache{{Name: "user"}}}
		finish(&v)
		if len(m.Host) > maxText || len(m.Problems) > maxProblems {
			t.Errorf("%q: nothing is cut", record)
		}
	})
}
