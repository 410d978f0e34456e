package nearside

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// ServerInfo is what the servers behind a client tell of themselves, in numbers of their own: hits and misses of whatever
// program, memory, evictions. What each cache does is in Stats.
type ServerInfo = store.ServerInfo

// NodeInfo is one server of a ServerInfo, and ReplicaInfo a replica as its master sees it. Sizes are in bytes, and counters
// count since the server's start.
type (
	NodeInfo    = store.NodeInfo
	ReplicaInfo = store.ReplicaInfo
)

// ServerInfo reads the INFO of every server: of the one that is named, of the master that the sentinels name, or of the masters
// and replicas of a cluster. A server that does not answer within 2 s has an error in its NodeInfo. Of the embedded store there
// is what it knows: keys, bytes and evictions.
func (c *Client) ServerInfo(ctx context.Context) ServerInfo {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	return c.shared.Store.Server(ctx)
}
