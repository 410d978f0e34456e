package serve

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

// info answers in Redis' own format, so that a client's way to its hit ratio works: keyspace_hits and keyspace_misses
// count our reads, keys and memory are the store's.
func (h *Handler) info(ctx context.Context, _ *resp.Conn, out []byte, args [][]byte) []byte {
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
	for _, c := range h.service.caches {
		s := c.Stats()
		hits += s.Near + s.Store + s.Stale + s.Negative
		misses += s.Load + s.Errors
	}
	usage, err := h.service.Usage(ctx)
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
	section("Memory", line("used_memory", usage.Bytes), line("maxmemory", usage.MaxBytes))
	section("Stats", line("total_connections_received", clients.Accepted), line("total_commands_processed", clients.Commands),
		line("keyspace_hits", hits), line("keyspace_misses", misses), line("evicted_keys", usage.Evicted))
	section("Replication", line("role", "master"), line("connected_slaves", 0))
	section("Cluster", line("cluster_enabled", 0))
	if err == nil && usage.Keys > 0 {
		section("Keyspace", line("db0", fmt.Sprintf("keys=%d,expires=%d,avg_ttl=0", usage.Keys, usage.Keys)))
	} else {
		section("Keyspace")
	}
	caches := make([]string, len(h.service.caches))
	for i, c := range h.service.caches {
		s := c.Stats()
		caches[i] = line("cache_"+c.Name, fmt.Sprintf("near=%d,store=%d,load=%d,stale=%d,negative=%d,errors=%d,loads=%d,coalesced=%d",
			s.Near, s.Store, s.Load, s.Stale, s.Negative, s.Errors, s.Loads, s.Coalesced))
	}
	recovery := h.service.Recovery()
	section("Nearside", append(caches, line("pending_invalidations", recovery.Pending), line("repeated_invalidations", recovery.Repeated),
		line("caches_read_past", recovery.Past))...)
	return resp.AppendBulkString(out, b.String())
}
