package e2e

import (
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// The sentinels change the master while the old one lives: it takes writes for a moment longer, which are lost.
func TestSentinelFailover(t *testing.T) {
	g := redistest.SharedSentinels(t)
	g.FlushAll(t)
	f := newFleet(t, g.URL(), spread(40), nearside.Options{})
	var repeated time.Time
	r := f.during(t, func() {
		before := f.repeats()
		g.Failover(t)
		repeated = f.repeatedSince(t, before)
	})
	f.repaired(t, r, repeated)
	g.Invariants(t, "row:")
}

// The master dies, and comes back as a replica.
func TestSentinelKilledMaster(t *testing.T) {
	g := redistest.SharedSentinels(t)
	g.FlushAll(t)
	f := newFleet(t, g.URL(), spread(40), nearside.Options{})
	var repeated time.Time
	r := f.during(t, func() {
		before := f.repeats()
		master := g.Master(t)
		killed := time.Now()
		master.Kill()
		g.Wait(t)
		repeated = f.repeatedSince(t, before)
		t.Logf("all have repeated %v after the kill", repeated.Sub(killed).Round(time.Millisecond))
		master.Restart(t)
		g.Wait(t)
	})
	f.repaired(t, r, repeated)
	g.Invariants(t, "row:")
}

// The master hangs until its replica has taken over, and wakes up.
func TestSentinelHungMaster(t *testing.T) {
	g := redistest.SharedSentinels(t)
	g.FlushAll(t)
	f := newFleet(t, g.URL(), spread(40), nearside.Options{})
	var repeated time.Time
	r := f.during(t, func() {
		before := f.repeats()
		master := g.Master(t)
		master.Pause()
		g.Wait(t)
		repeated = f.repeatedSince(t, before)
		master.Continue()
		g.Wait(t)
	})
	f.repaired(t, r, repeated)
	g.Invariants(t, "row:")
}
