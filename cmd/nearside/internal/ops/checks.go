package ops

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/human"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
)

const (
	fragmentation  = 1.5
	fragmentedFrom = 1 << 30 // bytes; below it does not matter
	bigValue       = 1 << 20 // bytes: what one value of a cache may have by default
	slowTrip       = 5 * time.Millisecond
	skewed         = time.Second
	lagging        = 10 * time.Second
	trackedByDeflt = 1_000_000 // tracking-table-max-keys
)

// checks are made one after the other.
var checks = []func(*facts) []Finding{
	answering, cluster, bounded, policy, evictions, rights, endless, bigValues, tracking, persistence, fragmented, rejected, replication, clocks, trips, drifts,
}

// nodes are the servers that have answered, and of those the ones that a test is true of.
func (f *facts) nodes(is func(n store.NodeInfo) bool) (out []store.NodeInfo, addresses []string) {
	for _, n := range f.after.Nodes {
		if n.Err == nil && is(n) {
			out, addresses = append(out, n), append(addresses, n.Address)
		}
	}
	return out, addresses
}

// redis reports whether there is a Redis that has answered.
func (f *facts) redis() bool {
	n, _ := f.nodes(func(n store.NodeInfo) bool { return n.Software != "nearside" })
	return len(n) > 0
}

func one(check string, l Level, text, why, fix string) []Finding {
	return []Finding{{Check: check, Level: l, Text: text, Why: why, Fix: fix}}
}

func ok(check, format string, args ...any) []Finding {
	return one(check, OK, fmt.Sprintf(format, args...), "", "")
}

