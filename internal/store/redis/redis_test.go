package redis_test

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
	"github.com/nearside/nearside/internal/store/storetest"
)

func TestMain(m *testing.M) {
	status := redistest.Main(m)
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func open(t testing.TB, url string) *redis.Store {
	t.Helper()
	return openWith(t, url, redis.Options{})
}

func TestConformance(t *testing.T) {
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			storetest.Run(t, func(t testing.TB) store.Store {
				server.FlushAll(t)
				return open(t, server.URL())
			})
		})
	}
}

func TestConformanceOnASocket(t *testing.T) {
	server := redistest.Shared(t)
	server.Do(t, "FLUSHALL")
	s := open(t, server.UnixURL()+"?db=3")
	s.Put(t.Context(), []store.Put{{Key: "a", Value: []byte("1"), TTL: time.Minute}}, 0)
	if got := s.Get(t.Context(), "a", false); string(got.Value) != "1" {
		t.Errorf("got %+v", got)
	}
	if n, _ := server.Do(t, "DBSIZE").AsInt64(); n != 0 {
		t.Error("the value stands in database 0, want 3")
	}
}

// A server that has forgotten the scripts is sent them again, in a batch too.
func TestScriptFlush(t *testing.T) {
	server := redistest.Shared(t)
	s := open(t, server.URL())
	for range 3 {
		server.Do(t, "FLUSHALL")
		server.Do(t, "SCRIPT", "FLUSH")
		gs := s.Acquire(t.Context(), []store.Claim{{Key: "a", Token: "t1", Lease: time.Minute}, {Key: "b", Token: "t2", Lease: time.Minute}})
		for _, g := range gs {
			if g.State != store.Granted {
				t.Errorf("got %+v", g)
			}
		}
		server.Do(t, "SCRIPT", "FLUSH")
		for _, o := range s.Fill(t.Context(), []store.Fill{{Key: "a", Token: "t1", Value: []byte("1"), TTL: time.Minute}, {Key: "b", Token: "t2", Absent: true, TTL: time.Minute}}) {
			if !o.OK || o.Err != nil {
				t.Errorf("got %+v", o)
			}
		}
		if o := s.Invalidate(t.Context(), []string{"a"}, 0)[0]; o.Err != nil {
			t.Error(o.Err)
		}
	}
}

// Keys that go in one command fail alone all the same.
func TestBatchWithAKeyThatIsForbidden(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "u", "on", ">p", "~nearside:*", "~ok:*", "~{ok:*", "+@all")
	s, ctx := open(t, "redis://u:p@"+server.Addr), t.Context()
	for _, token := range []func(i int) string{strconv.Itoa, func(int) string { return "t" }} { // with one token they are claimed by one command
		server.Do(t, "FLUSHALL")
		var claims []store.Claim
		var fills []store.Fill
		for i, key := range []string{"ok:1", "no:1", "ok:2"} {
			claims = append(claims, store.Claim{Key: key, Token: token(i), Lease: time.Minute})
			fills = append(fills, store.Fill{Key: key, Token: token(i), Value: []byte(key), TTL: time.Minute})
		}
		grants := s.Acquire(ctx, claims)
		for i, o := range s.Fill(ctx, fills) {
			if g := grants[i]; i == 1 {
				if g.Err == nil || o.Err == nil {
					t.Errorf("%s: %+v, %+v; want errors", fills[i].Key, g, o)
				}
			} else if g.State != store.Granted || !o.OK || o.Err != nil {
				t.Errorf("%s: %+v, %+v", fills[i].Key, g, o)
			}
		}
	}
}

// A fill replaces another type that a batch of claims has taken for nothing.
func TestBatchWithAKeyOfAnotherType(t *testing.T) {
	server := redistest.Shared(t)
	s, ctx := open(t, server.URL()), t.Context()
	server.Do(t, "FLUSHALL")
	server.Do(t, "RPUSH", "a", "1")
	server.Do(t, "RPUSH", "b", "1")
	for _, g := range s.Acquire(ctx, []store.Claim{{Key: "a", Token: "t1", Lease: time.Minute}, {Key: "b", Token: "t1", Lease: time.Minute}}) {
		if g.State != store.Granted {
			t.Errorf("acquire: %+v", g)
		}
	}
	for _, o := range s.Fill(ctx, []store.Fill{{Key: "a", Token: "t1", Value: []byte("v"), TTL: time.Minute}, {Key: "b", Token: "t1", Absent: true, TTL: time.Minute}}) {
		if !o.OK || o.Err != nil {
			t.Errorf("fill: %+v", o)
		}
	}
	if v, _ := server.Do(t, "GET", "a").ToString(); v != "v" {
		t.Errorf("a holds %q", v)
	}
	if n, _ := server.Do(t, "EXISTS", "b").AsInt64(); n != 0 {
		t.Error("what is known to be absent is there")
	}
}

