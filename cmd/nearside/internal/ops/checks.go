package ops

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/check"
	"github.com/nearside/nearside/internal/human"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
)

const (
	bigValue       = 1 << 20 // bytes: what one value of a cache may have by default
	slowTrip       = 5 * time.Millisecond
	skewed         = time.Second
	trackedByDeflt = 1_000_000 // tracking-table-max-keys
)

// findings makes all checks.
func findings(f *facts) []check.Finding {
	out := f.servers.Check()
	for _, examine := range []func(*facts) []check.Finding{rights, endless, bigValues, tracking, persistence, clocks, trips, drifts} {
		out = append(out, examine(f)...)
	}
	return out
}

// rights are the store's problems, which name their remedy, and what could not be looked at here.
func rights(f *facts) (out []check.Finding) {
	for _, p := range f.problems {
		text, fix, grants := strings.Cut(p, "; grant it: ")
		if !grants {
			text, fix, _ = strings.Cut(p, "; delete it: ")
		}
		what, why, _ := strings.Cut(text, ": ")
		out = append(out, check.One("rights", check.Fail, what, why, fix)...)
	}
	var denied []string
	for _, p := range f.probes {
		denied = append(denied, p.Denied...)
	}
	slices.Sort(denied)
	if denied = slices.Compact(denied); len(denied) > 0 {
		out = append(out, check.One("doctor", check.Skipped, "not everything could be looked at: this user may not run "+strings.ReplaceAll(strings.ReplaceAll(strings.Join(denied, ", "), "+", ""), "|", " "),
			"", "ACL SETUSER "+f.user+" "+strings.Join(denied, " ")+" (for doctor alone: the caches do without)")...)
	}
	for _, s := range f.samples {
		if s.err != nil {
			out = append(out, check.One("doctor", check.Skipped, fmt.Sprintf("the keys of %s could not be looked at: %v", s.cache, s.err), "", "")...)
		}
	}
	if len(out) == 0 && len(f.probes) > 0 {
		out = check.Passed("rights", "the user has all rights that the caches need")
	}
	return out
}

func endless(f *facts) (out []check.Finding) {
	sampled := 0
	for _, s := range f.samples {
		sampled += s.keys
		if s.endless > 0 {
			how := "%d of %d sampled keys of %s have no TTL, such as %s"
			if s.all {
				how = "%d of %d keys of %s have no TTL, such as %s"
			}
			out = append(out, check.One("ttl", check.Warn, fmt.Sprintf(how, s.endless, s.keys, s.cache, human.Name(s.example)),
				"the layer always sets one, so another program writes them; they are served until somebody invalidates them",
				"find who writes them; nearside invalidate "+s.cache+" --all --yes has them loaded anew, with a TTL")...)
		}
	}
	switch {
	case len(out) > 0:
		return out
	case len(f.samples) == 0 && !f.declared:
		return check.One("ttl", check.Skipped, "keys without a TTL and large values were not looked for: no cache is named", "", "nearside doctor CACHE ...")
	}
	return check.Passed("ttl", "all of %d sampled keys have a TTL", sampled)
}

func bigValues(f *facts) (out []check.Finding) {
	var all []int64
	for _, s := range f.samples {
		all = append(all, s.sizes...)
		p99 := quantile(s.sizes, 0.99)
		switch {
		case s.unsized > 0 && len(s.sizes) == 0:
			out = append(out, check.One("size", check.Skipped, "the sizes of "+s.cache+" are not known: this user may run neither MEMORY USAGE nor STRLEN", "", "ACL SETUSER "+f.user+" +memory|usage +strlen")...)
		case s.largest.size() >= bigValue:
			out = append(out, check.One("size", check.Warn, fmt.Sprintf("%s: the largest of %d sampled values has %s (%s), the 99th percentile is %s",
				s.cache, len(s.sizes), human.Bytes(s.largest.size()), human.Name(s.largest.Key), human.Bytes(p99)),
				"one large value holds up all that waits on its connection: 1 MiB takes some milliseconds", "load less of it, split it, or compress it (codec.Compressed)")...)
		}
	}
	if len(out) == 0 && len(all) > 0 {
		slices.Sort(all)
		return check.Passed("size", "values: 99th percentile %s, largest %s of %d sampled", human.Bytes(quantile(all, 0.99)), human.Bytes(all[len(all)-1]), len(all))
	}
	return out
}

