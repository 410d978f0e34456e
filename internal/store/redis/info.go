package redis

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// Server reads the INFO of every node, all at once: of a cluster its replicas too. A node that does not answer has an Err.
func (s *Store) Server(ctx context.Context) (info store.ServerInfo) {
	if err := s.unusable(); err != nil {
		return store.ServerInfo{Nodes: []store.NodeInfo{{Address: s.target.String(), Err: err}}}
	}
	nodes, done := s.nodes(ctx)
	defer done()
	info.Nodes = make([]store.NodeInfo, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { info.Nodes[i] = nodeInfo(ctx, n) })
	}
	all.Wait()
	if s.target.Mode == redisurl.Cluster {
		for i, n := range nodes {
			if info.Nodes[i].Err != nil || info.Nodes[i].Role != "master" {
				continue
			}
			if text, err := n.c.Do(ctx, n.c.B().ClusterInfo().Build()).ToString(); err == nil {
				text = strings.TrimPrefix(text, "txt:") // of a verbatim string, which the client leaves in
				info.ClusterState, info.SlotsAssigned = reply.Field(text, "cluster_state"), reply.Number(text, "cluster_slots_assigned")
				info.SlotsFailing = reply.Number(text, "cluster_slots_pfail") + reply.Number(text, "cluster_slots_fail")
				break
			}
		}
	}
	slices.SortStableFunc(info.Nodes, func(a, b store.NodeInfo) int { return cmp.Compare(a.Role, b.Role) })
	return info
}

// member is a server of the target, whatever its role.
type member struct {
	address string
	c       rueidis.Client
	err     error // it cannot be connected to
}

// nodes returns all that the client knows, and the replicas that joined the cluster since it last asked. done closes what was
// opened for that.
func (s *Store) nodes(ctx context.Context) (out []member, done func()) {
	nodes, opened := s.c.Nodes(), []rueidis.Client(nil)
	for _, address := range slices.Sorted(maps.Keys(nodes)) {
		out = append(out, member{address: address, c: nodes[address]})
	}
	if s.target.Mode == redisurl.Cluster {
		rows, from, _ := topology.ClusterSlots(ctx, nodes)
		for _, address := range topology.Replicas(rows, from) {
			if nodes[address] != nil {
				continue
			}
			c, err := s.single(address)
			if nodes[address] = c; err == nil {
				opened = append(opened, c)
			}
			out = append(out, member{address, c, err})
		}
	}
	return out, func() {
		for _, c := range opened {
			c.Close()
		}
	}
}

// single connects to one node of a cluster alone.
func (s *Store) single(address string) (rueidis.Client, error) {
	o := s.option
	o.InitAddress, o.ForceSingleClient, o.DialCtxFn = []string{address}, true, nil
	return rueidis.NewClient(o)
}

func nodeInfo(ctx context.Context, m member) store.NodeInfo {
	if m.err != nil {
		return store.NodeInfo{Address: m.address, Err: m.err}
	}
	text, err := m.c.Do(ctx, m.c.B().Info().Build()).ToString()
	if err != nil {
		return store.NodeInfo{Address: m.address, Err: reply.Failed("info", "", err)}
	}
	n := parseInfo(text)
	n.Address = m.address
	return n
}

