package engine_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// log is a logger and what it was given.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

// lines returns how many lines have a text.
func (l *log) lines(text string) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range strings.Lines(l.text.String()) {
		if strings.Contains(line, text) {
			n++
		}
	}
	return n
}

// mute is a store that answers no claims in time.
type mute struct {
	store.Store
	on bool
}

func (m *mute) Acquire(ctx context.Context, cs []store.Claim) []store.Grant {
	if !m.on {
		return m.Store.Acquire(ctx, cs)
	}
	<-ctx.Done()
	out := make([]store.Grant, len(cs))
	for i := range out {
		out[i].Err = fmt.Errorf("acquire: %w", context.DeadlineExceeded)
	}
	return out
}

// A cache that gains nothing says so: once, as long as it lasts, and with what to do.
func TestCacheThatDoesNotCacheSaysSo(t *testing.T) {
	for _, test := range []struct {
		name    string
		problem string // a part of its text
		line    string // of the log
		change  func(b *bench, c *typed.Config[string, string], bad *bool)
	}{
		{"too large", "larger than MaxValue (12 bytes, and 5 are allowed)", "none was stored", func(b *bench, c *typed.Config[string, string], bad *bool) {
			c.MaxValue = 5
			c.Load = func(context.Context, string) (string, error) {
				if *bad {
					return "0123456789", nil
				}
				return "0", nil
			}
		}},
		{"not encoded", "cannot be encoded", "a value cannot be encoded", func(b *bench, c *typed.Config[string, string], bad *bool) {
			encode := c.Encode
			c.Encode = func(v string) ([]byte, error) {
				if *bad {
					return nil, errors.New("no words for it")
				}
				return encode(v)
			}
		}},
		{"not decoded", "do not decode", "do not decode", func(b *bench, c *typed.Config[string, string], bad *bool) {
			decode := c.Decode
			c.Decode = func(d []byte) (string, error) {
				if *bad {
					return "", errors.New("what a type")
				}
				return decode(d)
			}
		}},
		{"claims without an answer", "did not answer within the budget (25ms)", "none was stored", func(b *bench, c *typed.Config[string, string], bad *bool) {
			b.store = &mute{Store: b.store, on: true}
		}},
		{"barred", "during a write or its Hold", "none was stored", func(b *bench, c *typed.Config[string, string], bad *bool) {
			b.store = barred{b.store}
		}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				bad := true
				b := open(t, func(b *bench, c *typed.Config[string, string]) {
					c.Glob = "user:*"
					c.Load = func(context.Context, string) (string, error) { return "0", nil }
					test.change(b, c, &bad)
				})
				out := new(log)
				b.shared.Logger = slog.New(slog.NewTextHandler(out, nil))
				b.Cache = typed.New(b.shared, b.cfg)
				for range 200 {
					if _, err := b.Get(t.Context(), "a"); err != nil {
						t.Fatal(err)
					}
				}
				problems := b.shared.Problems()
				if !strings.Contains(strings.Join(problems, "\n"), test.problem) || !strings.Contains(problems[0], "cache user:") {
					t.Errorf("problems: %q, want one with %q", problems, test.problem)
				}
				if n := out.lines(test.line); n != 1 {
					t.Errorf("%d lines of the log say so, want 1:\n%s", n, out.text.String())
				}
				bad = false
				if m, ok := b.store.(*mute); ok {
					m.on = false
				} else if _, ok := b.store.(barred); ok {
					return
				}
				for n := range 100 {
					b.Get(t.Context(), fmt.Sprint(n/2)) // loaded, and read
				}
				time.Sleep(time.Second)
				if problems := b.shared.Problems(); len(problems) > 0 {
					t.Errorf("it is over, and there are problems: %q", problems)
				}
			})
		})
	}
}

// Two programs write different types under the same keys: both say so.
func TestTwoTypesUnderOneName(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		other := b.cfg
		other.Encode = func(v string) ([]byte, error) { return []byte("<" + v + ">"), nil }
		other.Decode = func(d []byte) (string, error) {
			if d[0] != '<' {
				return "", errors.New("expected a <")
			}
			return string(d[1 : len(d)-1]), nil
		}
		shared := engine.NewShared(b.store, 25*time.Millisecond, time.Second, slog.New(slog.DiscardHandler))
		defer shared.Close(context.Background())
		second := typed.New(shared, other)
		for range 20 {
			for _, c := range []*typed.Cache[string, string]{b.Cache, second} {
				if v, err := c.Get(t.Context(), "a"); v != "1" || err != nil {
					t.Fatalf("got %q, %v", v, err)
				}
			}
		}
		for _, s := range []*engine.Shared{b.shared, shared} {
			if p := s.Problems(); len(p) != 1 || !strings.Contains(p[0], "another program writes") {
				t.Errorf("problems: %q", p)
			}
		}
	})
}

// A loader that panics is one line for each panic, with one stack.
func TestPanicsAreSaidOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, nil)
		out := new(log)
		b.shared.Logger = slog.New(slog.NewTextHandler(out, nil))
		panics := b.loader("p", func(_ context.Context, k string) (string, error) { panic(k) }, nil)
		for range 100 {
			panics.Get(t.Context(), "boom")
			panics.Get(t.Context(), "crash")
		}
		want(t, "lines", out.lines("a loader panicked"), 2)
		want(t, "stacks", out.lines("goroutine "), 2)
	})
}

// What now and then is too large, or was overtaken, is no complaint of the cache.
func TestCacheThatCachesSaysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			c.MaxValue = 5
			c.Load = func(_ context.Context, k string) (string, error) {
				if k == "large" {
					return "0123456789", nil
				}
				return "0", nil
			}
		})
		for n := range 1000 {
			b.Get(t.Context(), "large")
			if n%20 == 0 {
				b.Get(t.Context(), fmt.Sprint(n))
			}
		}
		if p := b.shared.Problems(); len(p) > 0 {
			t.Errorf("problems: %q", p)
		}
	})
}
