package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

var errLost = errors.New("the connection was lost")

// begins is a store that fails on demand and remembers the tokens that it was given.
type begins struct {
	store.Store
	away atomic.Bool

	mu     sync.Mutex
	tokens map[string][]string // by key
}

func (b *begins) Begin(ctx context.Context, ins []store.Intent) []store.Outcome {
	if b.away.Load() {
		return failAll(len(ins))
	}
	b.mu.Lock()
	for _, in := range ins {
		b.tokens[in.Key] = append(b.tokens[in.Key], in.Token)
	}
	b.mu.Unlock()
	return b.Store.Begin(ctx, ins)
}

func (b *begins) End(ctx context.Context, ends []store.End) []store.Outcome {
	if b.away.Load() {
		return failAll(len(ends))
	}
	return b.Store.End(ctx, ends)
}

func (b *begins) Invalidate(ctx context.Context, keys []string, hold time.Duration) []store.Outcome {
	if b.away.Load() {
		return failAll(len(keys))
	}
	return b.Store.Invalidate(ctx, keys, hold)
}

func failAll(n int) []store.Outcome {
	out := make([]store.Outcome, n)
	for i := range out {
		out[i].Err = errAway
	}
	return out
}

// flush loses every intent of a key, as FLUSHALL does.
func (b *begins) flush(key string) {
	b.mu.Lock()
	tokens := b.tokens[key]
	b.mu.Unlock()
	for _, token := range tokens {
		b.Store.End(context.Background(), []store.End{{Key: key, Token: token}})
	}
}

const longest = time.Minute

// doubtful is a bench whose writes may be in doubt.
func doubtful(t testing.TB, change func(*typed.Config[string, string])) (*bench, *begins, *journal) {
	st := &begins{tokens: map[string][]string{}}
	b := open(t, func(b *bench, c *typed.Config[string, string]) {
		st.Store = b.store
		b.store, b.delay = st, time.Millisecond
		c.InDoubt, c.Glob = longest, "*"
		if change != nil {
			change(c)
		}
	})
	log := new(journal)
	b.shared.Logger = slog.New(slog.NewTextHandler(log, nil))
	return b, st, log
}

func (b *bench) inDoubt(t testing.TB, err error) {
	t.Helper()
	if !errors.Is(err, engine.ErrInDoubt) {
		t.Errorf("got %v, want ErrInDoubt", err)
	}
}

// barred checks that a key is answered by its loader, and that nothing is stored.
func (b *bench) barred(t testing.TB, key string) {
	t.Helper()
	for range 2 {
		if e, err := b.Entry(t.Context(), key); e.Source != engine.Load || err != nil {
			t.Errorf("%s: %q from %s (%v), want a load", key, e.Value, e.Source, err)
		}
	}
	synctest.Wait()
	if it := b.store.Get(t.Context(), key, false); it.Found {
		t.Errorf("%s: the store has %s", key, it.Value)
	}
}

// cached checks that a key is right, and stored at the second read.
func (b *bench) cached(t testing.TB, key, value string) {
	t.Helper()
	for range 2 {
		if v, err := b.Get(t.Context(), key); v != value || err != nil {
			t.Errorf("%s: %q (%v), want %q", key, v, err, value)
		}
		synctest.Wait()
	}
	if e, err := b.Entry(t.Context(), key); e.Source != engine.Store || e.Value != value {
		t.Errorf("%s: %q from %s (%v), want %q from the store", key, e.Value, e.Source, err, value)
	}
}