// parseInfo reads what Redis 6.2 or later and Valkey write. What a server does not tell is zero.
func parseInfo(text string) store.NodeInfo {
	lines := make(map[string]string)
	var n store.NodeInfo
	for line := range strings.SplitSeq(text, "\r\n") {
		name, value, ok := strings.Cut(line, ":")
		if !ok {
			continue
		}
		lines[name] = value
		if rest, is := strings.CutPrefix(name, "db"); is {
			if _, err := strconv.Atoi(rest); err == nil {
				db := pairs(value)
				n.Keys += integerOf(db["keys"])
				n.Expiring += integerOf(db["expires"])
			}
		}
	}
	num := func(name string) int64 { return integerOf(lines[name]) }
	n.Software, n.Version = "redis", lines["redis_version"]
	if v := lines["valkey_version"]; v != "" {
		n.Software, n.Version = "valkey", v
	}
	n.Uptime = time.Duration(num("uptime_in_seconds")) * time.Second
	n.Loading = lines["loading"] == "1"
	n.Used, n.Max, n.Peak, n.Resident = num("used_memory"), num("maxmemory"), num("used_memory_peak"), num("used_memory_rss")
	n.Policy = lines["maxmemory_policy"]
	n.Fragmentation, _ = strconv.ParseFloat(lines["mem_fragmentation_ratio"], 64)
	n.Hits, n.Misses, n.Evicted, n.Expired = num("keyspace_hits"), num("keyspace_misses"), num("evicted_keys"), num("expired_keys")
	n.OpsPerSecond, n.Clients, n.Blocked = num("instantaneous_ops_per_sec"), num("connected_clients"), num("blocked_clients")
	n.Rejected, n.TrackingClients, n.TrackingKeys = num("rejected_connections"), num("tracking_clients"), num("tracking_total_keys")
	n.AppendOnly = lines["aof_enabled"] == "1"
	if n.Role = lines["role"]; n.Role == "slave" {
		n.Role, n.Link = "replica", lines["master_link_status"]
		n.LinkDown = time.Duration(max(num("master_link_down_since_seconds"), 0)) * time.Second
	}
	for i := range num("connected_slaves") {
		r := pairs(lines[fmt.Sprintf("slave%d", i)])
		n.Replicas = append(n.Replicas, store.ReplicaInfo{
			Address: net.JoinHostPort(r["ip"], r["port"]), State: r["state"], Lag: time.Duration(integerOf(r["lag"])) * time.Second,
			Behind: max(num("master_repl_offset")-integerOf(r["offset"]), 0),
		})
	}
	return n
}

// pairs reads "keys=3,expires=0".
func pairs(text string) map[string]string {
	out := make(map[string]string)
	for pair := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(pair, "=")
		out[name] = value
	}
	return out
}

func integerOf(text string) int64 {
	n, _ := strconv.ParseInt(text, 10, 64)
	return n
}

const (
	probeTrips = 100                  // PINGs to each node
	probePause = 2 * time.Millisecond // between them, so that they meet different moments
)

// probed are the settings that Probe asks for.
var probed = []string{"maxmemory", "maxmemory-policy", "save", "appendonly", "tracking-table-max-keys"}

// Probe asks each node for its settings and its time, and measures round trips.
func (s *Store) Probe(ctx context.Context) []store.Probe {
	if err := s.unusable(); err != nil {
		return []store.Probe{{Address: s.target.String(), Err: err}}
	}
	nodes, done := s.nodes(ctx)
	defer done()
	out := make([]store.Probe, len(nodes))
	var all sync.WaitGroup
	for i, n := range nodes {
		all.Go(func() { out[i] = probeNode(ctx, n) })
	}
	all.Wait()
	return out
}

func probeNode(ctx context.Context, m member) store.Probe {
	p := store.Probe{Address: m.address, Err: m.err}
	if m.err != nil {
		return p
	}
	for range probeTrips {
		began := time.Now()
		if p.Err = m.c.Do(ctx, m.c.B().Ping().Build()).Error(); p.Err != nil {
			return p
		}
		p.Trips = append(p.Trips, time.Since(began))
		retry.Sleep(ctx, probePause)
	}
	// refused tells whether a command is one that the user may not run; what the server does not know is left out.
	refused := func(err error, rule string) bool {
		if reply.Denied(err) {
			p.Denied = append(p.Denied, rule)
		}
		if err != nil && !reply.Answered(err) {
			p.Err = err
		}
		return err != nil
	}
	began := time.Now()
	now, err := m.c.Do(ctx, m.c.B().Time().Build()).AsIntSlice()
	if took := time.Since(began); !refused(err, "+time") && len(now) == 2 {
		p.Skew = time.Unix(now[0], now[1]*1000).Sub(began.Add(took / 2)).Round(time.Microsecond)
		p.Error = took / 2
	}
	for _, name := range probed { // one by one: before Redis 7 CONFIG GET takes a single name
		found, err := m.c.Do(ctx, m.c.B().ConfigGet().Parameter(name).Build()).AsStrMap()
		if refused(err, "+config|get") {
			break
		}
		if p.Config == nil {
			p.Config = make(map[string]string)
		}
		maps.Copy(p.Config, found)
	}
	return p
}
