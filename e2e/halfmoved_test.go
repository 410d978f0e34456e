package e2e

import (
	"net"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// A slot stays between two masters, as after a reshard that was interrupted: half of its keys are here, half are there, and
// scripts that touch a value and its sidecar are told to try again for as long as it lasts. Reads are answered and writes
// are acknowledged all the same.
func TestHalfMovedSlot(t *testing.T) {
	for _, shape := range []struct {
		name     string
		replicas int
		stale    time.Duration
		budget   time.Duration // of a write: replicas that share the processors take long to confirm its steps
	}{{"plain", 0, 0, time.Second}, {"stale window", 0, time.Minute, time.Second}, {"wait", 1, 0, 4 * time.Second}} {
		t.Run(shape.name, func(t *testing.T) {
			c := redistest.SharedCluster(t)
			c.FlushAll(t)
			tag := tagIn(0, 5000, 0)
			hot := keysOf(tag, 32)
			f := newStaleFleet(t, c.URL(), slices.Concat(hot, spread(8)), nearside.Options{Replicas: shape.replicas, WriteBudget: shape.budget}, shape.stale)
			from := c.Master(t, "row:"+hot[0])
			masters := c.Masters(t)
			to := masters[(slices.Index(masters, from)+1)%len(masters)]
			f.warm(t)
			r := f.during(t, func() {
				finish := halfMove(t, c, from, to, topology.Slot(tag))
				<-time.After(shape.budget + 2*time.Second) // longer than a write may take
				finish()
			})
			f.lossless(t, r)
			if r.Unconfirmed > 0 {
				t.Errorf("%d of %d writes were not confirmed", r.Unconfirmed, r.Writes)
			}
			c.Invariants(t, "row:")
		})
	}
}

// halfMove opens a slot for its move and moves half of its keys. finish moves the rest.
func halfMove(t testing.TB, c *redistest.Cluster, from, to *redistest.Server, slot uint16) (finish func()) {
	t.Helper()
	s := strconv.Itoa(int(slot))
	id := func(n *redistest.Server) string {
		text, err := n.Do(t, "CLUSTER", "MYID").ToString()
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	host, port, _ := net.SplitHostPort(to.Addr)
	move := func(share int) int {
		keys, _ := from.Do(t, "CLUSTER", "GETKEYSINSLOT", s, "100000").AsStrSlice()
		slices.Sort(keys)
		for _, key := range keys[:len(keys)/share] {
			from.Do(t, "MIGRATE", host, port, key, "0", "5000") // NOKEY if it has gone meanwhile
		}
		return len(keys)
	}
	to.Do(t, "CLUSTER", "SETSLOT", s, "IMPORTING", id(from))
	from.Do(t, "CLUSTER", "SETSLOT", s, "MIGRATING", id(to))
	if n := move(2); n < 10 {
		t.Errorf("only %d keys stood in the slot", n)
	}
	return func() {
		for move(1) > 0 {
		}
		for _, n := range []*redistest.Server{to, from} {
			n.Do(t, "CLUSTER", "SETSLOT", s, "NODE", id(to))
		}
		for _, n := range c.Masters(t) {
			n.Do(t, "CLUSTER", "SETSLOT", s, "NODE", id(to))
		}
		c.Wait(t)
	}
}
