package redis_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
)

// A full server grants no lease, and keeps no value that the database has changed.
func TestFullServer(t *testing.T) {
	server := redistest.Start(t, "--maxmemory-policy", "noeviction")
	s := open(t, server.URL())
	s.Put(t.Context(), []store.Put{{Key: "old", Value: []byte("1"), TTL: time.Minute}}, 0)
	s.Begin(t.Context(), []store.Intent{{Key: "begun", Token: "w1", Life: time.Minute}})
	server.Do(t, "CONFIG", "SET", "maxmemory", "100kb")

	full := func(verb string, err error) {
		t.Helper()
		if err == nil || !strings.Contains(err.Error(), "OOM") {
			t.Errorf("%s: got %v, want OOM", verb, err)
		}
	}
	passes := func(verb string, os []store.Outcome) {
		t.Helper()
		if os[0].Err != nil {
			t.Errorf("%s must pass: %v", verb, os[0].Err)
		}
	}
	full("acquire", s.Acquire(t.Context(), []store.Claim{{Key: "a", Token: "t1", Lease: time.Minute}})[0].Err)
	full("put", s.Put(t.Context(), []store.Put{{Key: "old", Value: []byte("2"), TTL: time.Minute}}, 0)[0].Err)
	if it := s.Get(t.Context(), "old", false); it.Found {
		t.Errorf("a put that was refused left %q", it.Value)
	}
	ends := s.End(t.Context(), []store.End{{Key: "begun", Token: "w1", Put: true, Value: []byte("2"), TTL: time.Minute}})
	if passes("end", ends); ends[0].OK {
		t.Error("the end of a write says that its value was put")
	}
	if n, _ := server.Do(t, "EXISTS", "begun", "{begun}:~l").AsInt64(); n != 0 {
		t.Error("the intent still stands")
	}
	passes("begin", s.Begin(t.Context(), []store.Intent{{Key: "b", Token: "w1", Life: time.Second}}))
	passes("end", s.End(t.Context(), []store.End{{Key: "b", Token: "w1"}}))
	for _, hold := range []time.Duration{0, time.Second} {
		passes("invalidate", s.Invalidate(t.Context(), []string{"a"}, hold))
	}
}

// An error that is none of a wrong type is not taken for one: somebody would delete the value as Dead.
func TestForbiddenCommandIsNoForeignType(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "u", "on", ">p", "~*", "+@all")
	s := open(t, "redis://u:p@"+server.Addr)
	server.Do(t, "ACL", "SETUSER", "u", "-get")
	if g := s.Acquire(t.Context(), []store.Claim{{Key: "a", Token: "t1", Lease: time.Minute}})[0]; g.Err == nil {
		t.Errorf("got %+v, want an error", g)
	}
}

func TestKilledServer(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	server.Kill()
	answersWithin(t, time.Second, func() {
		if it := s.Get(t.Context(), strings.Repeat("k", 1000), false); it.Err == nil || len(it.Err.Error()) > 300 {
			t.Errorf("got %v, want an error with a short key", it.Err)
		}
	})
}

func TestHungServer(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	server.Pause()
	soon, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	answersWithin(t, time.Second, func() {
		if it := s.Get(soon, "a", false); !errors.Is(it.Err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", it.Err)
		}
	})
	answersWithin(t, 5*time.Second, func() {
		if it := s.Get(t.Context(), "a", false); it.Err == nil {
			t.Error("no error without a deadline")
		}
	})
	left, leave := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, leave)
	answersWithin(t, time.Second, func() {
		if _, err := redis.Open(left, server.URL(), redis.Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("open: got %v, want that its caller left", err)
		}
	})
}

// A server hangs for longer than its connection is trusted: it takes a new one, and does not answer. No read waits for it
// longer than it wants to, however long others do; and when the server wakes up, it is used again.
func TestHungServerIsNotWaitedForAgain(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	server.Pause()
	var slowest time.Duration
	refused := 0
	for until := time.Now().Add(5 * time.Second); time.Now().Before(until); {
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
		began := time.Now()
		if it := s.Get(ctx, "a", false); it.Err == nil {
			t.Fatal("a hung server has answered")
		} else if !errors.Is(it.Err, context.DeadlineExceeded) {
			refused++
		}
		slowest = max(slowest, time.Since(began))
		cancel()
	}
	if slowest > 500*time.Millisecond {
		t.Errorf("a read of 25 ms took %v", slowest)
	}
	if refused == 0 {
		t.Error("the connection was never given up: the test shows nothing")
	}
	server.Continue()
	eventually.True(t, "it is awake, and used", func() bool {
		ctx, cancel := context.WithTimeout(t.Context(), 25*time.Millisecond)
		defer cancel()
		return s.Get(ctx, "a", false).Err == nil
	})
}

