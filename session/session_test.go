package session_test

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

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/session"
)

func connect(t testing.TB, url string) *nearside.Client {
	t.Helper()
	c, err := nearside.Open(t.Context(), url, nearside.Options{RequireRedis: true, WriteBudget: 30 * time.Second, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// stores runs a test on the memory store and on every kind of Redis.
func stores(t *testing.T, test func(t *testing.T, c *nearside.Client)) {
	t.Run("memory", func(t *testing.T) { test(t, connect(t, "memory:")) })
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			test(t, connect(t, server.URL()))
			server.Invariants(t, "session:")
		})
	}
}

// finds checks what stands under a token; "" stands for no session.
func finds(t testing.TB, s *session.Store, token, want string) {
	t.Helper()
	b, found, err := s.Find(token)
	if err != nil || found != (want != "") || string(b) != want {
		t.Errorf("find %.20q: %.20q, %v, %v, want %.20q", token, b, found, err, want)
	}
}

func commit(t testing.TB, s *session.Store, token, b string, expiry time.Time) {
	t.Helper()
	if err := s.Commit(token, []byte(b), expiry); err != nil {
		t.Errorf("commit: %v", err)
	}
}

// left checks how long a session lives; zero stands for no session.
func left(t testing.TB, s *session.Store, token string, want time.Duration) {
	t.Helper()
	got, err := s.TTL(t.Context(), token)
	if want == 0 {
		if !errors.Is(err, nearside.ErrNotFound) {
			t.Errorf("TTL %v, %v, want no session", got, err)
		}
	} else if err != nil || got > want || got < want-10*time.Second {
		t.Errorf("TTL %v, %v, want %v", got, err, want)
	}
}

func TestSessions(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		s := session.New(c, session.Config{})
		finds(t, s, "tok", "")
		left(t, s, "tok", 0)
		if err := s.Delete("tok"); err != nil {
			t.Errorf("delete nothing: %v", err)
		}
		commit(t, s, "tok", "1", time.Time{})
		left(t, s, "tok", 30*time.Minute)
		finds(t, s, "tok", "1")
		commit(t, s, "tok", "2", time.Now().Add(24*time.Hour))
		finds(t, s, "tok", "2")
		left(t, s, "tok", 30*time.Minute)
		commit(t, s, "tok", "3", time.Now().Add(10*time.Minute))
		left(t, s, "tok", 10*time.Minute)
		finds(t, s, "tok", "3")
		left(t, s, "tok", 10*time.Minute)
		commit(t, s, "tok", "4", time.Now().Add(-time.Second))
		finds(t, s, "tok", "")
		commit(t, s, "tok", "\x00\r\n\xff", time.Time{})
		finds(t, s, "tok", "\x00\r\n\xff")
		if err := s.Delete("tok"); err != nil {
			t.Errorf("delete: %v", err)
		}
		finds(t, s, "tok", "")
		left(t, s, "tok", 0)
		if got := s.Stats(); got.Found != 4 || got.Missing != 3 || got.Saved != 4 || got.Failed != 0 {
			t.Errorf("stats: %+v", got)
		}
	})
}

func TestAbsolute(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		s := session.New(c, session.Config{Absolute: true})
		commit(t, s, "a", "1", time.Now().Add(2*time.Minute))
		commit(t, s, "b", "1", time.Now().Add(24*time.Hour))
		commit(t, s, "c", "1", time.Time{})
		for token, life := range map[string]time.Duration{"a": 2 * time.Minute, "b": 24 * time.Hour, "c": 30 * time.Minute} {
			finds(t, s, token, "1")
			left(t, s, token, life)
		}
	})
}

// On the clock of synctest the lives are exact.
func TestLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := connect(t, "memory:")
		s := session.New(c, session.Config{})
		commit(t, s, "used", "1", time.Now().Add(2*time.Hour))
		commit(t, s, "endless", "1", time.Time{})
		commit(t, s, "idle", "1", time.Now().Add(2*time.Hour))
		for range 4 { // 100 min: each Find prolongs by 30
			time.Sleep(25 * time.Minute)
			finds(t, s, "used", "1")
			finds(t, s, "endless", "1")
			if ttl, err := s.TTL(t.Context(), "endless"); ttl != 30*time.Minute || err != nil {
				t.Errorf("TTL %v, %v, want 30 min", ttl, err)
			}
		}
		finds(t, s, "idle", "")
		if ttl, _ := s.TTL(t.Context(), "used"); ttl != 20*time.Minute {
			t.Errorf("TTL %v, want what is left of two hours", ttl)
		}
		time.Sleep(20*time.Minute - time.Millisecond)
		finds(t, s, "used", "1")
		time.Sleep(time.Millisecond)
		finds(t, s, "used", "")
		finds(t, s, "endless", "1")
	})
	synctest.Test(t, func(t *testing.T) {
		s := session.New(connect(t, "memory:"), session.Config{Absolute: true, TTL: time.Hour})
		commit(t, s, "a", "1", time.Time{})
		time.Sleep(time.Hour - time.Millisecond)
		finds(t, s, "a", "1")
		time.Sleep(time.Millisecond)
		finds(t, s, "a", "")
	})
}

