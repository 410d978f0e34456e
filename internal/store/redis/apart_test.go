package redis_test

import (
	"context"
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// slot is one that is about to go from one node to another.
type slot struct {
	t             *testing.T
	number        string
	here, there   *redistest.Server
	thereID, host string
	port          string
}

func newSlot(t *testing.T, c *redistest.Cluster, key string) *slot {
	c.FlushAll(t)
	sl := &slot{t: t, number: strconv.Itoa(int(topology.Slot(key))), here: c.Master(t, key), there: c.Masters(t)[0]}
	if sl.there == sl.here {
		sl.there = c.Masters(t)[1]
	}
	id := func(s *redistest.Server) string { v, _ := s.Do(t, "CLUSTER", "MYID").ToString(); return v }
	sl.thereID = id(sl.there)
	sl.host, sl.port, _ = net.SplitHostPort(sl.there.Addr)
	sl.there.Do(t, "CLUSTER", "SETSLOT", sl.number, "IMPORTING", id(sl.here))
	t.Cleanup(func() { // the slot stays, and the keys that have gone are given up
		sl.there.Do(t, "FLUSHALL")
		sl.there.Do(t, "CLUSTER", "SETSLOT", sl.number, "STABLE")
		sl.stable()
		c.FlushAll(t)
	})
	return sl
}

func (sl *slot) stable() { sl.here.Do(sl.t, "CLUSTER", "SETSLOT", sl.number, "STABLE") }
func (sl *slot) migrating() {
	sl.here.Do(sl.t, "CLUSTER", "SETSLOT", sl.number, "MIGRATING", sl.thereID)
}

func (sl *slot) move(name string) { sl.here.Do(sl.t, "MIGRATE", sl.host, sl.port, name, "0", "5000") }

// A slot is on its way from one node to another: wherever the value and the sidecar stand, each verb does what it must, and
// the sidecar never says less than before.
func TestSlotOnItsWay(t *testing.T) {
	c := redistest.SharedCluster(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*eventually.Limit) // without a deadline replicas are waited for but shortly
	defer cancel()
	sl := newSlot(t, c, "{k}")
	here := sl.here
	plain := openWith(t, c.URL(), redis.Options{Budget: eventually.Limit})
	waiting := openWith(t, c.URL(), redis.Options{Budget: eventually.Limit, Replicas: 1})
	n := 0
	for _, s := range []*redis.Store{plain, waiting} {
		for _, v := range []struct {
			verb        string
			side        string
			do          func(key string) store.Outcome
			value, left string // afterwards
		}{
			{"invalidate", "t1", func(k string) store.Outcome { return s.Invalidate(ctx, []string{k}, 0)[0] }, "", ""},
			{"invalidate and hold", "t1", func(k string) store.Outcome { return s.Invalidate(ctx, []string{k}, time.Minute)[0] }, "", "!"},
			{"invalidate under an intent", "!c,w9,", func(k string) store.Outcome { return s.Invalidate(ctx, []string{k}, 0)[0] }, "", "!d,w9,"},
			{"begin", "t1", func(k string) store.Outcome {
				return s.Begin(ctx, []store.Intent{{Key: k, Token: "w1", Life: time.Minute}})[0]
			}, "", "!c,w1,"},
			{"end", "!c,w1,", func(k string) store.Outcome {
				return s.End(ctx, []store.End{{Key: k, Token: "w1"}})[0]
			}, "", ""},
			{"end beside another", "!d,w1,w2,", func(k string) store.Outcome {
				return s.End(ctx, []store.End{{Key: k, Token: "w1"}})[0]
			}, "", "!d,w2,"},
			{"put", "t1", func(k string) store.Outcome {
				return s.Put(ctx, []store.Put{{Key: k, Value: []byte("p"), TTL: time.Minute}}, 0)[0]
			}, "p", ""},
			{"release", "t1", func(k string) store.Outcome { return s.Release(ctx, []store.Lease{{Key: k, Token: "t1"}})[0] }, "v", ""},
		} {
			for _, valueGone := range []bool{false, true} {
				for _, sideGone := range []bool{false, true} {
					n++
					key := "{k}" + strconv.Itoa(n)
					sl.stable()
					here.Do(t, "SET", key, "v", "PX", "60000")
					here.Do(t, "SET", key+":~l", v.side, "PX", "60000")
					sl.migrating()
					for name, gone := range map[string]bool{key: valueGone, key + ":~l": sideGone} {
						if gone {
							sl.move(name)
						}
					}
					if o := v.do(key); o.Err != nil {
						t.Errorf("%s, value there %v, sidecar there %v: %v", v.verb, valueGone, sideGone, o.Err)
					}
					for name, want := range map[string]string{key: v.value, key + ":~l": v.left} {
						if got := c.Do(t, "GET", name); text(got) != want {
							t.Errorf("%s, value there %v, sidecar there %v: %s is %q, want %q", v.verb, valueGone, sideGone, name, text(got), want)
						}
					}
				}
			}
		}
	}
	// What is not granted is not filled.
	sl.migrating()
	if g := plain.Acquire(ctx, []store.Claim{{Key: "{k}none", Token: "t1", Lease: time.Minute, Stale: time.Second}})[0]; g.State != store.Barrier || g.Err != nil {
		t.Errorf("acquire: %+v", g)
	}
	sl.stable()
	here.Do(t, "SET", "{k}some", "v", "PX", "60000")
	sl.migrating()
	if g := plain.Acquire(ctx, []store.Claim{{Key: "{k}some", Token: "t1", Lease: time.Minute, Stale: time.Second}})[0]; g.State != store.Hit || string(g.Value) != "v" {
		t.Errorf("acquire a value: %+v", g)
	}
}

func text(m interface{ ToString() (string, error) }) string { v, _ := m.ToString(); return v }
