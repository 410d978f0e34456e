package nearside_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/nearsidetest"
	"github.com/nearside/nearside/shape"
)

// story is what a trace was told, without the times.
type story struct {
	mu    sync.Mutex
	lines []string
}

func (s *story) tell(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lines = append(s.lines, fmt.Sprintf(format, args...))
}

func (s *story) told() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.lines)
}

// ends waits until a line is told, and returns all.
func (s *story) ends(t testing.TB, with string) (lines []string) {
	t.Helper()
	eventually.True(t, with, func() bool { lines = s.told(); return slices.Contains(lines, with) }, s)
	return lines
}

// String is for the test that waits in vain.
func (s *story) String() string { return strings.Join(s.told(), "\n") }

// reason is an error as far as the stories go.
func reason(err error) string {
	for _, known := range []error{nearside.ErrNotFound, nearside.ErrOverloaded, nearside.ErrTooLarge, nearside.ErrUnavailable, context.DeadlineExceeded} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	if err == nil {
		return "ok"
	}
	return err.Error()
}

// listen returns a context whose calls are told to the story.
func (s *story) listen(ctx context.Context) context.Context {
	return nearside.WithTrace(ctx, &nearside.Trace{
		Near: func(key string, found bool) { s.tell("%s near %t", key, found) },
		Store: func(key string, found bool, _ time.Duration, err error) {
			s.tell("%s store %t %s", key, found, reason(err))
		},
		Joined: func(key string) { s.tell("%s joined", key) },
		Claimed: func(key, state string, err error) {
			s.tell("%s claimed %s", key, strings.TrimSuffix(state+reason(err), "ok"))
		},
		LoadBegan:  func(key string) { s.tell("%s load", key) },
		LoadEnded:  func(key string, _ time.Duration, err error) { s.tell("%s loaded %s", key, reason(err)) },
		Filled:     func(key string, err error) { s.tell("%s filled %s", key, reason(err)) },
		WriteBegan: func(key string, err error) { s.tell("%s write %s", key, reason(err)) },
		WriteEnded: func(key string, _ time.Duration, err error) { s.tell("%s written %s", key, reason(err)) },
		Answered:   func(key string, from nearside.Source, err error) { s.tell("%s answered %s %s", key, from, reason(err)) },
	})
}

// expect compares a story with its lines, which are separated by commas.
func (s *story) expect(t testing.TB, want string) {
	t.Helper()
	if got := strings.Join(s.told(), ", "); got != want {
		t.Errorf("the story is\n%s, want\n%s", got, want)
	}
}

const missed = "user:1 store false ok, user:1 claimed granted, user:1 load, user:1 loaded ok, user:1 filled ok, user:1 answered load ok"

func TestTrace(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		users := nearside.New(c, "user", nearside.Config[int64, string]{Load: func(_ context.Context, id int64) (string, error) {
			if id < 0 {
				return "", nearside.ErrNotFound
			}
			return strings.Repeat("x", int(id)), nil
		}, MaxValue: 100})
		for _, step := range []struct {
			what string
			do   func(context.Context)
			want string
		}{
			{"a miss", func(ctx context.Context) { users.Get(ctx, 1) }, missed},
			{"a hit", func(ctx context.Context) { users.Get(ctx, 1) }, "user:1 store true ok, user:1 answered store ok"},
			{"a hit that is described", func(ctx context.Context) { users.GetEntry(ctx, 1) }, "user:1 store true ok, user:1 answered store ok"},
			{"hits of many", func(ctx context.Context) { users.GetMany(ctx, []int64{1, 1}) },
				"user:1 store true ok, user:1 store true ok, user:1 answered store ok, user:1 answered store ok"},
			{"no row", func(ctx context.Context) { users.Get(ctx, -1) },
				"user:-1 store false ok, user:-1 claimed granted, user:-1 load, user:-1 loaded not found, " +
					"user:-1 filled absences are not remembered: NotFoundTTL is off, user:-1 answered load not found"},
			{"a value that is too large", func(ctx context.Context) { users.Get(ctx, 100) },
				"user:100 store false ok, user:100 claimed granted, user:100 load, user:100 loaded ok, user:100 filled value too large, user:100 answered load ok"},
			{"a write", func(ctx context.Context) {
				users.Update(ctx, 1, func(context.Context) (string, error) { return "y", nil })
			}, "user:1 write ok, user:1 written ok, user:1 filled ok"},
			{"a write that fails", func(ctx context.Context) {
				users.Update(ctx, 1, func(context.Context) (string, error) { return "", nearside.NotCommitted(errors.New("refused")) })
			}, "user:1 write ok, user:1 written refused, user:1 filled it was invalidated: the write has put no value"},
			{"a write in doubt", func(ctx context.Context) {
				users.Update(ctx, 2, func(context.Context) (string, error) {
					return "", nearside.InDoubt(errors.New("lost"), func(context.Context) error { return nil })
				})
			}, "user:2 write ok, user:2 written lost, user:2 filled the outcome of the database write is not known"},
			{"a load beside a write", func(ctx context.Context) {
				users.Update(context.Background(), 1, func(context.Context) (string, error) { _, err := users.Get(ctx, 1); return "z", err })
			}, "user:1 store false ok, user:1 claimed barrier, user:1 load, user:1 loaded ok, " +
				"user:1 filled there is no lease: see what was claimed, user:1 answered load ok"},
			{"a transaction", func(ctx context.Context) {
				c.Mutate(ctx, func(context.Context) error { return nil }, users.Key(1))
			}, "user:1 write ok, user:1 written ok, user:1 filled it was invalidated: the write has put no value"},
			{"an end of the story", func(ctx context.Context) { users.Get(nearside.WithTrace(ctx, nil), 1) }, ""},
		} {
			var s story
			step.do(s.listen(t.Context()))
			if got := strings.Join(s.told(), ", "); got != step.want {
				t.Errorf("%s: the story is\n%s, want\n%s", step.what, got, step.want)
			}
		}
	})
}

