package e2e

import (
	"flag"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/seed"
)

var (
	chaosFor = flag.Duration("chaos", 0, "how long faults go on, in random order; zero: each once, in a short pass")
)

// bounds of what is asserted beside the laws. They are far above what is measured, for machines that stall.
const (
	recoversWithin = 20 * time.Second // from the end of a fault to the first hit of the last client
	answersWithin  = 12 * time.Second // a Get, beyond its load
	heapGrowth     = 8 << 20          // what the tests themselves keep: clients of each server, pools, buffers of proxies

	// What a client of the layer keeps for each node, by the heap profile: 4096 places for commands of 336 bytes, two buffers of
	// 64 KiB; and a quarter of that for the connection that is told of changes.
	heapOfNode = 2 << 20
)

// outcome is a line of the table: a fault, or all its repetitions.
type outcome struct {
	name      string
	times     int
	report    *report
	survivors int
	recovery  time.Duration
	before    vitals
	after     vitals
}

// vitals are what must be back where it was.
type vitals struct {
	goroutines int // of the layer and its Redis client, idle workers aside
	heap       uint64
}

func look() (v vitals) {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	stacks := make([]byte, 4<<20)
	for g := range strings.SplitSeq(string(stacks[:runtime.Stack(stacks, true)]), "\n\n") {
		busy := strings.Contains(g, "rueidis") || strings.Contains(g, "nearside/internal/engine") || strings.Contains(g, "nearside/internal/store")
		_, frames, _ := strings.Cut(g, "\n")
		idle := strings.HasPrefix(frames, "github.com/nearside/nearside/internal/engine.(*workers).work(")
		if busy && !idle {
			v.goroutines++
		}
	}
	return vitals{v.goroutines, m.HeapAlloc}
}

// Everything that goes wrong, one after the other, under the same three clients.
func TestChaos(t *testing.T) {
	rng := seed.Rand(t)
	for _, kind := range []struct {
		name   string
		ground func(testing.TB) *ground
		faults []fault
	}{{"single", single, ofSingle()}, {"cluster", cluster, ofCluster()}} {
		t.Run(kind.name, func(t *testing.T) {
			g := kind.ground(t)
			f := newFleetOn(t, g.url, g.truth, g.keys, g.options, 0)
			for _, m := range f.members {
				m.pace = 30 * time.Millisecond
			}
			table := make(map[string]*outcome)
			f.slack = 4 * len(f.members) * len(g.proxies)
			f.warm(t)
			f.startReads() // so that the workers are there
			f.goOn(200 * time.Millisecond)
			f.stop()
			before := look()
			until := time.Now().Add(*chaosFor / 2) // of the two kinds
			for {
				for _, i := range rng.Perm(len(kind.faults)) {
					if *chaosFor > 0 && time.Now().After(until) {
						break
					}
					fault, length := kind.faults[i], time.Second
					if *chaosFor > 0 {
						length = time.Duration(500+rng.IntN(5000)) * time.Millisecond
					}
					t.Run(fault.name, func(t *testing.T) { f.suffer(t, g, before, fault, length).into(table) })
				}
				if !time.Now().Before(until) {
					break
				}
			}
			print(t, kind.name, kind.faults, table)
			g.settle(t)
			g.Invariants(t, "row:")
		})
	}
}

// suffer has a fault happen while traffic runs, and checks the law.
func (f *fleet) suffer(t *testing.T, g *ground, start vitals, fault fault, length time.Duration) *outcome {
	out := &outcome{name: fault.name, times: 1, before: look()}
	for _, m := range f.members {
		m.seen.taken()
	}
	repeats := f.repeats()
	f.startReads()
	f.startWrites()
	defer f.stop()
	f.goOn(200 * time.Millisecond)
	await := func() {
		now := time.Now()
		for _, m := range f.members {
			m.hits.await(now, g.about)
		}
	}
	end := fault.begin(t, g)
	if fault.passes {
		await()
	}
	f.goOn(length)
	end()
	if !fault.passes {
		await()
	}
	eventually.Within(t, recoversWithin, "all clients hit again", func() bool {
		return !slices.ContainsFunc(f.members, func(m *member) bool { return m.hits.took() == 0 })
	})
	for _, m := range f.members {
		out.recovery = max(out.recovery, m.hits.took())
	}
	var repeated time.Time
	if fault.loses {
		repeated = f.repeatedSince(t, repeats)
	}
	f.goOn(300 * time.Millisecond)
	f.stop()
	out.report = new(report)
	for _, m := range f.members {
		out.report.add(m.seen.taken())
	}
	out.judge(t, fault, repeated)
	f.atRest(t)
	left := f.survivors(t)
	if out.survivors = len(left); len(left) > 0 {
		t.Errorf("%d survivors: %v", len(left), left)
	}
	f.backTo(t, start)
	out.after = look()
	if fault.breaks { // what the dead connections of the pool have left
		g.truth.SetMaxIdleConns(0)
		g.truth.SetMaxIdleConns(connections)
	}
	return out
}

