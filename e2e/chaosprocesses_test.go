package e2e

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
)

// Faults under processes of the operating system, each with its own connections to Redis and to the database; one of them
// is killed in the middle of what it does.
func TestChaosProcesses(t *testing.T) {
	for _, kind := range []struct {
		name   string
		ground func(testing.TB) *ground
		faults []fault
		short  []string
	}{
		{"single", single, ofSingle(), []string{"SIGKILL, restart", "SIGSTOP, SIGCONT", "blackholed", "reset in mid-frame", "restart from an old RDB", "database down"}},
		{"cluster", cluster, ofCluster(), []string{"SIGKILL, failover", "refused"}},
	} {
		t.Run(kind.name, func(t *testing.T) {
			g := kind.ground(t)
			f := newFleetOn(t, g.url, g.truth, g.keys, g.options, 0) // without traffic: who looks for survivors
			socket := g.truth.acks.(*database).serve(t)
			begin := func() *process {
				more := []string{childDB + "=" + g.dbURL, childPace + "=30ms"}
				if g.options.Redis != nil {
					var pairs []string
					for address, proxy := range g.addresses() {
						pairs = append(pairs, address, proxy)
					}
					more = append(more, childProxies+"="+strings.Join(pairs, " "))
				}
				return startProcess(t, socket, g.url, g.keys, more...)
			}
			var children []*process
			for range size {
				children = append(children, begin())
			}
			table := make(map[string]*outcome)
			for _, fault := range kind.faults {
				if *chaosFor == 0 && !slices.Contains(kind.short, fault.name) {
					continue
				}
				t.Run(fault.name, func(t *testing.T) { sufferProcesses(t, g, fault, children).into(table) })
			}
			t.Run("a process dies", func(t *testing.T) {
				children[0].cmd.Process.Kill()
				children[0].cmd.Wait()
				sufferProcesses(t, g, fault{name: "a process dies", begin: func(testing.TB, *ground) func() {
					return func() { children[0] = begin() }
				}}, children[1:]).into(table)
			})
			for _, p := range children {
				p.end(t)
			}
			if left := f.survivors(t); len(left) > 0 {
				t.Errorf("%d survivors: %v", len(left), left)
			}
			print(t, kind.name+", processes", append(kind.faults, fault{name: "a process dies"}), table)
			g.settle(t)
			g.Invariants(t, "row:")
		})
	}
}

// sufferProcesses is suffer for processes.
func sufferProcesses(t *testing.T, g *ground, fault fault, children []*process) *outcome {
	out := &outcome{name: fault.name, times: 1, report: new(report)}
	for _, p := range children {
		p.report(t)
	}
	<-time.After(200 * time.Millisecond)
	began := time.Now()
	end := fault.begin(t, g)
	<-time.After(time.Second)
	end()
	var repeated time.Time
	for _, p := range children {
		p.say(t, "await")
	}
	for _, p := range children {
		eventually.Within(t, recoversWithin, "a process hits again, and has repeated its invalidations", func() bool {
			said := p.report(t)
			out.report.add(said.Report)
			out.recovery = max(out.recovery, said.Hit)
			if fault.loses {
				repeated = latest(repeated, said.Repeated)
			}
			return said.Hit > 0 && (!fault.loses || said.Repeated.After(began))
		})
	}
	<-time.After(300 * time.Millisecond)
	for _, p := range children {
		out.report.add(p.report(t).Report)
	}
	out.judge(t, fault, repeated)
	return out
}
