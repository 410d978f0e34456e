package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/human"
	"github.com/nearside/nearside/internal/store"
)

const (
	fragmentation  = 1.5
	fragmentedFrom = 1 << 30 // bytes; below it does not matter
	lagging        = 10 * time.Second
)

// Servers are all servers behind a store, looked at twice.
type Servers struct {
	Before, After store.ServerInfo
	Apart         time.Duration // between the two
}

// Check makes all checks that need no more than what servers tell of themselves.
func (s *Servers) Check() (out []Finding) {
	for _, f := range []func() []Finding{s.answering, s.cluster, s.bounded, s.policy, s.evictions, s.fragmented, s.rejected, s.replication} {
		out = append(out, f()...)
	}
	return out
}

// Which returns the servers that have answered and of which a test is true, and their addresses.
func (s *Servers) Which(is func(n store.NodeInfo) bool) (out []store.NodeInfo, addresses []string) {
	for _, n := range s.After.Nodes {
		if n.Err == nil && is(n) {
			out, addresses = append(out, n), append(addresses, n.Address)
		}
	}
	return out, addresses
}

// Redis reports whether there is a Redis that has answered.
func (s *Servers) Redis() bool {
	n, _ := s.Which(func(n store.NodeInfo) bool { return n.Software != "nearside" })
	return len(n) > 0
}

// grew returns how much a counter of all servers has grown since the first look.
func (s *Servers) grew(of func(store.NodeInfo) int64) (n int64) {
	before := make(map[string]store.NodeInfo)
	for _, b := range s.Before.Nodes {
		before[b.Address] = b
	}
	for _, a := range s.After.Nodes {
		if b, known := before[a.Address]; known && a.Err == nil && b.Err == nil {
			n += max(of(a)-of(b), 0)
		}
	}
	return n
}

// Where names the servers that a finding is about, if there are several.
func (s *Servers) Where(addresses []string) string {
	all := len(s.After.Nodes)
	if all < 2 {
		return ""
	}
	if len(addresses) == all {
		return fmt.Sprintf(" on all %d servers", all)
	}
	return " on " + strings.Join(addresses, ", ")
}

func (s *Servers) answering() (out []Finding) {
	var versions []string
	var used, limit int64
	for _, n := range s.After.Nodes {
		if n.Err != nil {
			out = append(out, Finding{"server", Fail, fmt.Sprintf("%s does not tell how it is: %v", n.Address, n.Err),
				"what it holds is loaded from the database while it is away", "redis-cli -u redis://" + n.Address + " INFO"})
			continue
		}
		if v := n.Software + " " + n.Version; !slices.Contains(versions, strings.TrimSpace(v)) {
			versions = append(versions, strings.TrimSpace(v))
		}
		if n.Loading {
			out = append(out, Finding{"server", Warn, n.Address + " is reading its data from disk", "until it has, its keys are loaded from the database", "wait"})
		}
		if n.Role == "master" {
			used, limit = used+n.Used, limit+n.Max
		}
	}
	if len(versions) == 0 {
		return out
	}
	text := fmt.Sprintf("%s, %s used", strings.Join(versions, ", "), human.Bytes(used))
	if limit > 0 {
		text = fmt.Sprintf("%s, %s of %s used", strings.Join(versions, ", "), human.Bytes(used), human.Bytes(limit))
	}
	if n := len(s.After.Nodes); n > 1 {
		text = fmt.Sprintf("%d servers, %s", n, text)
	}
	return append(out, Passed("server", "%s", text)...)
}

func (s *Servers) cluster() []Finding {
	switch s := s.After; {
	case s.ClusterState == "":
		return nil
	case s.ClusterState != "ok" || s.SlotsFailing > 0 || s.SlotsAssigned < 16384:
		return One("cluster", Fail, fmt.Sprintf("the cluster's state is %s, %d of 16384 slots have a master, those of %d do not answer", s.ClusterState, s.SlotsAssigned, s.SlotsFailing),
			"the keys of those slots are loaded from the database each time, and invalidations of them are kept until they are back",
			"redis-cli --cluster check HOST:PORT, then redis-cli --cluster fix HOST:PORT")
	}
	return Passed("cluster", "cluster: all 16384 slots answer")
}

func (s *Servers) bounded() []Finding {
	if !s.Redis() {
		return nil
	}
	if _, at := s.Which(func(n store.NodeInfo) bool { return n.Max == 0 }); len(at) > 0 {
		return One("maxmemory", Fail, "maxmemory is 0: no bound is set"+s.Where(at),
			"it grows until the system kills it, and the cache is empty", "CONFIG SET maxmemory 2gb (and in redis.conf; some 75 % of what the machine may give it)")
	}
	return Passed("maxmemory", "maxmemory is set")
}

