package nearside

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// ServerInfo is what the servers behind a client report of themselves: hits and misses of whatever program, memory, evictions. What
// each cache does is in Stats.
type ServerInfo struct {
	Nodes []NodeInfo `json:"nodes"` // masters first

	// Of a cluster, as the first master that answers sees it.
	ClusterState  string `json:"cluster_state,omitempty"` // "ok" or "fail"; "" where there is no cluster, or nobody may ask
	SlotsAssigned int64  `json:"slots_assigned,omitempty"`
	SlotsFailing  int64  `json:"slots_failing,omitempty"` // whose master does not answer (pfail and fail)
}

// NodeInfo is the INFO of one server. Sizes are in bytes, and counters count since its start.
type NodeInfo struct {
	Address string `json:"address"` // host:port, a socket's path, or "memory:"
	Err     error  `json:"-"`       // it did not answer, or does not let us ask: all else is zero. "error" in JSON

	Software string        `json:"software"` // "redis", "valkey", or "nearside" for the embedded store
	Version  string        `json:"version"`
	Uptime   time.Duration `json:"uptime_ns"`
	Loading  bool          `json:"loading"` // it reads its data from disk

	Keys     int64 `json:"keys"`     // of all databases, of whatever program
	Expiring int64 `json:"expiring"` // of those, with a TTL

	Used          int64   `json:"used_bytes"`
	Max           int64   `json:"max_bytes"` // zero: no bound is set
	Peak          int64   `json:"peak_bytes"`
	Resident      int64   `json:"resident_bytes"` // as the system counts
	Policy        string  `json:"policy"`         // maxmemory-policy
	Fragmentation float64 `json:"fragmentation"`  // resident / used; below 1 some of it is swapped out

	Hits    int64 `json:"hits"`    // keyspace_hits: of all reads, of whatever program
	Misses  int64 `json:"misses"`  // keyspace_misses
	Evicted int64 `json:"evicted"` // keys removed to keep the bound
	Expired int64 `json:"expired"` // keys whose TTL ended

	OpsPerSecond    int64 `json:"ops_per_second"`
	Clients         int64 `json:"clients"`
	Blocked         int64 `json:"blocked_clients"`
	Rejected        int64 `json:"rejected_connections"`
	TrackingClients int64 `json:"tracking_clients"`
	TrackingKeys    int64 `json:"tracking_keys"` // it remembers for them

	Role     string        `json:"role"`               // "master" or "replica"
	Link     string        `json:"link,omitempty"`     // of a replica to its master: "up" or "down"
	LinkDown time.Duration `json:"link_down_ns"`       // how long it has been down
	Replicas []ReplicaInfo `json:"replicas,omitempty"` // of a master

	AppendOnly bool `json:"append_only"` // it writes each change to disk
}

// MarshalJSON writes the node, and Err as its text.
func (n NodeInfo) MarshalJSON() ([]byte, error) {
	type plain NodeInfo
	out := struct {
		plain
		Error string `json:"error,omitempty"`
	}{plain: plain(n)}
	if n.Err != nil {
		out.Error = n.Err.Error()
	}
	return json.Marshal(out)
}

// ReplicaInfo is a replica as its master sees it.
type ReplicaInfo struct {
	Address string        `json:"address"`
	State   string        `json:"state"`        // "online" if it follows
	Lag     time.Duration `json:"lag_ns"`       // since it was last heard of, in whole seconds
	Behind  int64         `json:"behind_bytes"` // of the replication stream
}

// ServerInfo reads the INFO of every server: of the one that is named, of the master that the sentinels name, or of the masters and
// replicas of a cluster. A server that does not answer within 2 s has an error in its NodeInfo. Of the store in memory it has what is
// known: keys, bytes and evictions.
func (c *Client) ServerInfo(ctx context.Context) ServerInfo {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return serverInfo(c.inside.Shared.Store.Server(ctx))
}

func serverInfo(s store.ServerInfo) ServerInfo {
	out := ServerInfo{ClusterState: s.ClusterState, SlotsAssigned: s.SlotsAssigned, SlotsFailing: s.SlotsFailing}
	for i := range s.Nodes {
		out.Nodes = append(out.Nodes, nodeInfo(&s.Nodes[i]))
	}
	return out
}

func nodeInfo(n *store.NodeInfo) NodeInfo {
	out := NodeInfo{
		Address: n.Address, Err: n.Err, Software: n.Software, Version: n.Version, Uptime: n.Uptime, Loading: n.Loading,
		Keys: n.Keys, Expiring: n.Expiring, Used: n.Used, Max: n.Max, Peak: n.Peak, Resident: n.Resident,
		Policy: n.Policy, Fragmentation: n.Fragmentation, Hits: n.Hits, Misses: n.Misses, Evicted: n.Evicted,
		Expired: n.Expired, OpsPerSecond: n.OpsPerSecond, Clients: n.Clients, Blocked: n.Blocked, Rejected: n.Rejected,
		TrackingClients: n.TrackingClients, TrackingKeys: n.TrackingKeys, Role: n.Role, Link: n.Link,
		LinkDown: n.LinkDown, AppendOnly: n.AppendOnly,
	}
	for _, r := range n.Replicas {
		out.Replicas = append(out.Replicas, ReplicaInfo(r))
	}
	return out
}
