package e2e

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/testhooks"
)

// repaired checks the law for an operation that loses what was acknowledged and not replicated: stale reads end when every
// process has repeated its invalidations, and nothing survives.
func (f *fleet) repaired(t testing.TB, r *report, repeated time.Time) {
	t.Helper()
	t.Log(r, r.WhyUnconfirmed)
	if n := len(r.Stale); n > 0 {
		began := slices.MinFunc(r.Stale, func(a, b staleRead) int { return a.Began.Compare(b.Began) }).Began
		last := slices.MaxFunc(r.Stale, func(a, b staleRead) int { return a.Began.Compare(b.Began) }).Began
		t.Logf("%d stale reads within %v, the last %v before all had repeated", n, last.Sub(began).Round(time.Millisecond), repeated.Sub(last).Round(time.Millisecond))
	}
	if late := r.staleAfter(repeated); len(late) > 0 {
		t.Errorf("%d stale reads after all had repeated their invalidations: %+v", len(late), late[:min(len(late), 3)])
	}
	if left := f.survivors(t); len(left) > 0 {
		t.Errorf("%d survivors: %v", len(left), left)
	}
	f.served(t, r)
}

// site is a Redis whose master may die.
type site interface {
	redistest.Backend
	Wait(t testing.TB)
}

func replicaOf(t testing.TB, s site, master *redistest.Server) *redistest.Server {
	t.Helper()
	if c, ok := s.(*redistest.Cluster); ok {
		return c.Replica(t, master)
	}
	return s.(*redistest.Sentinels).Replica(t)
}

// figures are what an experiment has come to.
type figures struct {
	lost     int           // writes that were acknowledged while the replica was cut off
	left     int           // survivors
	window   time.Duration // from the kill to the beginning of the last stale read
	calm     histogram     // what invalidations took before the cut
	healthy  time.Time
	repeated time.Time
	*report
}

// lose cuts the replica off while writers go on, kills the master, and lets the replica take over. The writers stop then,
// so that nobody mends by accident what was lost; the readers go on.
func lose(t *testing.T, s site, o nearside.Options, repeats bool) (f *fleet, out figures) {
	s.Wait(t)
	s.FlushAll(t)
	hot := keysOf(tagIn(0, 5000, 0), 40)
	f = newFleet(t, s.URL(), hot, o)
	master := s.Node(t, "row:"+hot[0])
	replica := replicaOf(t, s, master)
	f.warm(t)
	master.Do(t, "SET", "row:"+hot[0], `{"Version":0}`, "PX", "60000")
	if n, _ := master.Do(t, "WAIT", "1", "5000").AsInt64(); n < 1 {
		t.Fatal("the replica does not follow")
	}
	f.startReads()
	f.startWrites()
	eventually.True(t, "writes before the cut", func() bool { return f.count(confirmed) >= 400 })
	before := f.repeats()
	out.calm = f.total().InvalidateTook

	// A stopped process still receives: its connection must go, and it cannot make another.
	replica.Pause()
	master.Do(t, "CLIENT", "KILL", "TYPE", "replica")
	cut, had := time.Now(), f.count(confirmed)
	eventually.True(t, "writes during the cut", func() bool {
		return f.count(confirmed)-had >= 60 || time.Since(cut) > 1200*time.Millisecond
	})
	out.lost = f.count(confirmed) - had
	f.stopWrites()
	master.Kill()
	replica.Continue()
	f.writing.Wait()
	killed := time.Now()
	s.Wait(t)
	out.healthy = time.Now()
	if repeats {
		out.repeated = f.repeatedSince(t, before)
		f.goOn(time.Second)
	} else {
		f.goOn(5 * time.Second) // more than what the repetition takes
	}
	f.stop()
	out.report = f.total()
	out.left = len(f.survivors(t))
	for _, read := range out.Stale {
		out.window = max(out.window, read.Began.Sub(killed))
	}
	t.Logf("%d acknowledged during the cut; healthy %v after the kill, last stale read after %v: %d stale, %d survivors; %s",
		out.lost, out.healthy.Sub(killed).Round(time.Millisecond), out.window.Round(time.Millisecond), len(out.Stale), out.left, out.report)
	master.Restart(t)
	s.Wait(t)
	f.served(t, out.report)
	return f, out
}

func confirmed(r *report) int { return r.Writes - r.Unconfirmed }

// What a failover loses without anything against it, with the repetition, and with WAIT alone.
func TestLostInvalidations(t *testing.T) {
	for _, kind := range []struct {
		name string
		site func(testing.TB) site
	}{
		{"cluster", func(t testing.TB) site { return redistest.SharedCluster(t) }},
		{"sentinel", func(t testing.TB) site { return redistest.SharedSentinels(t) }},
	} {
		t.Run(kind.name, func(t *testing.T) {
			var table []string
			row := func(name string, f figures) {
				table = append(table, fmt.Sprintf("%-8s | %4d | %11d | %11d | %9d | %15v | %14v | %v",
					name, f.lost, f.Unconfirmed, len(f.Stale), f.left, f.window.Round(time.Millisecond),
					f.calm.part(0.5), f.calm.part(0.99)))
			}
			s := kind.site(t)
			t.Run("nothing", func(t *testing.T) {
				testhooks.WithoutRepeat.Store(true)
				defer testhooks.WithoutRepeat.Store(false)
				_, got := lose(t, s, nearside.Options{}, false)
				if got.left == 0 || len(got.Stale) == 0 {
					t.Error("nothing was lost: the test shows nothing")
				}
				row("nothing", got)
			})
			t.Run("repeat", func(t *testing.T) {
				f, got := lose(t, s, nearside.Options{}, true)
				if got.lost == 0 {
					t.Error("nothing was acknowledged during the cut: the test shows nothing")
				}
				f.repaired(t, got.report, got.repeated)
				row("repeat", got)
			})
			t.Run("wait", func(t *testing.T) {
				testhooks.WithoutRepeat.Store(true)
				defer testhooks.WithoutRepeat.Store(false)
				f, got := lose(t, s, nearside.Options{Replicas: 1}, false)
				if got.Unconfirmed == 0 {
					t.Error("all writes were confirmed although the replica was cut off")
				}
				f.lossless(t, got.report)
				row("wait", got)
			})
			t.Log("         | lost | unconfirmed | stale reads | survivors | last stale read | invalidate p50 | p99")
			for _, line := range table {
				t.Log(line)
			}
		})
	}
}