// A write whose error says nothing bars its key for as long as its commit may take; and what becomes visible within that time
// is what is read afterwards.
func TestLateCommit(t *testing.T) {
	for name, write := range map[string]func(*bench, error) error{
		"update": func(b *bench, err error) error {
			_, err = b.Update(context.Background(), "a", func(context.Context) (string, error) { return "", err })
			return err
		},
		"mutate": func(b *bench, err error) error {
			w, _ := b.Written("a")
			return b.shared.Mutate(context.Background(), []engine.Written{w}, func(context.Context) error { return err })
		},
		"a caller who leaves": func(b *bench, err error) error {
			ctx, cancel := context.WithCancel(context.Background())
			_, got := b.Update(ctx, "a", func(ctx context.Context) (string, error) {
				cancel()
				<-ctx.Done()
				return "", fmt.Errorf("%w: %w", err, ctx.Err())
			})
			return got
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, log := doubtful(t, nil)
				b.cached(t, "a", "1")
				began := time.Now()
				err := write(b, errLost)
				if b.inDoubt(t, err); !errors.Is(err, errLost) || !strings.Contains(err.Error(), "nothing is cached for the key for 1m0s") {
					t.Errorf("got %v", err)
				}
				want(t, "keys in doubt", b.shared.InDoubt(), 1)
				for time.Since(began) < longest/2 {
					b.barred(t, "a")
					time.Sleep(time.Second)
				}
				b.set("a", "2") // the commit becomes visible
				for time.Since(began) < longest {
					b.barred(t, "a")
					time.Sleep(time.Second)
				}
				time.Sleep(time.Second)
				b.cached(t, "a", "2")
				want(t, "keys in doubt", b.shared.InDoubt(), 0)
				want(t, "writes in doubt", b.Tally().Counts[tally.InDoubt], 1)
				if n := strings.Count(log.String(), "\n"); n != 2 {
					t.Errorf("%d lines, want one at the begin and one at the end:\n%s", n, log)
				}
			})
		})
	}
}

// With the rule left out, an error that is taken for final leaves the old value until its TTL ends.
func TestLateCommitWithoutTheRule(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := doubtful(t, nil)
		b.Update(t.Context(), "a", func(context.Context) (string, error) { return "", engine.Final(errLost) })
		b.cached(t, "a", "1")
		b.set("a", "2")
		time.Sleep(2 * longest)
		if v, _ := b.Get(t.Context(), "a"); v != "1" {
			t.Errorf("got %q: there is no need for the rule", v)
		}
	})
}

// Who can be asked is asked, for as long as it takes, and in the mean time no intent expires.
func TestDoubtIsAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, st, log := doubtful(t, nil)
		var over atomic.Bool
		var asked atomic.Int64
		began := time.Now()
		_, err := b.Update(t.Context(), "a", func(context.Context) (string, error) {
			return "", engine.InDoubt(errLost, func(ctx context.Context) error {
				switch n := asked.Add(1); {
				case n == 3:
					panic("boom")
				case !over.Load():
					return errors.New("still running")
				}
				return nil
			})
		})
		if b.inDoubt(t, err); !strings.Contains(err.Error(), "until it is") {
			t.Errorf("got %v", err)
		}
		for time.Since(began) < 10*longest {
			b.barred(t, "a")
			time.Sleep(7 * time.Second)
		}
		if n := asked.Load(); n < 200 || n > 700 {
			t.Errorf("asked %d times in ten minutes", n)
		}
		if n := len(st.tokens["a"]); n < 20 || n > 50 {
			t.Errorf("%d intents in ten minutes", n)
		}
		b.set("a", "2")
		over.Store(true)
		time.Sleep(3 * time.Second)
		b.cached(t, "a", "2")
		if n := strings.Count(log.String(), "\n"); n != 2 {
			t.Errorf("%d lines:\n%s", n, log)
		}
	})
}

// A doubt that is over at once is counted, and not logged.
func TestShortDoubts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, log := doubtful(t, nil)
		for i := range 100 {
			b.Update(t.Context(), "a", func(context.Context) (string, error) {
				b.set("a", fmt.Sprint(i))
				return "", engine.InDoubt(errLost, func(context.Context) error { return nil })
			})
			synctest.Wait()
			b.cached(t, "a", fmt.Sprint(i))
		}
		want(t, "log", log.String(), "")
		want(t, "writes in doubt", b.Tally().Counts[tally.InDoubt], 100)
	})
}

