package redis_test

import (
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
)

// Each script, from a state written by hand to the one it leaves: the value and the sidecar, "" where there is none, and
// how long the sidecar lives at least.
func TestScripts(t *testing.T) {
	server := redistest.Shared(t)
	s, ctx := open(t, server.URL()), t.Context()
	acquire := func(c store.Claim) string {
		c.Key, c.Token, c.Lease = "k", "t1", time.Second
		g := s.Acquire(ctx, []store.Claim{c})[0]
		return outcome(g.State.String(), g.Err)
	}
	claim := func() string { return acquire(store.Claim{}) }
	stale := func() string { return acquire(store.Claim{Stale: time.Hour}) }
	dead := func(v string) func() string {
		return func() string { return acquire(store.Claim{Dead: &store.Dead{Value: []byte(v)}}) }
	}
	fill := func(f store.Fill) func() string {
		f.Key, f.Token = "k", "t1"
		return func() string { return ok(s.Fill(ctx, []store.Fill{f})) }
	}
	release := func() string { return ok(s.Release(ctx, []store.Lease{{Key: "k", Token: "t1"}})) }
	invalidate := func(hold time.Duration) func() string {
		return func() string { return ok(s.Invalidate(ctx, []string{"k"}, hold)) }
	}
	put := func(hold time.Duration) func() string {
		return func() string {
			return ok(s.Put(ctx, []store.Put{{Key: "k", Value: []byte("p"), TTL: time.Minute}}, hold))
		}
	}
	begin := func(earlier ...string) func() string {
		return func() string {
			return ok(s.Begin(ctx, []store.Intent{{Key: "k", Token: "w1", Earlier: earlier, Life: time.Second}}))
		}
	}
	end := func(hold time.Duration, earlier ...string) func() string {
		return func() string {
			return ok(s.End(ctx, []store.End{{Key: "k", Token: "w1", Earlier: earlier, Put: true, Value: []byte("e"), TTL: time.Minute, Hold: hold}}))
		}
	}
	const sec, min = time.Second, time.Minute
	for _, c := range []struct {
		name, value, side string
		do                func() string
		answer            string
		valueAfter, after string
		atLeast           time.Duration
	}{
		{"acquire nothing", "", "", claim, "granted", "", "t1", 0},
		{"acquire again", "", "t1", claim, "granted", "", "t1", 0},
		{"acquire, leased", "", "t2", claim, "waiting", "", "t2", 0},
		{"acquire, absent", "", "-", claim, "absent", "", "-", 0},
		{"acquire, hold", "", "!", claim, "barrier", "", "!", 0},
		{"acquire, intent", "", "!c,w1,", claim, "barrier", "", "!c,w1,", 0},
		{"acquire a value", "v", "", claim, "hit", "v", "", 0},
		{"acquire a stale value", "v", "", stale, "refresh", "v", "t1", 0},
		{"acquire a stale value again", "v", "t1", stale, "refresh", "v", "t1", 0},
		{"acquire a stale value, leased", "v", "t2", stale, "stale", "v", "t2", 0},
		{"acquire a stale value beside an absence", "v", "-", stale, "refresh", "v", "t1", 0},
		{"acquire a stale value behind a barrier", "v", "!", stale, "stale", "v", "!", 0},
		{"acquire a dead value", "v", "", dead("v"), "granted", "", "t1", 0},
		{"acquire another than the dead value", "v", "", dead("x"), "hit", "v", "", 0},

		{"fill", "", "t1", fill(store.Fill{Value: []byte("f"), TTL: min}), "1", "f", "", 0},
		{"fill for no time", "", "t1", fill(store.Fill{Absent: true}), "1", "", "", 0},
		{"fill, another's lease", "", "t2", fill(store.Fill{Value: []byte("f"), TTL: min}), "0", "", "t2", 0},
		{"fill, no lease", "v", "", fill(store.Fill{Value: []byte("f"), TTL: min}), "0", "v", "", 0},
		{"fill absent", "v", "t1", fill(store.Fill{Absent: true, TTL: min}), "1", "", "-", sec},
		{"release", "", "t1", release, "1", "", "", 0},
		{"release another's", "", "t2", release, "0", "", "t2", 0},

		{"invalidate", "v", "t2", invalidate(0), "1", "", "", 0},
		{"invalidate nothing", "", "-", invalidate(0), "0", "", "", 0},
		{"invalidate and hold", "v", "t2", invalidate(min), "1", "", "!", 50 * sec},
		{"invalidate under a longer hold", "v", "!", invalidate(sec), "1", "", "!", 20 * sec},
		{"invalidate under a hold, with none", "v", "!", invalidate(0), "1", "", "!", 20 * sec},
		{"invalidate under a shorter hold", "v", "!", invalidate(min), "1", "", "!", 50 * sec},
		{"invalidate under an intent", "", "!c,w1,", invalidate(0), "0", "", "!d,w1,", 20 * sec},
		{"put", "v", "t2", put(0), "1", "p", "", 0},
		{"put under a longer hold", "", "!", put(sec), "1", "p", "!", 20 * sec},
		{"put under an intent", "", "!c,w1,", put(0), "1", "p", "!d,w1,", 20 * sec},

		{"begin", "v", "t2", begin(), "1", "", "!c,w1,", 0},
		{"begin under a longer hold", "v", "!", begin(), "1", "", "!c,w1,", 20 * sec},
		{"begin again", "", "!c,w1,", begin(), "1", "", "!c,w1,", 20 * sec},
		{"begin after an earlier sending", "", "!c,w0,", begin("w0"), "1", "", "!c,w1,", 20 * sec},
		{"begin after an earlier sending, disturbed", "", "!d,w0,", begin("w0"), "1", "", "!c,w1,", 20 * sec},
		{"begin after two earlier sendings", "", "!d,w0,w9,", begin("w9", "w0"), "1", "", "!c,w1,", 20 * sec},
		{"begin beside another", "", "!c,w2,", begin(), "1", "", "!d,w2,w1,", 20 * sec},
		{"begin beside another after an earlier sending", "", "!d,w0,w2,", begin("w0"), "1", "", "!d,w2,w1,", 20 * sec},

		{"end", "", "!c,w1,", end(0), "1", "e", "", 0},
		{"end and hold", "", "!c,w1,", end(min), "1", "e", "!", 50 * sec},
		{"end again", "e", "", end(0), "0", "", "", 0},
		{"end under a longer hold", "v", "!", end(sec), "0", "", "!", 20 * sec},
		{"end of a lost intent", "v", "t2", end(0), "0", "", "", 0},
		{"end of a disturbed intent", "v", "!d,w1,", end(0), "0", "", "", 0},
		{"end with an earlier sending", "", "!d,w1,w0,", end(0, "w0"), "0", "", "", 0},
		{"end beside another", "v", "!d,w1,w2,", end(sec), "0", "", "!d,w2,", 20 * sec},
		{"end beside another, unknown", "v", "!c,w2,", end(0), "0", "", "!d,w2,", 20 * sec},
	} {
		t.Run(c.name, func(t *testing.T) {
			server.Do(t, "FLUSHALL")
			for key, v := range map[string]string{"k": c.value, "{k}:~l": c.side} {
				if v != "" {
					server.Do(t, "SET", key, v, "PX", "30000")
				}
			}
			answer := c.do()
			if c.name == "fill for no time" { // it lives for a millisecond, and may be gone or not
				if answer != c.answer {
					t.Errorf("got %s, want %s", answer, c.answer)
				}
				return
			}
			value, _ := server.Do(t, "GET", "k").ToString()
			side, _ := server.Do(t, "GET", "{k}:~l").ToString()
			ms, _ := server.Do(t, "PTTL", "{k}:~l").AsInt64()
			if answer != c.answer || value != c.valueAfter || side != c.after {
				t.Errorf("got %s, %q, %q; want %s, %q, %q", answer, value, side, c.answer, c.valueAfter, c.after)
			}
			if life := time.Duration(ms) * time.Millisecond; side != "" && life < max(c.atLeast, time.Millisecond) {
				t.Errorf("the sidecar lives %v, want at least %v", life, c.atLeast)
			}
		})
	}
}

