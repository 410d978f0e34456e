package near_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/near"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func tier(t testing.TB, size int, bytes uint64, parse bool) (*near.Tier[int64], *near.Clock) {
	clock := near.NewClock()
	done := make(chan struct{})
	ended := make(chan struct{})
	go func() { clock.Run(done); close(ended) }()
	t.Cleanup(func() { close(done); <-ended })
	o := near.Options[int64]{Size: size, Bytes: bytes, Clock: clock, Text: func(k int64) string { return fmt.Sprint("user:", k) }}
	if parse {
		o.Parse = func(text string) (int64, bool) {
			rest, ok := strings.CutPrefix(text, "user:")
			k, err := strconv.ParseInt(rest, 10, 64)
			return k, ok && err == nil
		}
	}
	return near.New(o), clock
}

// fill reads a key as a tracked read does, with something between the read and the fill.
func fill(t *near.Tier[int64], c *near.Clock, k int64, v string, d time.Duration, between func()) bool {
	r, _ := t.Reserve(fmt.Sprint("user:", k))
	sent := c.Exact()
	if between != nil {
		between()
	}
	return t.Fill(r, near.Entry{Value: v, Loaded: near.Unknown, Fresh: near.Unknown}, sent, d, len(v))
}

func TestRules(t *testing.T) {
	for _, parse := range []bool{true, false} {
		t.Run(fmt.Sprint("parse=", parse), func(t *testing.T) {
			n, c := tier(t, 100, 0, parse)
			has := func(k int64) string {
				if e, ok := n.Get(k); ok {
					return e.Value.(string)
				}
				return ""
			}
			if !fill(n, c, 1, "a", time.Minute, nil) || has(1) != "a" {
				t.Error("a value that nothing disturbed is not kept")
			}
			n.Drop("user:1")
			if has(1) != "" {
				t.Error("a value that was dropped is kept")
			}
			if fill(n, c, 1, "old", time.Minute, func() { n.Drop("user:1") }) || has(1) != "" {
				t.Error("a value is kept that was pushed between its read and its fill")
			}
			if fill(n, c, 1, "old", time.Minute, n.Lost) || has(1) != "" {
				t.Error("a value is kept of a read during which the connection was lost")
			}
			// Two reads at once share a reservation, and one that begins behind a push has another.
			ok := fill(n, c, 1, "old", time.Minute, func() {
				n.Drop("user:1")
				if !fill(n, c, 1, "new", time.Minute, nil) {
					t.Error("a read that began behind the push is void")
				}
			})
			if ok || has(1) != "new" {
				t.Errorf("an older read replaced a newer one: %q", has(1))
			}
			n.Drop("other:1")
			if has(1) != "new" {
				t.Error("a key of another cache dropped one of this")
			}
			n.Lost()
			if has(1) != "" {
				t.Error("a value of an epoch that has ended is served")
			}
			fill(n, c, 2, "short", 30*time.Millisecond, nil)
			eventually.True(t, "a value ends", func() bool { return has(2) == "" })
		})
	}
}

func TestBounds(t *testing.T) {
	n, c := tier(t, 1000, 0, true)
	for k := range int64(5000) {
		fill(n, c, k, "v", time.Minute, nil)
	}
	eventually.True(t, "1000 entries at most", func() bool { return n.Len() <= 1000 })
	b, c := tier(t, 0, 1<<20, true)
	value := strings.Repeat("v", 1000)
	for k := range int64(5000) {
		fill(b, c, k, value, time.Minute, nil)
	}
	eventually.True(t, "1 MiB at most", func() bool { return b.Bytes() <= 1<<20 })
	if b.Len() < 500 {
		t.Errorf("%d entries in 1 MiB", b.Len())
	}
	b.SetBytes(1 << 18)
	eventually.True(t, "the bound that was lowered is kept", func() bool {
		fill(b, c, 1, value, time.Minute, nil)
		return b.Bytes() <= 1<<18
	})
}

// A key that its own text is not read back as is not served: the push of a change could not find it.
func TestKeyOfAnotherSpelling(t *testing.T) {
	_, c := tier(t, 1, 0, true)
	n := near.New(near.Options[string]{Size: 10, Clock: c,
		Text:  func(k string) string { return "user:" + strings.ToLower(k) },
		Parse: func(text string) (string, bool) { return strings.CutPrefix(text, "user:") },
	})
	for k, want := range map[string]bool{"ada": true, "Bob": false} {
		r, _ := n.Reserve("user:" + strings.ToLower(k))
		n.Fill(r, near.Entry{Value: "old"}, c.Exact(), time.Minute, 1)
		if _, served := n.Get(k); served != want {
			t.Errorf("%s: served is %v", k, served)
		}
		n.Drop("user:" + strings.ToLower(k))
		if _, ok := n.Get(k); ok {
			t.Errorf("%s is served after a push of its change", k)
		}
	}
}
