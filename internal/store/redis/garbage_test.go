package redis_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
)

// What another program has left under the name of a sidecar is waited for as long as a lease lasts, or not at all, by every kind of
// claim: of values, of one that is stale, of many at once, and of collections.
func TestGarbageInASidecar(t *testing.T) {
	server := redistest.Shared(t)
	s, ctx := open(t, server.URL()), t.Context()
	const lease = 50 * time.Millisecond
	for name, write := range map[string][]string{
		"string":                {"SET", "foo"},
		"empty string":          {"SET", ""},
		"string for an hour":    {"SET", "foo", "EX", "3600"},
		"lease":                 {"SET", "t0123456789abcdef01234567"},
		"lease for an hour":     {"SET", "t0123456789abcdef01234567", "EX", "3600"},
		"end of a session":      {"SET", "e1700000000000"},
		"absence":               {"SET", "-"},
		"nearly an absence":     {"SET", "-x"},
		"hash":                  {"HSET", "a", "b"},
		"list":                  {"RPUSH", "a"},
		"set":                   {"SADD", "a"},
		"sorted set":            {"ZADD", "1", "a"},
		"stream":                {"XADD", "*", "a", "b"},
		"bytes that are binary": {"SET", "\x00\xff"},
	} {
		for kind, alter := range map[string]func(*store.Claim){
			"value":            func(*store.Claim) {},
			"value with TTL":   func(c *store.Claim) { c.TTL = true },
			"value with stale": func(c *store.Claim) { c.Stale = time.Minute },
			"set":              func(c *store.Claim) { c.Kind = store.Set },
			"list":             func(c *store.Claim) { c.Kind = store.List },
		} {
			for _, n := range []int{1, 3} {
				t.Run(fmt.Sprintf("%s/%s/%d", name, kind, n), func(t *testing.T) {
					server.Do(t, "FLUSHALL")
					var claims []store.Claim
					for i := range n {
						c := store.Claim{Key: fmt.Sprintf("{k}%d", i), Token: "t1", Lease: lease}
						alter(&c)
						claims = append(claims, c)
						server.Do(t, append([]string{write[0], c.Key + ":~l"}, write[1:]...)...)
					}
					began := time.Now()
					for len(claims) > 0 {
						var left []store.Claim
						for i, g := range s.Acquire(ctx, claims) {
							switch {
							case g.Err != nil:
								t.Fatal(g.Err)
							case g.State != store.Granted:
								claims[i].Again = true
								left = append(left, claims[i])
							}
						}
						if claims = left; len(left) > 0 && time.Since(began) > 10*time.Second {
							t.Fatalf("%d claims wait", len(left))
						}
						time.Sleep(2 * time.Millisecond)
					}
					for i := range n {
						if ttl, _ := server.Do(t, "PTTL", fmt.Sprintf("{k}%d:~l", i)).AsInt64(); ttl > lease.Milliseconds() {
							t.Errorf("the lease has %d ms left", ttl)
						}
					}
				})
			}
		}
	}
}

// A barrier without an end has one as soon as a claim has looked at it.
func TestBarrierWithoutAnEnd(t *testing.T) {
	server := redistest.Shared(t)
	s, ctx := open(t, server.URL()), t.Context()
	for _, content := range []string{"!", "!c,w1,", "!d,w1,w2,", "!foo"} {
		for _, kind := range []store.Kind{"", store.Set} {
			server.Do(t, "FLUSHALL")
			server.Do(t, "SET", "{k}:~l", content)
			var ttl int64
			for range 100 {
				if g := s.Acquire(ctx, []store.Claim{{Key: "k", Kind: kind, Token: "t1", Lease: time.Second}})[0]; g.State != store.Barrier || g.Err != nil {
					t.Fatalf("%s: %+v", content, g)
				}
				ttl, _ = server.Do(t, "TTL", "{k}:~l").AsInt64()
			}
			if day := int64(24 * 60 * 60); ttl > day || ttl < day-60 {
				t.Errorf("%s of kind %q ends in %d s", content, kind, ttl)
			}
		}
	}
	// The intent of a writer is not lost because another one comes.
	server.Do(t, "SET", "{k}:~l", "!c,w1,")
	s.Invalidate(ctx, []string{"k"}, 0)
	if ttl, _ := server.Do(t, "TTL", "{k}:~l").AsInt64(); ttl < 3600 {
		t.Errorf("after an invalidation it ends in %d s", ttl)
	}
}

// An error of the server about a sidecar is an error of the claim, and not the name of a holder.
func TestErrorsAreNoHolders(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "u", "on", ">p", "~*", "+@all")
	s, ctx := open(t, "redis://u:p@"+server.Addr), t.Context()
	server.Do(t, "ACL", "SETUSER", "u", "resetkeys", "%W~{k}:~l", "~k", "~nearside:*")
	server.Do(t, "SET", "{k}:~l", "t2", "PX", "60000")
	if g := s.Acquire(ctx, []store.Claim{{Key: "k", Token: "t1", Lease: time.Second}})[0]; g.Err == nil || g.Holder != "" {
		t.Errorf("got %+v, want an error", g)
	}
}

// A claim of a collection that fails halfway leaves no lease, which others would wait for.
func TestFailedClaimLeavesNoLease(t *testing.T) {
	for _, right := range []string{"unlink", "sadd", "rpush", "zadd", "hset", "pexpire"} {
		server := redistest.Start(t)
		server.Do(t, "ACL", "SETUSER", "u", "on", ">p", "~*", "+@all")
		s := open(t, "redis://u:p@"+server.Addr)
		server.Do(t, "ACL", "SETUSER", "u", "-"+right)
		for _, kind := range []store.Kind{store.List, store.Set, store.SortedSet, store.Hash} {
			key := string(kind)
			if g := s.Acquire(t.Context(), []store.Claim{{Key: key, Kind: kind, Token: "t1", Lease: time.Minute}})[0]; g.State == store.Granted {
				continue // it does not need the right
			}
			if n, _ := server.Do(t, "EXISTS", "{"+key+"}:~l", "{"+key+"}:~t", "{"+key+"}:~r").AsInt64(); n != 0 {
				t.Errorf("without %s, a claim of a %s leaves %d keys", right, kind, n)
			}
		}
	}
}
