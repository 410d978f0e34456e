package store

import (
	"context"
	"time"
)

// Admin is the part of a Store for who looks after it. Server, Probe and Keys ask servers that are known to be away, too.
type Admin interface {
	// Server reads the INFO of every server. It waits for each of them until ctx ends.
	Server(ctx context.Context) ServerInfo
	// Probe tries what INFO does not tell: settings, clocks, round trips. Nil: there is no server.
	Probe(ctx context.Context) []Probe
	// Keys walks over the names of keys that match a glob and that ours takes (nil: all), in no order, some of them perhaps
	// twice. It looks at 2,000 keys per second at most, of all servers together, until each returns false or ctx ends. What
	// stands beside keys is left out.
	Keys(ctx context.Context, glob string, ours func(key string) bool, each func(key string) bool) (Walk, error)
	// Describe looks at keys without reading their values, in one trip to each server.
	Describe(ctx context.Context, keys []string) []Description
	// Head returns the first bytes of a value, at most max; max < 0: all of them.
	Head(ctx context.Context, key string, max int64) Item
	// Beside says what goes on with a key.
	Beside(ctx context.Context, key string) (Going, error)
}

// Walk is how far Keys came.
type Walk struct {
	Looked int64 // keys that were looked at, about: those that match and all others
	Total  int64 // keys that there are
	All    bool  // each key was looked at
}

// Unknown is a number that the server does not tell.
const Unknown = -1

// Description is what Describe tells of a key.
type Description struct {
	Info
	Length int64 // bytes of a value, elements of a collection; Unknown
	Bytes  int64 // of memory; Unknown
}

// Going is what goes on with a key: what its sidecar says.
type Going struct {
	State string        // "load", "absent", "hold" or "write"; "" if nothing does
	Left  time.Duration // until that ends by itself
}

// ServerInfo is what the servers behind a store tell of themselves.
type ServerInfo struct {
	Nodes []NodeInfo // masters first

	// Of a cluster, as the first master that answers sees it.
	ClusterState  string // "ok" or "fail"; "" where there is no cluster, or nobody may ask
	SlotsAssigned int64
	SlotsFailing  int64 // whose master does not answer (pfail and fail)
}

// NodeInfo is the INFO of one server. Counters count from its start; sizes are in bytes.
type NodeInfo struct {
	Address string // host:port, a socket's path, or "memory:"
	Err     error  // it did not answer, or does not let us ask: all else is zero. "error" in JSON

	Software string // "redis", "valkey", or "nearside" for the embedded store
	Version  string
	Uptime   time.Duration
	Loading  bool // it reads its data from disk

	Keys     int64 // of all databases, of whatever program
	Expiring int64 // of those, with a TTL

	Used          int64
	Max           int64 // zero: no bound is set
	Peak          int64
	Resident      int64   // as the system counts
	Policy        string  // maxmemory-policy
	Fragmentation float64 // resident / used; below 1 some of it is swapped out

	Hits    int64 // keyspace_hits: of all reads, of whatever program
	Misses  int64 // keyspace_misses
	Evicted int64 // keys removed to keep the bound
	Expired int64 // keys whose TTL ended

	OpsPerSecond    int64
	Clients         int64
	Blocked         int64
	Rejected        int64
	TrackingClients int64
	TrackingKeys    int64 // it remembers for them

	Role     string        // "master" or "replica"
	Link     string        // of a replica to its master: "up" or "down"
	LinkDown time.Duration // how long it has been down
	Replicas []ReplicaInfo // of a master

	AppendOnly bool // it writes each change to disk
}

// ReplicaInfo is how a master sees a replica.
type ReplicaInfo struct {
	Address string
	State   string        // "online" if it follows
	Lag     time.Duration // since it was last heard of, in whole seconds
	Behind  int64         // of the replication stream
}

// Probe is what one server was found to be.
type Probe struct {
	Address string
	Err     error             // it did not answer
	Denied  []string          // what the user may not run, as ACL SETUSER takes it
	Config  map[string]string // settings by name; nil if the server does not tell
	Skew    time.Duration     // its clock minus ours, give or take Error
	Error   time.Duration
	Trips   []time.Duration // round trips of PING, in the order in which they were made
}