// Somebody's list where our sidecar belongs: every write passes.
func TestSidecarOfAnotherType(t *testing.T) {
	server := redistest.Shared(t)
	s, ctx := open(t, server.URL()), t.Context()
	for name, do := range map[string]func() string{
		"invalidate": func() string { return ok(s.Invalidate(ctx, []string{"k"}, 0)) },
		"put":        func() string { return ok(s.Put(ctx, []store.Put{{Key: "k", Value: []byte("p"), TTL: time.Minute}}, 0)) },
		"begin":      func() string { return ok(s.Begin(ctx, []store.Intent{{Key: "k", Token: "w1", Life: time.Minute}})) },
	} {
		server.Do(t, "FLUSHALL")
		server.Do(t, "SET", "k", "old")
		server.Do(t, "RPUSH", "{k}:~l", "1")
		if got := do(); got != "1" {
			t.Errorf("%s: %s", name, got)
		}
		if v := s.Get(ctx, "k", false).Value; string(v) == "old" {
			t.Errorf("%s: the old value stands", name)
		}
	}
}

func ok(os []store.Outcome) string {
	if os[0].OK {
		return outcome("1", os[0].Err)
	}
	return outcome("0", os[0].Err)
}

func outcome(answer string, err error) string {
	if err != nil {
		return err.Error()
	}
	return answer
}