// A sidecar of another type is nothing that a batch can wait for: it is removed.
func TestBatchWithASidecarOfAnotherType(t *testing.T) {
	server := redistest.Shared(t)
	s, ctx := open(t, server.URL()), t.Context()
	server.Do(t, "FLUSHALL")
	server.Do(t, "RPUSH", "{b}:~l", "1")
	claims := []store.Claim{{Key: "a", Token: "t", Lease: time.Minute}, {Key: "b", Token: "t", Lease: time.Minute}, {Key: "c", Token: "t", Lease: time.Minute}}
	for i, g := range s.Acquire(ctx, claims) {
		if g.State != store.Granted || g.Err != nil {
			t.Errorf("%s: %+v", claims[i].Key, g)
		}
	}
}

// Somebody's list under our key is a miss, and is deleted by whoever names it.
func TestKeyOfAnotherType(t *testing.T) {
	server := redistest.Shared(t)
	s := open(t, server.URL())
	server.Do(t, "FLUSHALL")
	server.Do(t, "RPUSH", "a", "1")
	for _, ttl := range []bool{false, true} {
		if it := s.Get(t.Context(), "a", ttl); it.Found || it.Err != nil {
			t.Errorf("get: %+v", it)
		}
		if it := s.GetMany(t.Context(), []string{"a"}, ttl)[0]; it.Found || it.Err != nil {
			t.Errorf("get many: %+v", it)
		}
	}
	if i := s.Inspect(t.Context(), []string{"a"})[0]; i.Type != "list" || i.TTL != store.NoTTL {
		t.Errorf("inspect: %+v", i)
	}
	claim := store.Claim{Key: "a", Token: "t1", Lease: time.Minute}
	if g := s.Acquire(t.Context(), []store.Claim{claim})[0]; g.State != store.Foreign || g.Holder != "list" {
		t.Errorf("acquire: %+v", g)
	}
	claim.Dead = &store.Dead{Type: "set"}
	if g := s.Acquire(t.Context(), []store.Claim{claim})[0]; g.State != store.Foreign {
		t.Errorf("another type named: %+v", g)
	}
	claim.Dead = &store.Dead{Type: "list"}
	if g := s.Acquire(t.Context(), []store.Claim{claim})[0]; g.State != store.Granted {
		t.Errorf("the type named: %+v", g)
	}
}

func TestValuesArePlainAndEverythingExpires(t *testing.T) {
	server := redistest.Shared(t)
	s := open(t, server.URL())
	server.Do(t, "FLUSHALL")
	s.Acquire(t.Context(), []store.Claim{{Key: "user:42", Token: "t1", Lease: time.Minute}})
	if ttl, _ := server.Do(t, "PTTL", "{user:42}:~l").AsInt64(); ttl <= 0 {
		t.Errorf("the lease lives %d ms", ttl)
	}
	s.Fill(t.Context(), []store.Fill{{Key: "user:42", Token: "t1", Value: []byte(`{"id":42}`), TTL: time.Minute}})
	if v, _ := server.Do(t, "GET", "user:42").ToString(); v != `{"id":42}` {
		t.Errorf("redis-cli would show %q", v)
	}
	s.Begin(t.Context(), []store.Intent{{Key: "user:7", Token: "w1", Life: time.Second}})
	s.Invalidate(t.Context(), []string{"user:8"}, time.Second)
	if n, _ := server.Do(t, "EVAL", `local n = 0; for _, k in ipairs(redis.call('keys', '*')) do if not k:find('^nearside:') then n = n + 1 end end; return n`, "0").AsInt64(); n != 3 {
		t.Errorf("%d keys, want the value, an intent and a hold", n)
	}
	server.Invariants(t, "user:")
}

func TestOpenErrors(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "s3cret!")
	for url, want := range map[string]string{
		"redis://127.0.0.1:1":                       "is the server running there?",
		server.URL():                                "check the user and the password",
		"redis://:wr0ng@" + server.Addr:             "check the user and the password",
		"redis://:s3cret%21@" + server.Addr + "/99": "check the number of the database",
		"unix:///nowhere/redis.sock":                "is the server running there?",
		"unix://nowhere/redis.sock":                 "three slashes",
		"rediss://:s3cret%21@" + server.Addr:        "the server answers there without TLS; use redis://",
		"http://:s3cret%21@localhost":               "unknown scheme",
		"redis://:s3cret!%zz@localhost":             "cannot be parsed",
		"redis://:s3cret%21@localhost/x":            "expected a number",
		"redis://s3cret@localhost/x":                "expected a number",
		"redis://localhost?password=s3cret":         `unexpected parameter "password"`,
		"redis-cluster://s3cret@localhost":          `unknown scheme "redis-cluster"`,
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		s, err := redis.Open(ctx, url, redis.Options{Require: true})
		cancel()
		if err == nil {
			s.Close()
			t.Errorf("%s: no error", url)
			continue
		}
		text := err.Error()
		if !strings.Contains(text, want) {
			t.Errorf("%s:\n got %s\nwant %s", url, text, want)
		}
		for _, secret := range []string{"s3cret", "wr0ng"} {
			if strings.Contains(text, secret) {
				t.Errorf("the password is in %q", text)
			}
		}
	}
}