// A function that does not return leaves nobody who knows.
func TestWriteThatDoesNotReturn(t *testing.T) {
	for name, end := range map[string]func(){"panic": func() { panic("boom") }, "goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, _, _ := doubtful(t, nil)
				b.set("b", "1")
				w, _ := b.Written("b")
				var wg sync.WaitGroup
				for _, write := range []func(){
					func() {
						b.Update(t.Context(), "a", func(context.Context) (string, error) { end(); return "", nil })
					},
					func() {
						b.shared.Mutate(t.Context(), []engine.Written{w}, func(context.Context) error { end(); return nil })
					},
				} {
					wg.Go(func() {
						defer func() { recover() }()
						write()
					})
				}
				wg.Wait()
				want(t, "keys in doubt", b.shared.InDoubt(), 2)
				time.Sleep(longest / 2)
				b.barred(t, "a")
				b.barred(t, "b")
				b.set("a", "2")
				time.Sleep(longest)
				b.cached(t, "a", "2")
				b.cached(t, "b", "1")
			})
		})
	}
}

// A function that is asked and calls runtime.Goexit can say nothing: then time ends the doubt.
func TestAskedAndGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := doubtful(t, nil)
		b.Update(t.Context(), "a", func(context.Context) (string, error) {
			return "", engine.InDoubt(errLost, func(context.Context) error { runtime.Goexit(); return nil })
		})
		time.Sleep(longest / 2)
		b.barred(t, "a")
		time.Sleep(longest)
		b.cached(t, "a", "1")
	})
}

// An Update within another one: both keys are barred, and both ask.
func TestDoubtWithinAnUpdate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := doubtful(t, nil)
		b.set("b", "1")
		var over atomic.Bool
		_, err := b.Update(t.Context(), "a", func(ctx context.Context) (string, error) {
			return b.Update(ctx, "b", func(context.Context) (string, error) {
				return "", engine.InDoubt(errLost, func(context.Context) error {
					if !over.Load() {
						return errLost
					}
					return nil
				})
			})
		})
		b.inDoubt(t, err)
		time.Sleep(3 * longest)
		b.barred(t, "a")
		b.barred(t, "b")
		over.Store(true)
		time.Sleep(3 * time.Second)
		b.cached(t, "a", "1")
		b.cached(t, "b", "1")
	})
}

// Another writer of a key that is in doubt puts nothing, since the commit in doubt may come after his.
func TestWriterBesideADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := doubtful(t, nil)
		b.Update(t.Context(), "a", func(context.Context) (string, error) { return "", errLost })
		for _, wait := range []time.Duration{0, longest / 2} {
			time.Sleep(wait)
			if v, err := b.Update(t.Context(), "a", func(context.Context) (string, error) { b.set("a", "2"); return "2", nil }); v != "2" || err != nil {
				t.Errorf("%q, %v", v, err)
			}
			b.barred(t, "a")
		}
		if _, err := b.Invalidate(t.Context(), []string{"a"}); err != nil {
			t.Error(err)
		}
		b.barred(t, "a")
		b.set("a", "3")
		time.Sleep(longest)
		b.cached(t, "a", "3")
	})
}

// The store loses the intent, or does not answer at all: in the end the key is right, and it is right only after the outcome
// is known that it is cached for good.
func TestStoreDuringADoubt(t *testing.T) {
	for name, harm := range map[string]func(*bench, *begins){
		"flush": func(_ *bench, st *begins) { st.flush("a") },
		"away and back": func(_ *bench, st *begins) {
			st.away.Store(true)
			time.Sleep(5 * time.Second)
			st.away.Store(false)
		},
		"away and back, and flushed": func(_ *bench, st *begins) {
			st.away.Store(true)
			time.Sleep(5 * time.Second)
			st.away.Store(false)
			st.flush("a")
		},
		"away until after the outcome": func(b *bench, st *begins) {
			st.away.Store(true)
			time.AfterFunc(longest+time.Minute, func() { st.away.Store(false) })
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b, st, _ := doubtful(t, nil)
				b.Update(t.Context(), "a", func(context.Context) (string, error) { return "", errLost })
				harm(b, st)
				for range 10 { // some of these are filled where the intent is lost
					b.Get(t.Context(), "a")
					time.Sleep(time.Second)
				}
				time.Sleep(longestRenewal)
				if !st.away.Load() {
					b.barred(t, "a") // it was renewed, which deletes
				}
				b.set("a", "2")
				b.Get(t.Context(), "a")
				time.Sleep(2*longest + time.Minute)
				b.cached(t, "a", "2")
				want(t, "pending", b.shared.Recovery().Pending, 0)
			})
		})
	}
}