func answersWithin(t *testing.T, limit time.Duration, f func()) {
	t.Helper()
	begin := time.Now()
	if f(); time.Since(begin) > limit {
		t.Errorf("took %v, want at most %v", time.Since(begin), limit)
	}
}

// What is under way when Close comes ends as what comes after it.
func TestClose(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	server.Pause()
	asked, got := make(chan bool, 1), make(chan error)
	go func() {
		asked <- true
		got <- s.Get(context.Background(), "a", false).Err
	}()
	<-asked
	s.Close()
	if err := <-got; !errors.Is(err, store.ErrClosed) {
		t.Errorf("under way: %v", err)
	}
	_, usage := s.Usage(t.Context())
	for verb, err := range map[string]error{
		"get": s.Get(t.Context(), "a", true).Err, "get many": s.GetMany(t.Context(), []string{"a"}, true)[0].Err,
		"inspect": s.Inspect(t.Context(), []string{"a"})[0].Err, "acquire": s.Acquire(t.Context(), []store.Claim{{Key: "a"}})[0].Err,
		"fill": s.Fill(t.Context(), []store.Fill{{Key: "a"}})[0].Err, "release": s.Release(t.Context(), []store.Lease{{Key: "a"}})[0].Err,
		"invalidate": s.Invalidate(t.Context(), []string{"a"}, 0)[0].Err, "put": s.Put(t.Context(), []store.Put{{Key: "a"}}, 0)[0].Err,
		"begin": s.Begin(t.Context(), []store.Intent{{Key: "a"}})[0].Err, "end": s.End(t.Context(), []store.End{{Key: "a"}})[0].Err,
		"sweep": s.Sweep(t.Context(), "a*", nil), "usage": usage, "ping": s.Ping(t.Context()),
	} {
		if !errors.Is(err, store.ErrClosed) {
			t.Errorf("%s: %v", verb, err)
		}
	}
}

// A large batch on a connection of its own would overtake what was sent before it.
func TestLargeBatchStaysOnTheConnection(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	keys := make([]string, 3000)
	for i := range keys {
		keys[i] = strconv.Itoa(i)
	}
	for i, it := range s.GetMany(t.Context(), keys, true) {
		if it.Err != nil {
			t.Fatal(i, it.Err)
		}
	}
	for i, o := range s.Invalidate(t.Context(), keys, time.Second) {
		if o.Err != nil {
			t.Fatal(i, o.Err)
		}
	}
	clients, _ := server.Do(t, "CLIENT", "LIST").ToString()
	if n := strings.Count(clients, "name=nearside"); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

// Where scripts are forbidden all of a sudden, a lease that could be neither filled nor given back is taken once at most.
func TestScriptsForbidden(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "u", "on", ">p", "~*", "+@all")
	s := open(t, "redis://u:p@"+server.Addr)
	server.Do(t, "ACL", "SETUSER", "u", "-eval", "-evalsha")
	claim := func(key string) store.Grant {
		return s.Acquire(t.Context(), []store.Claim{{Key: key, Token: "t1", Lease: time.Minute}})[0]
	}
	if g := claim("a"); g.State != store.Granted {
		t.Fatalf("got %+v", g)
	}
	if o := s.Fill(t.Context(), []store.Fill{{Key: "a", Token: "t1", Value: []byte("1"), TTL: time.Minute}})[0]; o.Err == nil {
		t.Fatalf("got %+v", o)
	}
	for _, key := range []string{"b", "c"} {
		if g := claim(key); g.State != store.Barrier || g.Err != nil {
			t.Errorf("got %+v, want a barrier", g)
		}
		if n, _ := server.Do(t, "EXISTS", "{"+key+"}:~l").AsInt64(); n != 0 {
			t.Error("a lease was taken that nobody can give back")
		}
	}
	if ps := s.Problems(); len(ps) != 1 || !strings.Contains(ps[0], "+evalsha") {
		t.Errorf("problems: %q", ps)
	}
}
