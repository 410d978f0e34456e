package serve

import (
	"context"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/tally"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
)

// info answers in Redis' own format, so that a client's way to its hit ratio works: keyspace_hits and keyspace_misses
// count our reads, keys and memory are the store's.
func (h *Handler) info(ctx context.Context, _ *respserver.Conn, out []byte, args [][]byte) []byte {
	wanted := func(section string) bool {
		if len(args) == 1 {
			return true
		}
		for _, a := range args[1:] {
			if is(a, section) || is(a, "all") || is(a, "everything") || is(a, "default") {
				return true
			}
		}
		return false
	}
	var hits, misses uint64
	stats := h.service.Stats(ctx)
	for _, s := range stats.Caches {
		hits += s.Near + s.Store + s.Stale + s.Negative
		misses += s.Load + s.Errors
	}
	clients := h.stats()
	up := int64(time.Since(h.started) / time.Second)

	var b strings.Builder
	section := func(name string, lines ...string) {
		if wanted(name) {
			if b.Len() > 0 {
				b.WriteString("\r\n")
			}
			b.WriteString("# " + name + "\r\n" + strings.Join(lines, "\r\n") + "\r\n")
		}
	}
	line := func(key string, value any) string { return fmt.Sprintf("%s:%v", key, value) }
	section("Server", line("redis_version", redisVersion), line("redis_mode", "standalone"), line("nearside_version", h.version),
		line("process_id", os.Getpid()), line("uptime_in_seconds", up), line("uptime_in_days", up/86400))
	section("Clients", line("connected_clients", clients.Clients))
	section("Memory", line("used_memory", stats.Bytes), line("maxmemory", stats.MaxBytes))
	section("Stats", line("total_connections_received", clients.Accepted), line("total_commands_processed", clients.Commands),
		line("keyspace_hits", hits), line("keyspace_misses", misses), line("evicted_keys", stats.Evicted))
	section("Replication", line("role", "master"), line("connected_slaves", 0))
	section("Cluster", line("cluster_enabled", 0))
	if stats.Keys > 0 {
		section("Keyspace", line("db0", fmt.Sprintf("keys=%d,expires=%d,avg_ttl=0", stats.Keys, stats.Keys)))
	} else {
		section("Keyspace")
	}
	lines := []string{line("deferred_invalidations", stats.Deferred), line("repeated_invalidations", stats.Repeated), line("caches_bypassed", stats.Bypassed), line("keys_in_doubt", stats.InDoubt)}
	for i, b := range stats.Breakers {
		lines = append(lines, line("node"+strconv.Itoa(i), "address="+b.Node+",breaker="+b.State))
	}
	for _, c := range h.service.caches {
		lines = append(lines, line("cache_"+c.Name, counts(c, stats.Caches[c.Name])))
	}
	section("Nearside", lines...)
	return resp.AppendBulkString(out, b.String())
}

// counts is all that is counted of a cache, by the words of package tally, and what is kept near.
func counts(c *Cache, s nearside.CacheStats) string {
	var b strings.Builder
	t := c.Tally()
	for i, n := range t.Counts {
		fmt.Fprintf(&b, "%v=%d,", tally.Count(i), n)
	}
	for i := range t.Latency {
		for _, q := range [...]struct {
			name  string
			share float64
		}{{"p50", 0.5}, {"p99", 0.99}} {
			fmt.Fprintf(&b, "%v_%s_us=%.3f,", tally.Tier(i), q.name, t.Latency[i].Quantile(q.share).Seconds()*1e6)
		}
	}
	fmt.Fprintf(&b, "near_entries=%d,near_bytes=%d", s.NearEntries, s.NearBytes)
	return b.String()
}