const longestRenewal = 15 * time.Second

// A begin without an answer leaves no intent that is known of: it is made up for as soon as the store answers, and until then
// this process reads past it.
func TestDoubtWithoutAnIntent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, st, _ := doubtful(t, nil)
		st.away.Store(true)
		_, err := b.Update(t.Context(), "a", func(context.Context) (string, error) { return "", errLost })
		b.inDoubt(t, err)
		want(t, "pending", b.shared.Recovery().Pending, 1)
		b.barred(t, "a")
		st.away.Store(false)
		time.Sleep(5 * time.Second)
		want(t, "pending", b.shared.Recovery().Pending, 0)
		b.barred(t, "a")
		b.set("a", "2")
		time.Sleep(longest)
		b.cached(t, "a", "2")
	})
}

// Close says what is in doubt, and leaves the intents standing for as long as a commit may take.
func TestCloseInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := memory.New(memory.Options{})
		defer inner.Close()
		s := engine.NewShared(keepOpen{inner}, 25*time.Millisecond, time.Second, slog.New(slog.DiscardHandler))
		c := typed.New(s, typed.Config[string, string]{
			Policy: engine.Policy{TTL: time.Hour, LoadTimeout: time.Second, InDoubt: longest},
			Key:    func(k string) (string, error) { return k, nil },
			Load:   func(context.Context, string) (string, error) { return "", engine.ErrNotFound },
			Encode: func(v string) ([]byte, error) { return []byte(v), nil }, Decode: func(d []byte) (string, error) { return string(d), nil }, MaxValue: 100,
		})
		for key, err := range map[string]error{
			"a": errLost,
			"b": engine.InDoubt(errLost, func(context.Context) error { return errLost }),
			"c": engine.InDoubt(errLost, func(context.Context) error { time.Sleep(2 * time.Second); return nil }),
		} {
			c.Update(t.Context(), key, func(context.Context) (string, error) { return "", err })
		}
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		began := time.Now()
		err := s.Close(ctx)
		if !errors.Is(err, engine.ErrInDoubt) || !strings.Contains(err.Error(), "2 keys") {
			t.Errorf("close: %v", err)
		}
		want(t, "time of Close", time.Since(began), 5*time.Second)
		claim := func(key string) store.State {
			return inner.Acquire(t.Context(), []store.Claim{{Key: key, Token: store.NewToken(), Lease: time.Millisecond}})[0].State
		}
		want(t, "c", claim("c"), store.Granted)
		time.Sleep(time.Until(began.Add(longest)))
		want(t, "a", claim("a"), store.Barrier)
		want(t, "b", claim("b"), store.Barrier)
		time.Sleep(longest / 2)
		want(t, "a, later", claim("a"), store.Granted)
		want(t, "b, later", claim("b"), store.Granted)
	})
}

// keepOpen leaves the store to the test.
type keepOpen struct{ store.Store }

func (keepOpen) Close() {}

// Close does not wait for doubts that only time ends.
func TestCloseDoesNotWaitForTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := doubtful(t, nil)
		b.Update(t.Context(), "a", func(context.Context) (string, error) { return "", errLost })
		began := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		if b.left = b.shared.Close(ctx); !errors.Is(b.left, engine.ErrInDoubt) {
			t.Errorf("close: %v", b.left)
		}
		want(t, "time of Close", time.Since(began), 0)
	})
}

// A process that dies in the middle of a write leaves an intent that outlives the commit.
func TestIntentOutlivesADeadWriter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, _, _ := doubtful(t, func(c *typed.Config[string, string]) { c.LoadTimeout = 10 * time.Second })
		release := make(chan struct{})
		done := make(chan struct{})
		go func() {
			defer close(done)
			b.Update(t.Context(), "a", func(context.Context) (string, error) { <-release; return "2", nil }) // deaf, as good as dead
		}()
		time.Sleep(10*time.Second + longest)
		b.barred(t, "a")
		b.set("a", "2")
		close(release)
		<-done
		b.cached(t, "a", "2")
	})
}