// judge checks what is promised of reads.
func (o *outcome) judge(t testing.TB, fault fault, repeated time.Time) {
	t.Helper()
	r := o.report
	t.Log(r, r.WhyUnconfirmed)
	if r.Failed > 0 {
		t.Errorf("%d reads failed while the database was up, the first: %s", r.Failed, r.FirstFailure)
	}
	if r.Broken > 0 && !fault.breaks {
		t.Errorf("%d reads and writes failed with the database, which was up, the first: %s", r.Broken, r.FirstBroken)
	}
	stale := r.Stale
	if fault.loses {
		stale = r.staleAfter(repeated)
	}
	if len(stale) > 0 {
		t.Errorf("%d stale reads: %+v", len(stale), stale[:min(len(stale), 3)])
	}
	if slowest := r.Added.Max; slowest > answersWithin {
		t.Errorf("a get took %v beyond its load", slowest)
	}
	if paid := r.Added.above(20 * time.Millisecond); breaks && fault.hangs && paid > r.Gets/20 {
		t.Errorf("%d of %d gets paid the budget, although the breaker is to open after a few", paid, r.Gets)
	}
	if r.Gets < 50 {
		t.Errorf("too little happened: %s", r)
	}
}

// atRest has what was not delivered delivered, and no write in doubt.
func (f *fleet) atRest(t testing.TB) {
	t.Helper()
	eventually.Within(t, recoversWithin, "no write is in doubt any more", func() bool {
		return !slices.ContainsFunc(f.members, func(m *member) bool { return m.client.Stats(t.Context()).InDoubt > 0 })
	})
	if !repeatsUndelivered {
		return
	}
	eventually.Within(t, recoversWithin, "what was not delivered is repeated", func() bool { return len(f.survivors(t)) == 0 })
}

// backTo checks that nothing has stayed. Connections come back in their time.
func (f *fleet) backTo(t testing.TB, before vitals) {
	t.Helper()
	var now vitals
	for until := time.Now().Add(recoversWithin); ; <-time.After(50 * time.Millisecond) {
		now = look()
		if now.goroutines <= before.goroutines+f.slack && now.heap <= before.heap+heapGrowth+uint64(f.slack/4)*heapOfNode {
			return
		}
		if time.Now().After(until) {
			break
		}
	}
	t.Errorf("%d goroutines, %d KiB at rest; before it was %d, %d KiB", now.goroutines, now.heap>>10, before.goroutines, before.heap>>10)
}

// into adds an outcome to those of the same fault.
func (o *outcome) into(table map[string]*outcome) {
	sum := table[o.name]
	if sum == nil {
		table[o.name] = o
		return
	}
	sum.times++
	sum.report.add(o.report)
	sum.survivors += o.survivors
	sum.recovery = max(sum.recovery, o.recovery)
	sum.after = o.after
}

// print ends a run with its table.
func print(t testing.TB, kind string, faults []fault, table map[string]*outcome) {
	var b strings.Builder
	fmt.Fprintf(&b, "\n| %s | times | gets | failed | of the database | stale reads | survivors | loads | writes not confirmed | added p50 | p99 | max | recovery | goroutines | heap, MiB |\n", kind)
	fmt.Fprintf(&b, "|%s\n", strings.Repeat("---|", 15))
	for _, f := range faults {
		o := table[f.name]
		if o == nil {
			continue
		}
		r := o.report
		fmt.Fprintf(&b, "| %s | %d | %d | %d | %d | %d | %d | %d | %d of %d | %v | %v | %v | %v | %d → %d | %.1f → %.1f |\n",
			o.name, o.times, r.Gets, r.Failed, r.Broken, len(r.Stale), o.survivors, r.Loads, r.Unconfirmed, r.Writes,
			r.Added.part(0.5), r.Added.part(0.99), r.Added.part(1), rounded(o.recovery),
			o.before.goroutines, o.after.goroutines, float64(o.before.heap)/(1<<20), float64(o.after.heap)/(1<<20))
	}
	t.Log(b.String())
}
