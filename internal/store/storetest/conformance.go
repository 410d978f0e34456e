// Package storetest is the conformance suite that every store must pass. Package checker is the randomized half of it.
package storetest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
)

const long = time.Minute

// kit is a store under test, with the verbs for one key.
type kit struct {
	testing.TB
	store.Store
	ctx context.Context
	ttl bool // Claim.TTL of all claims
}

func (k kit) acquire(key, token string, change ...func(*store.Claim)) store.Grant {
	k.Helper()
	c := store.Claim{Key: key, Token: token, Lease: long, TTL: k.ttl}
	for _, f := range change {
		f(&c)
	}
	g := k.Acquire(k.ctx, []store.Claim{c})[0]
	if g.Err != nil {
		k.Fatalf("acquire %q: %v", key, g.Err)
	}
	return g
}

func (k kit) one(verb string, out []store.Outcome) bool {
	k.Helper()
	if out[0].Err != nil {
		k.Fatalf("%s: %v", verb, out[0].Err)
	}
	return out[0].OK
}

func (k kit) fill(key, token, value string) bool {
	k.Helper()
	return k.one("fill", k.Fill(k.ctx, []store.Fill{{Key: key, Token: token, Value: []byte(value), TTL: long}}))
}

func (k kit) absent(key, token string, ttl time.Duration) bool {
	k.Helper()
	return k.one("fill", k.Fill(k.ctx, []store.Fill{{Key: key, Token: token, Absent: true, TTL: ttl}}))
}

func (k kit) release(key, token string) bool {
	k.Helper()
	return k.one("release", k.Release(k.ctx, []store.Lease{{Key: key, Token: token}}))
}

func (k kit) renew(key, token string, life time.Duration) bool {
	k.Helper()
	return k.one("renew", k.Renew(k.ctx, []store.Lease{{Key: key, Token: token}}, life))
}

func (k kit) swept(key string) {
	k.Helper()
	if err := k.Sweep(k.ctx, key, nil); err != nil {
		k.Fatalf("sweep of %q: %v", key, err)
	}
}

func (k kit) invalidate(key string, hold time.Duration) bool {
	k.Helper()
	return k.one("invalidate", k.Invalidate(k.ctx, []string{key}, hold))
}

func (k kit) put(key, value string, ttl time.Duration) {
	k.Helper()
	k.one("put", k.Put(k.ctx, []store.Put{{Key: key, Value: []byte(value), TTL: ttl}}, 0))
}

func (k kit) begin(key, token string, earlier ...string) {
	k.Helper()
	k.one("begin", k.Begin(k.ctx, []store.Intent{{Key: key, Token: token, Earlier: earlier, Life: long}}))
}

func (k kit) end(key, token, value string, earlier ...string) bool {
	k.Helper()
	return k.one("end", k.End(k.ctx, []store.End{{Key: key, Token: token, Earlier: earlier, Value: []byte(value), Put: value != "", TTL: long}}))
}

// holds checks the value of a key; "" stands for none.
func (k kit) holds(key, want string) {
	k.Helper()
	it := k.Get(k.ctx, key, false)
	if it.Err != nil {
		k.Fatalf("get %q: %v", key, it.Err)
	}
	if string(it.Value) != want || it.Found != (want != "") {
		k.Errorf("%q holds %q (found %v), want %q", key, it.Value, it.Found, want)
	}
}

func (k kit) state(what string, g store.Grant, want store.State) {
	k.Helper()
	if g.State != want {
		k.Errorf("%s: state %c, want %c", what, g.State, want)
	}
}

func (k kit) is(what string, got, want bool) {
	k.Helper()
	if got != want {
		k.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// pass waits until so much time has passed on the store's own clock.
func (k kit) pass(d time.Duration) {
	k.Helper()
	k.put("time passes", "x", d)
	eventually.True(k, "time passes", func() bool { return !k.Get(k.ctx, "time passes", false).Found })
}

// errs calls every verb on a key that holds a value, and returns the errors.
func (k kit) errs(ctx context.Context) map[string]error {
	_, usage := k.Usage(ctx)
	change := store.Change{Key: "b", Kind: store.Set, Op: store.Add, Element: store.Element{Member: "m"}}
	return map[string]error{
		"get":        k.Get(ctx, "a", false).Err,
		"get many":   k.GetMany(ctx, []string{"a"}, true)[0].Err,
		"inspect":    k.Inspect(ctx, []string{"a"})[0].Err,
		"acquire":    k.Acquire(ctx, []store.Claim{{Key: "a", Token: "t1", Lease: long}})[0].Err,
		"fill":       k.Fill(ctx, []store.Fill{{Key: "a", Token: "t1", TTL: long}})[0].Err,
		"renew":      k.Renew(ctx, []store.Lease{{Key: "a", Token: "t1"}}, long)[0].Err,
		"release":    k.Release(ctx, []store.Lease{{Key: "a", Token: "t1"}})[0].Err,
		"invalidate": k.Invalidate(ctx, []string{"a"}, 0)[0].Err,
		"put":        k.Put(ctx, []store.Put{{Key: "a", TTL: long}}, 0)[0].Err,
		"begin":      k.Begin(ctx, []store.Intent{{Key: "a", Token: "w1", Life: long}})[0].Err,
		"end":        k.End(ctx, []store.End{{Key: "a", Token: "w1"}})[0].Err,
		"query":      k.Query(ctx, []store.Query{{Key: "b", Kind: store.Set}})[0].Err,
		"chunk":      k.Chunk(ctx, store.Chunk{Key: "b", Kind: store.Set, Token: "t1", Elements: []store.Element{{Member: "x"}}}).Err,
		"write":      k.Write(ctx, []store.Change{change})[0].Err,
		"announce":   k.BeginMember(ctx, store.MemberIntent{Key: "b", Kind: store.Set, Order: store.Alone, Token: "w1", Life: long}).Err,
		"done":       k.EndMember(ctx, store.MemberEnd{Change: change, Token: "w1"}).Err,
		"touch":      k.Touch(ctx, "a", long).Err,
		"touch only": k.Touch(ctx, "a", 0).Err,
		"save":       k.Save(ctx, store.Record{Key: "a", TTL: long}).Err,
		"scan":       k.Scan(ctx, "a*", nil),
		"sweep":      k.Sweep(ctx, "a*", nil),
		"usage":      usage,
		"ping":       k.Ping(ctx),
	}
}

func stale(c *store.Claim) { c.Stale = 2 * long }

func dead(value string) func(*store.Claim) {
	return func(c *store.Claim) { c.Dead = &store.Dead{Value: []byte(value)} }
}

func life(d time.Duration) func(*store.Claim) {
	return func(c *store.Claim) { c.Lease = d }
}

// rule is one sentence of the protocol, and how to see that it is kept.
type rule struct {
	name  string
	check func(kit)
}

// Run checks every rule of package store, with claims that ask for a TTL and with claims that do not: a store may answer
// them by other means. open returns an empty store.
func Run(t *testing.T, open func(testing.TB) store.Store) {
	for _, r := range slices.Concat(valueRules, leaseRules, barrierRules, sweepRules, loadRules, memberRules, overlapRules, queryRules, sessionRules) {
		for suffix, ttl := range map[string]bool{"": false, "WithTTL": true} {
			t.Run(r.name+suffix, func(t *testing.T) {
				s := open(t)
				defer s.Close()
				r.check(kit{t, s, t.Context(), ttl})
			})
		}
	}
}