func answering(f *facts) (out []Finding) {
	var versions []string
	var used, limit int64
	for _, n := range f.after.Nodes {
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
	if n := len(f.after.Nodes); n > 1 {
		text = fmt.Sprintf("%d servers, %s", n, text)
	}
	return append(out, ok("server", "%s", text)...)
}

func cluster(f *facts) []Finding {
	switch s := f.after; {
	case s.ClusterState == "":
		return nil
	case s.ClusterState != "ok" || s.SlotsFailing > 0 || s.SlotsAssigned < 16384:
		return one("cluster", Fail, fmt.Sprintf("the cluster's state is %s, %d of 16384 slots have a master, those of %d do not answer", s.ClusterState, s.SlotsAssigned, s.SlotsFailing),
			"the keys of those slots are loaded from the database each time, and invalidations of them are kept until they are back",
			"redis-cli --cluster check HOST:PORT, then redis-cli --cluster fix HOST:PORT")
	}
	return ok("cluster", "cluster: all 16384 slots answer")
}

func bounded(f *facts) []Finding {
	if !f.redis() {
		return nil
	}
	if _, at := f.nodes(func(n store.NodeInfo) bool { return n.Max == 0 }); len(at) > 0 {
		return one("maxmemory", Fail, "maxmemory is 0: no bound is set"+where(f.after.Nodes, at),
			"it grows until the system kills it, and the cache is empty", "CONFIG SET maxmemory 2gb (and in redis.conf; some 75 % of what the machine may give it)")
	}
	return ok("maxmemory", "maxmemory is set")
}

func policy(f *facts) []Finding {
	if !f.redis() {
		return nil
	}
	if _, at := f.nodes(func(n store.NodeInfo) bool { return n.Policy == "noeviction" }); len(at) > 0 {
		return one("maxmemory-policy", Fail, "maxmemory-policy is noeviction"+where(f.after.Nodes, at),
			"when it is full, values are loaded and not stored, until something expires", "CONFIG SET maxmemory-policy allkeys-lfu (and in redis.conf)")
	}
	n, _ := f.nodes(func(n store.NodeInfo) bool { return n.Policy != "" })
	if len(n) == 0 {
		return nil
	}
	return ok("maxmemory-policy", "maxmemory-policy %s", n[0].Policy)
}

// grew returns how much a counter of all servers has grown since the first look.
func (f *facts) grew(of func(store.NodeInfo) int64) (n int64) {
	before := make(map[string]store.NodeInfo)
	for _, b := range f.before.Nodes {
		before[b.Address] = b
	}
	for _, a := range f.after.Nodes {
		if b, known := before[a.Address]; known && a.Err == nil && b.Err == nil {
			n += max(of(a)-of(b), 0)
		}
	}
	return n
}

func evictions(f *facts) []Finding {
	if n := f.grew(func(n store.NodeInfo) int64 { return n.Evicted }); n > 0 {
		return one("evictions", Warn, fmt.Sprintf("%d keys were evicted in the last %.1f s, %.0f per second", n, f.apart.Seconds(), float64(n)/f.apart.Seconds()),
			"values go before their TTL ends, and are loaded again: the memory is too small for them", "raise maxmemory (CONFIG SET maxmemory, or memory: of nearside serve), or shorten the TTLs of what is seldom read")
	}
	return ok("evictions", "nothing is evicted")
}

// rights are the store's problems, which name their remedy, and what could not be looked at here.
func rights(f *facts) (out []Finding) {
	for _, p := range f.problems {
		text, fix, grants := strings.Cut(p, "; grant it: ")
		if !grants {
			text, fix, _ = strings.Cut(p, "; delete it: ")
		}
		what, why, _ := strings.Cut(text, ": ")
		out = append(out, Finding{"rights", Fail, what, why, fix})
	}
	var denied []string
	for _, p := range f.probes {
		denied = append(denied, p.Denied...)
	}
	slices.Sort(denied)
	if denied = slices.Compact(denied); len(denied) > 0 {
		out = append(out, Finding{"doctor", Skipped, "not everything could be looked at: this user may not run " + strings.ReplaceAll(strings.ReplaceAll(strings.Join(denied, ", "), "+", ""), "|", " "),
			"", "ACL SETUSER " + f.user + " " + strings.Join(denied, " ") + " (for doctor alone: the caches do without)"})
	}
	for _, s := range f.samples {
		if s.err != nil {
			out = append(out, Finding{"doctor", Skipped, fmt.Sprintf("the keys of %s could not be looked at: %v", s.cache, s.err), "", ""})
		}
	}
	if len(out) == 0 && len(f.probes) > 0 {
		out = ok("rights", "the user has all rights that the caches need")
	}
	return out
}

func endless(f *facts) (out []Finding) {
	sampled := 0
	for _, s := range f.samples {
		sampled += s.keys
		if s.endless > 0 {
			how := "%d of %d sampled keys of %s have no TTL, such as %s"
			if s.all {
				how = "%d of %d keys of %s have no TTL, such as %s"
			}
			out = append(out, Finding{"ttl", Warn, fmt.Sprintf(how, s.endless, s.keys, s.cache, human.Name(s.example)),
				"the layer always sets one, so another program writes them; they are served until somebody invalidates them",
				"find who writes them; nearside invalidate " + s.cache + " --all --yes has them loaded anew, with a TTL"})
		}
	}
	switch {
	case len(out) > 0:
		return out
	case len(f.samples) == 0 && !f.declared:
		return one("ttl", Skipped, "keys without a TTL and large values were not looked for: no cache is named", "", "nearside doctor CACHE ...")
	}
	return ok("ttl", "all of %d sampled keys have a TTL", sampled)
}

func bigValues(f *facts) (out []Finding) {
	var all []int64
	for _, s := range f.samples {
		all = append(all, s.sizes...)
		p99 := quantile(s.sizes, 0.99)
		switch {
		case s.unsized > 0 && len(s.sizes) == 0:
			out = append(out, Finding{"size", Skipped, "the sizes of " + s.cache + " are not known: this user may run neither MEMORY USAGE nor STRLEN", "", "ACL SETUSER " + f.user + " +memory|usage +strlen"})
		case s.largest.size() >= bigValue:
			out = append(out, Finding{"size", Warn, fmt.Sprintf("%s: the largest of %d sampled values has %s (%s), the 99th percentile is %s",
				s.cache, len(s.sizes), human.Bytes(s.largest.size()), human.Name(s.largest.Key), human.Bytes(p99)),
				"one large value holds up all that waits on its connection: 1 MiB takes some milliseconds", "load less of it, split it, or compress it (codec.Compressed)"})
		}
	}
	if len(out) == 0 && len(all) > 0 {
		slices.Sort(all)
		return ok("size", "values: 99th percentile %s, largest %s of %d sampled", human.Bytes(quantile(all, 0.99)), human.Bytes(all[len(all)-1]), len(all))
	}
	return out
}

func tracking(f *facts) []Finding {
	if !f.redis() {
		return nil
	}
	if slices.ContainsFunc(f.problems, func(p string) bool { return strings.Contains(strings.ToLower(p), "tracking") }) {
		return nil // said among the rights
	}
	limits := make(map[string]int64)
	for _, p := range f.probes {
		if n, err := strconv.ParseInt(p.Config["tracking-table-max-keys"], 10, 64); err == nil {
			limits[p.Address] = n
		}
	}
	limit := func(n store.NodeInfo) int64 {
		if l, known := limits[n.Address]; known {
			return l
		}
		return trackedByDeflt
	}
	full, at := f.nodes(func(n store.NodeInfo) bool { return limit(n) > 0 && n.TrackingKeys >= limit(n)*9/10 })
	if len(full) > 0 {
		return one("tracking", Warn, fmt.Sprintf("the table of tracked keys is full: %d of %d%s", full[0].TrackingKeys, limit(full[0]), where(f.after.Nodes, at)),
			"the server forgets keys and tells near tiers to drop them, although nobody changed them",
			fmt.Sprintf("CONFIG SET tracking-table-max-keys %d (and in redis.conf), or keep less near", 4*limit(full[0])))
	}
	keys, clients := int64(0), int64(0)
	for _, n := range f.after.Nodes {
		keys, clients = keys+n.TrackingKeys, clients+n.TrackingClients
	}
	if clients == 0 {
		return ok("tracking", "tracking is possible; no client keeps values near at the moment")
	}
	return ok("tracking", "tracking: %d keys for %d clients", keys, clients)
}

func persistence(f *facts) []Finding {
	if len(f.probes) == 0 {
		return nil
	}
	pure, _ := f.nodes(func(n store.NodeInfo) bool { return strings.HasPrefix(n.Policy, "allkeys-") && n.Max > 0 })
	var at, fixes []string
	known := false
	for _, p := range f.probes {
		save, told := p.Config["save"]
		known = known || told
		i := slices.IndexFunc(f.after.Nodes, func(n store.NodeInfo) bool { return n.Address == p.Address })
		aof := p.Config["appendonly"] == "yes" || i >= 0 && f.after.Nodes[i].AppendOnly
		if save != "" {
			fixes = append(fixes, `CONFIG SET save ""`)
		}
		if aof {
			fixes = append(fixes, "CONFIG SET appendonly no")
		}
		if save != "" || aof {
			at = append(at, p.Address)
		}
	}
	slices.Sort(fixes)
	fixes = slices.Compact(fixes)
	switch {
	case len(at) == 0 && !known:
		return nil // CONFIG may not be asked, which is said
	case len(at) == 0:
		return ok("persistence", "nothing is written to disk")
	case len(pure) == 0:
		return ok("persistence", "it writes to disk, which is right if other data lives there too; caches are emptied when it starts from older data")
	}
	return one("persistence", Warn, "a cache is written to disk"+where(f.after.Nodes, at), "each snapshot forks the process, which holds it up and may take twice its memory; a server that starts from older data has its caches emptied, since the values are in the database anyway",
		strings.Join(fixes, "; ")+" (and in redis.conf), if nothing else lives there")
}

func fragmented(f *facts) []Finding {
	if !f.redis() {
		return nil
	}
	bad, at := f.nodes(func(n store.NodeInfo) bool { return n.Fragmentation > fragmentation && n.Resident > fragmentedFrom })
	if len(bad) > 0 {
		return one("fragmentation", Warn, fmt.Sprintf("fragmentation is %.2f: %s are held for %s%s", bad[0].Fragmentation, human.Bytes(bad[0].Resident), human.Bytes(bad[0].Used), where(f.after.Nodes, at)),
			"maxmemory counts what is used, so the machine may run out before it", "CONFIG SET activedefrag yes, or a restart")
	}
	if swapped, at := f.nodes(func(n store.NodeInfo) bool {
		return n.Fragmentation > 0 && n.Fragmentation < 0.9 && n.Used > fragmentedFrom
	}); len(swapped) > 0 {
		return one("fragmentation", Warn, fmt.Sprintf("%s of %s are in memory%s", human.Bytes(swapped[0].Resident), human.Bytes(swapped[0].Used), where(f.after.Nodes, at)),
			"the rest is swapped to disk, and reading it takes milliseconds", "lower maxmemory, or give the machine more memory")
	}
	return ok("fragmentation", "no memory is lost to fragmentation")
}

func rejected(f *facts) []Finding {
	if n := f.grew(func(n store.NodeInfo) int64 { return n.Rejected }); n > 0 {
		return one("clients", Fail, fmt.Sprintf("%d connections were rejected in the last %.1f s", n, f.apart.Seconds()),
			"the number of clients has reached maxclients: who connects anew gets no cache", "CONFIG SET maxclients 20000, and look who has so many: CLIENT LIST")
	}
	if n, at := f.nodes(func(n store.NodeInfo) bool { return n.Rejected > 0 }); len(n) > 0 {
		return one("clients", Warn, fmt.Sprintf("%d connections were rejected since the start, none just now%s", n[0].Rejected, where(f.after.Nodes, at)),
			"the number of clients has reached maxclients once: who connected then got no cache", "CONFIG SET maxclients 20000; CONFIG RESETSTAT forgets the count")
	}
	if !f.redis() {
		return nil
	}
	return ok("clients", "no connection was rejected")
}

func replication(f *facts) (out []Finding) {
	replicas := 0
	for _, n := range f.after.Nodes {
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
		return ok("replication", "%d replicas follow", replicas)
	}
	return out
}

func clocks(f *facts) (out []Finding) {
	worst, known := time.Duration(0), false
	for _, p := range f.probes {
		if p.Err != nil || slices.Contains(p.Denied, "+time") {
			continue
		}
		known = true
		off := max(p.Skew.Abs()-p.Error, 0)
		worst = max(worst, off)
		if off > skewed {
			out = append(out, Finding{"clock", Warn, fmt.Sprintf("the clock of %s is %v off from ours", p.Address, p.Skew.Round(time.Millisecond)),
				"TTLs are counted by each clock for itself, but times in logs and statistics do not fit together", "chronyc tracking, on both machines"})
		}
	}
	if len(out) == 0 && known {
		return ok("clock", "clocks agree within %v", max(worst.Round(time.Millisecond), time.Millisecond))
	}
	return out
}

func trips(f *facts) (out []Finding) {
	worst := time.Duration(0)
	for _, p := range f.probes {
		if p.Err != nil {
			out = append(out, Finding{"latency", Fail, fmt.Sprintf("%s: %v", p.Address, p.Err), "it answers some commands and not others", ""})
			continue
		}
		sorted := slices.Sorted(slices.Values(p.Trips))
		p50, p99 := quantile(sorted, 0.5), quantile(sorted, 0.99)
		worst = max(worst, p99)
		if p99 > slowTrip {
			level, why := Warn, "each hit waits for one round trip"
			if budget := health.BudgetFor(sorted[0]); p99 > budget {
				level, why = Fail, fmt.Sprintf("a read waits %v for Redis at this distance, by default, and then loads from the database", budget)
			}
			out = append(out, Finding{"latency", level, fmt.Sprintf("a round trip to %s takes %v, at the 99th percentile %v", p.Address, p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond)),
				why, "redis-cli --latency; SLOWLOG GET; keep hot values near (near:, Config.NearSize)"})
		}
	}
	if len(out) == 0 && len(f.probes) > 0 {
		return ok("latency", "round trips: 99th percentile %v", worst.Round(10*time.Microsecond))
	}
	return out
}
