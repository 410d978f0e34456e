package ops

import (
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/check"
	"github.com/nearside/nearside/internal/store"
)

// Each check finds what it is for, in facts that no test can have a server produce at will.
func TestChecks(t *testing.T) {
	t.Parallel()
	well := func() *facts {
		n := store.NodeInfo{Address: "a:1", Software: "redis", Version: "7.2", Role: "master", Max: 1 << 30, Policy: "allkeys-lfu", Used: 1 << 29, Resident: 1 << 29, Fragmentation: 1}
		return &facts{
			servers: check.Servers{Before: store.ServerInfo{Nodes: []store.NodeInfo{n}}, After: store.ServerInfo{Nodes: []store.NodeInfo{n}}, Apart: 2 * time.Second},
			user:    "app",
			probes:  []store.Probe{{Address: "a:1", Config: map[string]string{"save": "", "appendonly": "no", "tracking-table-max-keys": "1000"}, Trips: []time.Duration{time.Millisecond}}},
			samples: []sample{{cache: "user", keys: 10, sizes: []int64{100, 200}, largest: Key{Key: "user:1", Bytes: 200}}},
		}
	}
	run := func(f *facts) (out []check.Finding) {
		for _, found := range findings(f) {
			if found.Level != check.OK {
				out = append(out, found)
			}
		}
		return out
	}
	if found := run(well()); len(found) > 0 {
		t.Fatalf("where all is well: %+v", found)
	}
	for name, c := range map[string]struct {
		harm  func(f *facts, n *store.NodeInfo, p *store.Probe)
		level check.Level
		says  string // text, why or fix
	}{
		"server":           {func(f *facts, n *store.NodeInfo, p *store.Probe) { n.Err = store.ErrAway }, check.Fail, "a:1 does not tell how it is"},
		"maxmemory":        {func(f *facts, n *store.NodeInfo, p *store.Probe) { n.Max = 0 }, check.Fail, "CONFIG SET maxmemory 2gb"},
		"maxmemory-policy": {func(f *facts, n *store.NodeInfo, p *store.Probe) { n.Policy = "noeviction" }, check.Fail, "allkeys-lfu"},
		"evictions":        {func(f *facts, n *store.NodeInfo, p *store.Probe) { n.Evicted += 30 }, check.Warn, "30 keys were evicted in the last 2.0 s, 15 per second"},
		"rights": {func(f *facts, n *store.NodeInfo, p *store.Probe) {
			f.problems = []string{"the user app may not run scan: caches are lost; grant it: ACL SETUSER app +scan"}
		}, check.Fail, "ACL SETUSER app +scan"},
		"doctor": {func(f *facts, n *store.NodeInfo, p *store.Probe) { p.Denied = []string{"+config|get", "+time"} }, check.Skipped, "may not run config get, time"},
		"ttl": {func(f *facts, n *store.NodeInfo, p *store.Probe) {
			f.samples[0].endless, f.samples[0].example = 3, "user:\x1b"
		}, check.Warn, `3 of 10 sampled keys of user have no TTL, such as "user:\x1b"`},
		"size":     {func(f *facts, n *store.NodeInfo, p *store.Probe) { f.samples[0].largest.Bytes = 3 << 20 }, check.Warn, "has 3.0 MiB (user:1)"},
		"tracking": {func(f *facts, n *store.NodeInfo, p *store.Probe) { n.TrackingKeys = 950 }, check.Warn, "CONFIG SET tracking-table-max-keys 4000"},
		"persistence": {func(f *facts, n *store.NodeInfo, p *store.Probe) {
			p.Config["save"] = "60 1000"
			p.Config["appendonly"] = "yes"
		}, check.Warn, `CONFIG SET appendonly no; CONFIG SET save ""`},
		"fragmentation": {func(f *facts, n *store.NodeInfo, p *store.Probe) { n.Fragmentation, n.Resident = 1.8, 2<<30 }, check.Warn, "activedefrag"},
		"clients":       {func(f *facts, n *store.NodeInfo, p *store.Probe) { n.Rejected = 2 }, check.Fail, "2 connections were rejected"},
		"replication": {func(f *facts, n *store.NodeInfo, p *store.Probe) {
			n.Role, n.Link, n.LinkDown = "replica", "down", time.Minute
		}, check.Warn, "no link to its master for 1m0s"},
		"clock": {func(f *facts, n *store.NodeInfo, p *store.Probe) { p.Skew = -3 * time.Second }, check.Warn, "-3s off"},
		"latency": {func(f *facts, n *store.NodeInfo, p *store.Probe) {
			p.Trips = []time.Duration{time.Millisecond, 30 * time.Millisecond, 30 * time.Millisecond}
		}, check.Fail, "25ms"},
		"settings": {func(f *facts, n *store.NodeInfo, p *store.Probe) {
			f.fleet = &fleet.View{Caches: []fleet.Cache{{Name: "user", Configs: map[string][]string{"aaaabbbbcccc": {"1", "2"}, "ddddeeee": {"3"}}}}}
			for i, id := range []string{"1", "2", "3"} {
				f.fleet.Members = append(f.fleet.Members, fleet.Member{ID: id, Host: "web\n", PID: i})
			}
		}, check.Warn, `user: 1 of 3 processes run it with other settings than the rest: 2 aaaabbbb ("web\n":0, "web\n":1); 1 ddddeeee ("web\n":2)`},
		"cluster": {func(f *facts, n *store.NodeInfo, p *store.Probe) {
			f.servers.After.ClusterState, f.servers.After.SlotsAssigned, f.servers.After.SlotsFailing = "fail", 16384, 5461
		}, check.Fail, "those of 5461 do not answer"},
	} {
		f := well()
		c.harm(f, &f.servers.After.Nodes[0], &f.probes[0])
		found := run(f)
		if len(found) != 1 || found[0].Check != name || found[0].Level != c.level || !strings.Contains(found[0].Text+found[0].Why+found[0].Fix, c.says) {
			t.Errorf("%s: got %+v, want %s and %q", name, found, c.level, c.says)
		}
	}
	// Below 1 GiB fragmentation does not matter, and what was rejected long ago is told more quietly.
	f := well()
	f.servers.After.Nodes[0].Fragmentation = 3
	f.servers.Before.Nodes[0].Rejected, f.servers.After.Nodes[0].Rejected = 7, 7
	if found := run(f); len(found) != 1 || found[0].Level != check.Warn || found[0].Check != "clients" {
		t.Errorf("got %+v", found)
	}
}