// More keys than are kept: the cache is read past until their commits must be visible, and swept then.
func TestTooManyDoubts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, st, _ := doubtful(t, nil)
		b.shared.MaxInDoubt = 3
		b.cached(t, "a", "1")
		ws := make([]engine.Written, 2)
		for i := range 2 {
			ws[0], _ = b.Written(fmt.Sprint("x", i))
			ws[1], _ = b.Written(fmt.Sprint("y", i))
			err := b.shared.Mutate(t.Context(), ws, func(context.Context) error { return errLost })
			b.inDoubt(t, err)
		}
		want(t, "kept", b.shared.InDoubt(), 2)
		want(t, "read past", b.shared.Recovery().Past, 1)
		b.set("x1", "old")
		time.Sleep(longest / 2)
		st.flush("x1")
		for range 2 {
			if e, err := b.Entry(t.Context(), "x1"); e.Source != engine.Load || err != nil {
				t.Errorf("%+v, %v", e, err)
			}
		}
		b.set("x1", "new")
		b.store.Put(t.Context(), []store.Put{{Key: "x1", Value: []byte(`"old"`), TTL: time.Hour}}, 0) // as another process does
		time.Sleep(longest)
		want(t, "read past", b.shared.Recovery().Past, 0)
		b.cached(t, "x1", "new")
	})
}

// A member of a collection: the whole of it is not cached while the write is in doubt.
func TestMemberInDoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memory.New(memory.Options{})
		s := engine.NewShared(st, time.Second, time.Second, slog.New(slog.DiscardHandler))
		defer func() {
			if err := s.Close(context.Background()); err != nil {
				t.Error(err)
			}
		}()
		var score, loads atomic.Int64
		c := typed.NewCollection(s, typed.CollectionConfig[string]{
			Policy: engine.Policy{TTL: time.Hour, LoadTimeout: 10 * time.Second, InDoubt: longest},
			Kind:   store.SortedSet, Key: func(k string) (string, error) { return k, nil },
			Load: func(_ context.Context, _ string, emit func(store.Element) error) error {
				loads.Add(1)
				return emit(store.Element{Member: "ada", Score: float64(score.Load())})
			},
		})
		read := func() (float64, int64) {
			t.Helper()
			before := loads.Load()
			v, err := c.Query(t.Context(), "board", store.Query{Part: store.All})
			if err != nil || len(v.Elements) != 1 {
				t.Fatalf("%+v, %v", v, err)
			}
			synctest.Wait()
			return v.Elements[0].Score, loads.Load() - before
		}
		read()
		if _, n := read(); n != 0 {
			t.Fatal("it is not cached")
		}
		err := c.Update(t.Context(), "board", "ada", func(context.Context) (store.Change, float64, error) { return store.Change{}, 0, errLost })
		if !errors.Is(err, engine.ErrInDoubt) {
			t.Errorf("got %v", err)
		}
		claim := store.Claim{Key: "board", Kind: store.SortedSet, Token: store.NewToken(), Lease: time.Second}
		if g := st.Acquire(t.Context(), []store.Claim{claim})[0]; g.State != store.Barrier {
			t.Errorf("right after the error a load is %v", g.State)
		}
		for range 5 {
			if _, n := read(); n != 1 {
				t.Error("it is cached in doubt")
			}
			// A write of another member: it puts nothing into a collection that is not there.
			if err := c.Update(t.Context(), "board", "bob", func(context.Context) (store.Change, float64, error) {
				return store.Change{Op: store.Remove, Element: store.Element{Member: "bob"}}, 0, nil
			}); err != nil {
				t.Error(err)
			}
			time.Sleep(longest / 10)
		}
		score.Store(7)
		time.Sleep(longest)
		read()
		if v, n := read(); v != 7 || n != 0 {
			t.Errorf("the score is %v, after %d loads", v, n)
		}
		// A certain error costs a load, and no time.
		c.Update(t.Context(), "board", "ada", func(context.Context) (store.Change, float64, error) {
			return store.Change{}, 0, engine.Final(errLost)
		})
		read()
		if _, n := read(); n != 0 {
			t.Error("it is not cached after an error that is final")
		}
	})
}