func TestTraceOfMany(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		users := nearside.New(c, "user", nearside.Config[int64, string]{LoadMany: func(context.Context, []int64) (map[int64]string, error) {
			return map[int64]string{1: "Ada"}, nil
		}, NotFoundTTL: time.Minute})
		var s story
		users.GetMany(s.listen(t.Context()), []int64{1, 2})
		of := func(key string) (out []string) {
			for _, l := range s.told() {
				if rest, ok := strings.CutPrefix(l, key+" "); ok {
					out = append(out, rest)
				}
			}
			return out
		}
		if got, want := strings.Join(of("user:1"), ", "), strings.ReplaceAll(missed, "user:1 ", ""); got != want {
			t.Errorf("the story of 1 is\n%s, want\n%s", got, want)
		}
		if got, want := strings.Join(of("user:2"), ", "), "store false ok, claimed granted, load, loaded not found, filled ok, answered load not found"; got != want {
			t.Errorf("the story of 2 is\n%s, want\n%s", got, want)
		}
	})
}

func TestTraceNear(t *testing.T) {
	server := redistest.Shared(t)
	server.Do(t, "FLUSHALL")
	_, users := nearby(t, server.URL(), nil)
	source(t, users, nearside.SourceNear)
	for what, get := range map[string]func(context.Context){
		"Get":      func(ctx context.Context) { users.Get(ctx, 42) },
		"GetEntry": func(ctx context.Context) { users.GetEntry(ctx, 42) },
		"GetMany":  func(ctx context.Context) { users.GetMany(ctx, []int64{42}) },
	} {
		var s story
		get(s.listen(t.Context()))
		if got, want := strings.Join(s.told(), ", "), "user:42 near true, user:42 answered near ok"; got != want {
			t.Errorf("%s: the story is %s, want %s", what, got, want)
		}
	}
	var s story
	users.Get(s.listen(t.Context()), 1)
	if first := s.told()[0]; first != "user:1 near false" {
		t.Errorf("the story of what is not near begins with %s", first)
	}
}

// A stale value is answered at once; the load behind it is told too.
func TestTraceStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		users := nearside.New(nearsidetest.New(t), "user", nearside.Config[int64, string]{
			Load: func(context.Context, int64) (string, error) { return "Ada", nil }, TTL: time.Second, Stale: time.Hour, Jitter: -1,
		})
		users.Get(t.Context(), 1)
		time.Sleep(2 * time.Second)
		var s story
		users.Get(s.listen(t.Context()), 1)
		synctest.Wait()
		lines := s.told()
		slices.Sort(lines) // the load runs beside the answer
		want := []string{"user:1 answered stale ok", "user:1 claimed refresh", "user:1 filled ok", "user:1 load", "user:1 loaded ok", "user:1 store true ok"}
		if !slices.Equal(lines, want) {
			t.Errorf("the story has\n%q, want\n%q", lines, want)
		}
	})
}

func TestTraceOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		end := make(chan struct{})
		users := nearside.New(nearsidetest.New(t), "user", nearside.Config[int64, string]{
			Load:     func(context.Context, int64) (string, error) { <-end; return "Ada", nil }, // deaf: it keeps its place
			MaxLoads: 1, LoadTimeout: time.Second,
		})
		users.Prefetch(t.Context(), 2)
		synctest.Wait()
		var s story
		users.Get(s.listen(t.Context()), 1)
		s.expect(t, "user:1 store false ok, user:1 claimed granted, user:1 loaded overloaded, user:1 answered  overloaded")
		close(end)
	})
}

// Two callers of one process, and one of another, want a row at once.
func TestTraceWaits(t *testing.T) {
	server := redistest.Shared(t)
	server.Do(t, "FLUSHALL")
	began, end := make(chan struct{}), make(chan struct{})
	open := func(load func(context.Context, int64) (string, error)) *nearside.Cache[int64, string] {
		return nearside.New(connect(t, server.URL()), "user", nearside.Config[int64, string]{Load: load})
	}
	one := open(func(context.Context, int64) (string, error) { close(began); <-end; return "Ada", nil })
	other := open(func(context.Context, int64) (string, error) { t.Error("a second load"); return "", nil })
	var first, joins, waits story
	var all sync.WaitGroup
	all.Go(func() { one.Get(first.listen(t.Context()), 1) })
	<-began
	all.Go(func() { one.Get(joins.listen(t.Context()), 1) })
	joins.ends(t, "user:1 joined")
	all.Go(func() { other.Get(waits.listen(t.Context()), 1) })
	waits.ends(t, "user:1 claimed waiting")
	close(end)
	all.Wait()
	first.expect(t, missed)
	joins.expect(t, "user:1 store false ok, user:1 joined, user:1 answered load ok")
	waits.expect(t, "user:1 store false ok, user:1 claimed waiting, user:1 claimed hit, user:1 answered store ok")
}

func TestTraceRedisAway(t *testing.T) {
	client := nearsidetest.New(t)
	users := nearside.New(client, "user", nearside.Config[int64, string]{Load: func(context.Context, int64) (string, error) { return "Ada", nil }})
	defer nearsidetest.Break(t, client)()
	var s story
	users.Get(s.listen(t.Context()), 1)
	lines := s.told()
	if len(lines) != 5 || !strings.HasPrefix(lines[0], "user:1 store false ") || lines[0] == "user:1 store false ok" {
		t.Fatalf("the story is %q", lines)
	}
	want := []string{"user:1 load", "user:1 loaded ok", "user:1 filled the store was not asked: it is away, or an invalidation is pending", "user:1 answered load ok"}
	if !slices.Equal(lines[1:], want) {
		t.Errorf("the story is %q", lines)
	}
	var w story
	users.Update(w.listen(t.Context()), 1, func(context.Context) (string, error) { return "Bob", nil })
	if lines = w.told(); len(lines) != 3 || lines[0] == "user:1 write ok" || lines[1] != "user:1 written ok" || lines[2] == "user:1 filled ok" {
		t.Errorf("the story of a write is %q", lines)
	}
	var p story
	users.Get(p.listen(t.Context()), 1)
	if first, want := p.told()[0], "user:1 store false the store was not asked: it is away, or an invalidation is pending"; first != want {
		t.Errorf("with an invalidation pending the story begins with %q, want %q", first, want)
	}
}

func TestTraceOfShapes(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		friends := shape.NewSet(c, "user", shape.SetConfig[int64, string]{
			Load: func(context.Context, int64) ([]string, error) { return []string{"Ada", "Bob"}, nil },
		})
		var miss, hit, write story
		if ok, err := friends.Has(miss.listen(t.Context()), 1, "Ada"); !ok || err != nil {
			t.Fatal(ok, err)
		}
		miss.expect(t, missed)
		friends.Has(hit.listen(t.Context()), 1, "Ada")
		hit.expect(t, "user:1 store true ok, user:1 answered store ok")
		friends.Update(write.listen(t.Context()), 1, "Eve", func(context.Context) error { return nil })
		write.expect(t, "user:1 write ok, user:1 written ok, user:1 filled ok")
	})
}