// What redis-cli shows: the bytes, and the TTL that the store tells.
func TestPlainInRedis(t *testing.T) {
	server := redistest.Shared(t)
	server.FlushAll(t)
	s := session.New(connect(t, server.URL()), session.Config{})
	commit(t, s, "tok", "bytes", time.Time{})
	if v, _ := server.Do(t, "GET", "session:tok").ToString(); v != "bytes" {
		t.Errorf("GET session:tok: %q", v)
	}
	server.Do(t, "EXPIRE", "session:tok", "100")
	if n, _ := server.Do(t, "TTL", "session:tok").AsInt64(); n < 90 || n > 100 {
		t.Errorf("TTL session:tok: %d", n)
	}
	left(t, s, "tok", 100*time.Second)
	finds(t, s, "tok", "bytes")
	if n, _ := server.Do(t, "TTL", "session:tok").AsInt64(); n < 1790 || n > 1800 {
		t.Errorf("TTL session:tok behind a Find: %d", n)
	}
	// A process that was set to Absolute prolongs no session of one that was not.
	server.Do(t, "EXPIRE", "session:tok", "100")
	absolute := session.New(connect(t, server.URL()), session.Config{Absolute: true})
	finds(t, absolute, "tok", "bytes")
	left(t, s, "tok", 100*time.Second)
	server.Invariants(t, "session:")
}

// garbage is what a browser may send for a session cookie, or somebody who tries things.
var garbage = []string{
	"", " ", "a b", "\x00", "tok\x00", "\r\n", "tok\r\nDEL x", "\xff\xfe", "ü", `"tok"`, `a\b`, "{tok}", "{a}b", "}{", "{", "tok:~l", ":~l", "a:~z", "~a",
	strings.Repeat("x", 513), strings.Repeat("x", 64<<10), strings.Repeat("x", 1<<20), strings.Repeat("\x00", 1<<20),
}

func TestGarbage(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		s := session.New(c, session.Config{})
		for _, token := range garbage {
			finds(t, s, token, "")
			left(t, s, token, 0)
			if err := s.Delete(token); err != nil {
				t.Errorf("delete %.20q: %v", token, err)
			}
			err := s.Commit(token, []byte("1"), time.Time{})
			if !errors.Is(err, nearside.ErrKey) || len(err.Error()) > 300 {
				t.Errorf("commit %.20q: %.400v", token, err)
			}
			finds(t, s, token, "")
		}
		for _, token := range []string{"~", "*", "a:b", "a:~", "session:tok", strings.Repeat("x", 512), "?[a]"} {
			commit(t, s, token, "1", time.Time{})
			finds(t, s, token, "1")
		}
	})
}

func FuzzToken(f *testing.F) {
	for _, token := range garbage {
		if len(token) < 1000 {
			f.Add(token)
		}
	}
	f.Add("dGhlIHRva2VuIG9mIGEgc2Vzc2lvbg")
	c, err := nearside.Open(context.Background(), "memory:", nearside.Options{})
	if err != nil {
		f.Fatal(err)
	}
	f.Cleanup(func() { c.Close() })
	s := session.New(c, session.Config{})
	f.Fuzz(func(t *testing.T, token string) {
		_, before, err := s.Find(token)
		committed := s.Commit(token, []byte("1"), time.Time{})
		_, found, err2 := s.Find(token)
		if before || err != nil || err2 != nil || found != (committed == nil) {
			t.Errorf("found before %v, %v; committed %v; found %v, %v", before, err, committed, found, err2)
		}
		if err := s.Delete(token); err != nil {
			t.Error(err)
		}
	})
}

func TestTooLarge(t *testing.T) {
	s := session.New(connect(t, "memory:"), session.Config{MaxValue: 10})
	if err := s.Commit("tok", make([]byte, 11), time.Time{}); !errors.Is(err, nearside.ErrTooLarge) {
		t.Errorf("got %v", err)
	}
	commit(t, s, "tok", "0123456789", time.Time{})
}

// The bytes are the caller's own, on the way in and on the way out.
func TestBytesAreCopied(t *testing.T) {
	s := session.New(connect(t, "memory:"), session.Config{})
	b := []byte("1")
	if err := s.Commit("tok", b, time.Time{}); err != nil {
		t.Fatal(err)
	}
	b[0] = 'x'
	got, _, _ := s.Find("tok")
	got[0] = 'y'
	finds(t, s, "tok", "1")
}