func tracking(f *facts) []check.Finding {
	if !f.servers.Redis() {
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
	full, at := f.servers.Which(func(n store.NodeInfo) bool { return limit(n) > 0 && n.TrackingKeys >= limit(n)*9/10 })
	if len(full) > 0 {
		return check.One("tracking", check.Warn, fmt.Sprintf("the table of tracked keys is full: %d of %d%s", full[0].TrackingKeys, limit(full[0]), f.servers.Where(at)),
			"the server forgets keys and tells near tiers to drop them, although nobody changed them",
			fmt.Sprintf("CONFIG SET tracking-table-max-keys %d (and in redis.conf), or keep less near", 4*limit(full[0])))
	}
	keys, clients := int64(0), int64(0)
	for _, n := range f.servers.After.Nodes {
		keys, clients = keys+n.TrackingKeys, clients+n.TrackingClients
	}
	if clients == 0 {
		return check.Passed("tracking", "tracking is possible; no client keeps values near at the moment")
	}
	return check.Passed("tracking", "tracking: %d keys for %d clients", keys, clients)
}

func persistence(f *facts) []check.Finding {
	if len(f.probes) == 0 {
		return nil
	}
	pure, _ := f.servers.Which(func(n store.NodeInfo) bool { return strings.HasPrefix(n.Policy, "allkeys-") && n.Max > 0 })
	var at, fixes []string
	known := false
	for _, p := range f.probes {
		save, told := p.Config["save"]
		known = known || told
		i := slices.IndexFunc(f.servers.After.Nodes, func(n store.NodeInfo) bool { return n.Address == p.Address })
		aof := p.Config["appendonly"] == "yes" || i >= 0 && f.servers.After.Nodes[i].AppendOnly
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
		return check.Passed("persistence", "nothing is written to disk")
	case len(pure) == 0:
		return check.Passed("persistence", "it writes to disk, which is right if other data lives there too; caches are emptied when it starts from older data")
	}
	return check.One("persistence", check.Warn, "a cache is written to disk"+f.servers.Where(at), "each snapshot forks the process, which holds it up and may take twice its memory; a server that starts from older data has its caches emptied, since the values are in the database anyway",
		strings.Join(fixes, "; ")+" (and in redis.conf), if nothing else lives there")
}

func clocks(f *facts) (out []check.Finding) {
	worst, known := time.Duration(0), false
	for _, p := range f.probes {
		if p.Err != nil || slices.Contains(p.Denied, "+time") {
			continue
		}
		known = true
		off := max(p.Skew.Abs()-p.Error, 0)
		worst = max(worst, off)
		if off > skewed {
			out = append(out, check.One("clock", check.Warn, fmt.Sprintf("the clock of %s is %v off from ours", p.Address, p.Skew.Round(time.Millisecond)),
				"TTLs are counted by each clock for itself, but times in logs and statistics do not fit together", "chronyc tracking, on both machines")...)
		}
	}
	if len(out) == 0 && known {
		return check.Passed("clock", "clocks agree within %v", max(worst.Round(time.Millisecond), time.Millisecond))
	}
	return out
}

func trips(f *facts) (out []check.Finding) {
	worst := time.Duration(0)
	for _, p := range f.probes {
		if p.Err != nil {
			out = append(out, check.One("latency", check.Fail, fmt.Sprintf("%s: %v", p.Address, p.Err), "it answers some commands and not others", "")...)
			continue
		}
		sorted := slices.Sorted(slices.Values(p.Trips))
		p50, p99 := quantile(sorted, 0.5), quantile(sorted, 0.99)
		worst = max(worst, p99)
		if p99 > slowTrip {
			level, why := check.Warn, "each hit waits for one round trip"
			if budget := health.BudgetFor(sorted[0]); p99 > budget {
				level, why = check.Fail, fmt.Sprintf("a read waits %v for Redis at this distance, by default, and then loads from the database", budget)
			}
			out = append(out, check.One("latency", level, fmt.Sprintf("a round trip to %s takes %v, at the 99th percentile %v", p.Address, p50.Round(10*time.Microsecond), p99.Round(10*time.Microsecond)),
				why, "redis-cli --latency; SLOWLOG GET; keep hot values near (near:, Config.NearSize)")...)
		}
	}
	if len(out) == 0 && len(f.probes) > 0 {
		return check.Passed("latency", "round trips: 99th percentile %v", worst.Round(10*time.Microsecond))
	}
	return out
}