func (s *Servers) policy() []Finding {
	if !s.Redis() {
		return nil
	}
	if _, at := s.Which(func(n store.NodeInfo) bool { return n.Policy == "noeviction" }); len(at) > 0 {
		return One("maxmemory-policy", Fail, "maxmemory-policy is noeviction"+s.Where(at),
			"when it is full, values are loaded and not stored, until something expires", "CONFIG SET maxmemory-policy allkeys-lfu (and in redis.conf); sessions want noeviction, on a Redis of their own")
	}
	n, _ := s.Which(func(n store.NodeInfo) bool { return n.Policy != "" })
	if len(n) == 0 {
		return nil
	}
	return Passed("maxmemory-policy", "maxmemory-policy %s", n[0].Policy)
}

func (s *Servers) evictions() []Finding {
	if n := s.grew(func(n store.NodeInfo) int64 { return n.Evicted }); n > 0 {
		return One("evictions", Warn, fmt.Sprintf("%d keys were evicted in the last %.1f s, %.0f per second", n, s.Apart.Seconds(), float64(n)/s.Apart.Seconds()),
			"values go before their TTL ends, and are loaded again: the memory is too small for them", "raise maxmemory (CONFIG SET maxmemory, or memory: of nearside serve), or shorten the TTLs of what is seldom read")
	}
	return Passed("evictions", "nothing is evicted")
}

func (s *Servers) fragmented() []Finding {
	if !s.Redis() {
		return nil
	}
	bad, at := s.Which(func(n store.NodeInfo) bool { return n.Fragmentation > fragmentation && n.Resident > fragmentedFrom })
	if len(bad) > 0 {
		return One("fragmentation", Warn, fmt.Sprintf("fragmentation is %.2f: %s are held for %s%s", bad[0].Fragmentation, human.Bytes(bad[0].Resident), human.Bytes(bad[0].Used), s.Where(at)),
			"maxmemory counts what is used, so the machine may run out before it", "CONFIG SET activedefrag yes, or a restart")
	}
	if swapped, at := s.Which(func(n store.NodeInfo) bool {
		return n.Fragmentation > 0 && n.Fragmentation < 0.9 && n.Used > fragmentedFrom
	}); len(swapped) > 0 {
		return One("fragmentation", Warn, fmt.Sprintf("%s of %s are in memory%s", human.Bytes(swapped[0].Resident), human.Bytes(swapped[0].Used), s.Where(at)),
			"the rest is swapped to disk, and reading it takes milliseconds", "lower maxmemory, or give the machine more memory")
	}
	return Passed("fragmentation", "no memory is lost to fragmentation")
}

func (s *Servers) rejected() []Finding {
	if n := s.grew(func(n store.NodeInfo) int64 { return n.Rejected }); n > 0 {
		return One("clients", Fail, fmt.Sprintf("%d connections were rejected in the last %.1f s", n, s.Apart.Seconds()),
			"the number of clients has reached maxclients: who connects anew gets no cache", "CONFIG SET maxclients 20000, and look who has so many: CLIENT LIST")
	}
	if n, at := s.Which(func(n store.NodeInfo) bool { return n.Rejected > 0 }); len(n) > 0 {
		return One("clients", Warn, fmt.Sprintf("%d connections were rejected since the start, none just now%s", n[0].Rejected, s.Where(at)),
			"the number of clients has reached maxclients once: who connected then got no cache", "CONFIG SET maxclients 20000; CONFIG RESETSTAT forgets the count")
	}
	if !s.Redis() {
		return nil
	}
	return Passed("clients", "no connection was rejected")
}

func (s *Servers) replication() (out []Finding) {
	replicas := 0
	for _, n := range s.After.Nodes {
		if n.Role == "replica" && n.Link == "down" {
			out = append(out, Finding{"replication", Warn, fmt.Sprintf("the replica %s has had no link to its master for %v", n.Address, n.LinkDown),
				"if its master dies now, nobody can take over with what it holds", "look at its log; redis-cli -u redis://" + n.Address + " INFO replication"})
		}
		for _, r := range n.Replicas {
			if replicas++; r.State != "online" || r.Lag > lagging {
				out = append(out, Finding{"replication", Warn, fmt.Sprintf("the replica %s of %s is %s, %v without a word, %s behind", r.Address, n.Address, r.State, r.Lag, human.Bytes(r.Behind)),
					"a failover to it loses invalidations", "look at its log and at the network between the two"})
			}
		}
	}
	if len(out) == 0 && replicas > 0 {
		return Passed("replication", "%d replicas follow", replicas)
	}
	return out
}
