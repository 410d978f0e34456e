package e2e

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// Slots go to another master and come back. Redis-cli takes the lowest of the source: the keys stand there, in few slots,
// with many others, so that a slot is on its way for a while.
func TestReshard(t *testing.T) {
	c := redistest.SharedCluster(t)
	c.FlushAll(t)
	var keys []string
	for i := range 3 {
		tag := tagIn(0, 39, i)
		keys = append(keys, keysOf(tag, 16)...)
		fill(t, c, tag, 4000)
	}
	f := newFleet(t, c.URL(), slices.Concat(keys, spread(16)), nearside.Options{})
	from := c.Master(t, "row:"+keys[0])
	masters := c.Masters(t)
	to := masters[(slices.Index(masters, from)+1)%len(masters)]
	r := f.during(t, func() {
		began := time.Now()
		c.Reshard(t, from, to, 40)
		c.Reshard(t, to, from, 40)
		t.Logf("40 slots forth and back in %v", time.Since(began).Round(time.Millisecond))
	})
	f.lossless(t, r)
	c.Invariants(t, "row:")
}

// fill puts many keys of nobody into a slot.
func fill(t testing.TB, c *redistest.Cluster, tag string, n int) {
	t.Helper()
	client := c.Client(t)
	cmds := make(rueidis.Commands, n)
	for i := range cmds {
		cmds[i] = client.B().Set().Key(fmt.Sprintf("row:%sfill%d", tag, i)).Value("x").ExSeconds(600).Build()
	}
	for _, r := range client.DoMulti(context.Background(), cmds...) {
		if err := r.Error(); err != nil {
			t.Fatal(err)
		}
	}
}

// A replica and its master change places in agreement, and back.
func TestGracefulFailover(t *testing.T) {
	c := redistest.SharedCluster(t)
	c.FlushAll(t)
	keys := keysOf(tagIn(0, 5000, 0), 24)
	f := newFleet(t, c.URL(), slices.Concat(keys, spread(16)), nearside.Options{})
	r := f.during(t, func() {
		c.Failover(t, c.Replica(t, c.Master(t, "row:"+keys[0])))
		<-time.After(around())
		c.Failover(t, c.Replica(t, c.Master(t, "row:"+keys[0])))
	})
	f.lossless(t, r)
	c.Invariants(t, "row:")
}

// A node comes, is given slots, and answers for them.
func TestNodeAdded(t *testing.T) {
	c := redistest.StartCluster(t, 3, 0)
	keys := keysOf(tagIn(0, 39, 0), 24)
	fill(t, c, tagIn(0, 39, 0), 2000)
	f := newFleet(t, c.URL(), slices.Concat(keys, spread(16)), nearside.Options{})
	from := c.Master(t, "row:"+keys[0])
	r := f.during(t, func() {
		added := c.AddNode(t)
		c.Reshard(t, from, added, 40)
		if got := c.Master(t, "row:"+keys[0]); got != added {
			t.Errorf("the slot is on %s, want the new node %s", got.Addr, added.Addr)
		}
	})
	f.lossless(t, r)
	c.Invariants(t, "row:")
}

// A master hangs until its replica has taken over, and wakes up as one who believes that it is the master still.
func TestHungMaster(t *testing.T) {
	c := redistest.SharedCluster(t)
	c.FlushAll(t)
	keys := keysOf(tagIn(0, 5000, 0), 24)
	f := newFleet(t, c.URL(), slices.Concat(keys, spread(16)), nearside.Options{})
	var repeated time.Time
	r := f.during(t, func() {
		before := f.repeats()
		master := c.Master(t, "row:"+keys[0])
		master.Pause()
		c.Wait(t)
		repeated = f.repeatedSince(t, before)
		master.Continue()
		c.Wait(t)
	})
	f.repaired(t, r, repeated)
	c.Invariants(t, "row:")
}

// A master dies, its replica is elected, and it comes back as a replica. Writers go on all the time.
func TestKilledMaster(t *testing.T) {
	c := redistest.SharedCluster(t)
	c.FlushAll(t)
	keys := keysOf(tagIn(0, 5000, 0), 24)
	f := newFleet(t, c.URL(), slices.Concat(keys, spread(16)), nearside.Options{})
	var repeated, healthy time.Time
	r := f.during(t, func() {
		before := f.repeats()
		master := c.Master(t, "row:"+keys[0])
		killed := time.Now()
		master.Kill()
		c.Wait(t)
		healthy = time.Now()
		repeated = f.repeatedSince(t, before)
		t.Logf("healthy after %v, all have repeated %v later", healthy.Sub(killed).Round(time.Millisecond), repeated.Sub(healthy).Round(time.Millisecond))
		master.Restart(t)
		c.Wait(t)
	})
	f.repaired(t, r, repeated)
	c.Invariants(t, "row:")
}
