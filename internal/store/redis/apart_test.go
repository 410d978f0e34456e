package redis_test

import (
	"net"
	"strconv"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
)

// A slot is on its way from one node to another: wherever the value and the sidecar stand, each verb does what it must, and
// the sidecar never says less than before.
func TestSlotOnItsWay(t *testing.T) {
	c := redistest.SharedCluster(t)
	c.FlushAll(t)
	ctx, slot := t.Context(), strconv.Itoa(int(redis.Slot("{k}")))
	plain := open(t, c.URL())
	waiting, err := redis.Open(ctx, c.URL(), redis.Options{Replicas: 1, Require: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(waiting.Close)
	here := c.Master(t, "{k}")
	there := c.Masters(t)[0]
	if there == here {
		there = c.Masters(t)[1]
	}
	id := func(s *redistest.Server) string { v, _ := s.Do(t, "CLUSTER", "MYID").ToString(); return v }
	host, port, _ := net.SplitHostPort(there.Addr)
	there.Do(t, "CLUSTER", "SETSLOT", slot, "IMPORTING", id(here))
	t.Cleanup(func() { // the slot stays, and the keys that have gone are given up
		there.Do(t, "FLUSHALL")
		there.Do(t, "CLUSTER", "SETSLOT", slot, "STABLE")
		here.Do(t, "CLUSTER", "SETSLOT", slot, "STABLE")
		c.FlushAll(t)
	})
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
					here.Do(t, "CLUSTER", "SETSLOT", slot, "STABLE")
					here.Do(t, "SET", key, "v", "PX", "60000")
					here.Do(t, "SET", key+":~l", v.side, "PX", "60000")
					here.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(there))
					for name, gone := range map[string]bool{key: valueGone, key + ":~l": sideGone} {
						if gone {
							here.Do(t, "MIGRATE", host, port, name, "0", "5000")
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
	sessionsOnTheirWay(t, c, plain, here, there, slot)
	// What is not granted is not filled.
	here.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(there))
	if g := plain.Acquire(ctx, []store.Claim{{Key: "{k}none", Token: "t1", Lease: time.Minute, Stale: time.Second}})[0]; g.State != store.Barrier || g.Err != nil {
		t.Errorf("acquire: %+v", g)
	}
	here.Do(t, "CLUSTER", "SETSLOT", slot, "STABLE")
	here.Do(t, "SET", "{k}some", "v", "PX", "60000")
	here.Do(t, "CLUSTER", "SETSLOT", slot, "MIGRATING", id(there))
	if g := plain.Acquire(ctx, []store.Claim{{Key: "{k}some", Token: "t1", Lease: time.Minute, Stale: time.Second}})[0]; g.State != store.Hit || string(g.Value) != "v" {
		t.Errorf("acquire a value: %+v", g)
	}
}

func text(m interface{ ToString() (string, error) }) string { v, _ := m.ToString(); return v }