func TestAll(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		s := session.New(c, session.Config{})
		other := session.New(c, session.Config{Name: "session2", TTL: time.Second})
		if all, err := s.All(); all == nil || len(all) != 0 || err != nil {
			t.Errorf("no sessions: %v, %v", all, err)
		}
		for i := range 600 {
			commit(t, s, fmt.Sprintf("tok%d", i), fmt.Sprint(i), time.Time{})
		}
		commit(t, other, "other", "1", time.Time{})
		all, err := s.AllCtx(t.Context())
		if err != nil || len(all) != 600 {
			t.Fatalf("%d sessions, %v", len(all), err)
		}
		for token, b := range all {
			if token != "tok"+string(b) {
				t.Errorf("%s: %s", token, b)
			}
		}
		if err := other.Delete("other"); err != nil {
			t.Error(err)
		}
	})
}

// Many requests of one browser: those that read take nothing from those that write.
func TestReadersTakeNothingFromWriters(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		s := session.New(c, session.Config{})
		stop := make(chan struct{})
		var readers sync.WaitGroup
		for range 8 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						if _, _, err := s.Find("tok"); err != nil {
							t.Error(err)
							return
						}
					}
				}
			})
		}
		for i := range 300 {
			v := fmt.Sprint(i)
			commit(t, s, "tok", v, time.Now().Add(time.Hour))
			finds(t, s, "tok", v)
		}
		if err := s.Delete("tok"); err != nil {
			t.Error(err)
		}
		close(stop)
		readers.Wait()
		finds(t, s, "tok", "")
		left(t, s, "tok", 0)
	})
}

// While Redis is away nobody knows of a session: that is an error, and no new session. Afterwards it is there. No error
// tells a token.
func TestRedisAway(t *testing.T) {
	const token = "aSecretTokenOfFortyThreeBytesThatOpensDoors"
	server := redistest.Start(t)
	var log bytes.Buffer
	c, err := nearside.Open(t.Context(), server.URL(), nearside.Options{RequireRedis: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatal(err)
	}
	s := session.New(c, session.Config{})
	commit(t, s, token, "1", time.Time{})
	server.Pause()
	fails := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, nearside.ErrUnavailable) || strings.Contains(err.Error(), "aSecret") || !strings.Contains(err.Error(), "session") {
			t.Errorf("%s: %v", what, err)
		}
	}
	for range 3 { // until the answer is missed, and then without asking
		began := time.Now()
		_, found, err := s.Find(token)
		fails("find", err)
		if took := time.Since(began); found || took > 3*time.Second {
			t.Errorf("found %v after %v", found, took)
		}
		fails("commit", s.Commit(token, []byte("2"), time.Time{}))
		fails("delete", s.Delete(token))
		_, err = s.TTL(t.Context(), token)
		fails("TTL", err)
		_, err = s.All()
		fails("all", err)
	}
	finds(t, s, "gar bage", "")
	server.Continue()
	eventually.True(t, "Redis is used again", func() bool { _, _, err := s.Find("other"); return err == nil })
	commit(t, s, token, "3", time.Time{})
	finds(t, s, token, "3")
	if err := c.Close(); err != nil {
		t.Error(err)
	}
	if strings.Contains(log.String(), "aSecret") {
		t.Errorf("a token is in the log: %s", log.String())
	}
	_, _, err = s.Find(token)
	if !errors.Is(err, nearside.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	if err := s.Commit(token, nil, time.Time{}); !errors.Is(err, nearside.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
}

// A caller who leaves hears so; what he committed or deleted is done all the same.
func TestCallerLeaves(t *testing.T) {
	stores(t, func(t *testing.T, c *nearside.Client) {
		s := session.New(c, session.Config{})
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		if err := s.CommitCtx(gone, "tok", []byte("1"), time.Time{}); err != nil {
			t.Errorf("commit: %v", err)
		}
		if _, _, err := s.FindCtx(gone, "tok"); !errors.Is(err, context.Canceled) || errors.Is(err, nearside.ErrUnavailable) {
			t.Errorf("find: %v", err)
		}
		finds(t, s, "tok", "1")
		if err := s.DeleteCtx(gone, "tok"); err != nil {
			t.Errorf("delete: %v", err)
		}
		finds(t, s, "tok", "")
	})
}

func TestNewPanics(t *testing.T) {
	c := connect(t, "memory:")
	session.New(c, session.Config{})
	for want, cfg := range map[string]session.Config{
		"already":  {},
		"name":     {Name: "A:b"},
		"TTL":      {Name: "a", TTL: -1},
		"MaxValue": {Name: "b", MaxValue: -1},
	} {
		func() {
			defer func() {
				if p := fmt.Sprint(recover()); !strings.Contains(p, want) || !strings.HasPrefix(p, "session.New") {
					t.Errorf("%+v: %s", cfg, p)
				}
			}()
			session.New(c, cfg)
		}()
	}
}
