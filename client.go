package nearside

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/bind"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/fleetstats"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/store/redis"
)

// Options are the settings of a client. The zero value, and a nil *Options, mean the defaults.
type Options struct {
	// Budget is how long one step of a read waits for Redis: the look, the claim of a lease, or the fill. A hit is one look. A
	// miss takes all three steps, so it waits for three budgets at most, besides the load itself and another process' load.
	// If Redis does not answer the look, the loader answers and the other steps are left out. GetMany, Prefetch and the like
	// take these steps for each piece of 500 keys; after a piece that was not answered the rest bypasses Redis.
	//
	// If it is zero, the budget is four times the round trip to the farthest master, which is measured each second, and at
	// least 25 ms and at most 250 ms. A budget that is set is obeyed; Stats.Problems says so if a round trip takes longer.
	//
	// Time in which this process was stopped or waited for a processor is not counted, but a step ends after five budgets in any
	// case.
	Budget time.Duration

	// WriteBudget is how long each step of Update, Invalidate and Set waits for Redis, for each 500 keys. 1 s if zero.
	WriteBudget time.Duration

	// RequireRedis has Open fail if Redis does not answer before its ctx ends, or within 5 s. Without it the client is opened
	// all the same, within 1 s: the loaders answer, and Redis is used as soon as it is there.
	RequireRedis bool

	// MemoryBytes bounds the store of "memory:". 256 MiB if zero.
	MemoryBytes int64

	// NearBytes bounds what all caches keep near together, in bytes: it is divided evenly among those that have a NearSize
	// and no NearBytes of their own. Off if zero.
	NearBytes int64

	// Replicas is how many replicas of Redis must have an invalidation, or the end of an Update, before it returns nil: a
	// failover then does not lose it. It is asked with WAIT, on connections of its own, and costs a trip of replication;
	// too few within WriteBudget are ErrUnavailable. Off if zero.
	Replicas int

	// Fleet shares statistics with the other processes through Redis, every 10 s and beside all requests, and lets
	// Client.Fleet read those of all. It needs some more rights there: docs/redis.md. With "memory:" they stay in the process.
	Fleet bool

	// Redis has the last word on the settings of the Redis client: credentials that change, a dialer of one's own. It is
	// called once, by Open.
	Redis func(*rueidis.ClientOption)

	// Logger gets one line per change of state, never one per request. slog.Default() if nil.
	Logger *slog.Logger
}

// Client is a connection to Redis, or a store in memory, that caches share. It is safe for concurrent use.
type Client struct {
	shared   *engine.Shared
	reporter *fleetstats.Reporter // nil: Options.Fleet is off

	mu     sync.Mutex // guards caches
	caches map[string]registered
}

// registered is a cache that was made.
type registered struct {
	engine.Meter
	config string // a hash of its settings
}

// Open connects to the store at rawURL:
//
//	redis://[user:password@]host:port[/db]              one server; rediss:// with TLS
//	unix:///path/to/redis.sock[?db=n]                   by a socket
//	redis://h1:p1,h2:p2,h3:p3?cluster=true              a cluster, of which some nodes are named; rediss:// with TLS
//	redis-sentinel://h1,h2,h3/master-name[/db]          by sentinels; rediss-sentinel:// with TLS
//	memory:                                             in this process, for tests and for one process without Redis
//
// With TLS the parameters ca, cert and key name PEM files, and server_name what the certificate must be for.
// sentinel_user and sentinel_password are for the sentinels themselves. docs/redis.md has a line for each service.
//
// It fails on what waiting cannot heal, such as a wrong password or a missing right: its error names what is missing and how
// to grant it, and never a password. A Redis that does not answer is waited for in the background; see
// Options.RequireRedis.
func Open(ctx context.Context, rawURL string, o *Options) (*Client, error) {
	var set Options
	if o != nil {
		set = *o
	}
	if set.Budget < 0 || set.WriteBudget < 0 {
		return nil, fmt.Errorf("open the cache: Options.Budget is %v and WriteBudget %v: expected how long to wait for Redis, or zero for the defaults", set.Budget, set.WriteBudget)
	}
	if set.Logger == nil {
		set.Logger = slog.Default()
	}
	return open(ctx, rawURL, set)
}

func open(ctx context.Context, rawURL string, o Options) (*Client, error) {
	s, err := openStore(ctx, rawURL, o)
	if err != nil {
		return nil, err
	}
	return newClient(s, o), nil
}

func newClient(s store.Store, o Options) *Client {
	shared := engine.NewShared(s, o.Budget, cmp.Or(o.WriteBudget, time.Second), o.Logger)
	shared.NearBytes = uint64(max(o.NearBytes, 0))
	c := &Client{shared: shared, caches: make(map[string]registered)}
	if o.Fleet {
		c.report()
	}
	return c
}

func openStore(ctx context.Context, rawURL string, o Options) (store.Store, error) {
	scheme, rest, ok := strings.Cut(rawURL, ":")
	switch {
	case !ok:
		return nil, fmt.Errorf("open the cache: no scheme in its URL: expected redis://host:port, unix:///path or memory:")
	case scheme == "memory":
		if rest != "" {
			return nil, fmt.Errorf("open the cache: %q: nothing is expected behind memory:", rawURL)
		}
		if o.MemoryBytes < 0 {
			return nil, fmt.Errorf("open the cache: Options.MemoryBytes is %d: expected a number of bytes, or zero for 256 MiB", o.MemoryBytes)
		}
		return memory.New(memory.Options{MaxBytes: o.MemoryBytes}), nil
	}
	return redis.Open(ctx, rawURL, redis.Options{
		Configure: o.Redis, Budget: o.Budget, Require: o.RequireRedis, Replicas: o.Replicas, Logger: o.Logger,
	})
}

// Ping returns nil if the store answers.
func (c *Client) Ping(ctx context.Context) error { return c.shared.Ping(ctx) }

// Close ends the loads under way, delivers the invalidations that are pending, asks for the outcomes of writes in doubt, waits
// for all of that up to 5 s, and closes the connections. Its error says what was left. It wraps ErrUnavailable if invalidations
// were, of which old values may be served until their TTL. It wraps ErrInDoubt if writes were: nothing is cached for their keys
// for Config.InDoubt, and what becomes visible after that is not invalidated. Calls after it fail with ErrClosed, but for Close
// itself: it waits for the call before, and returns the same.
func (c *Client) Close() error {
	if c.reporter != nil {
		c.reporter.Close()
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.shared.Close(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// register takes a name for a cache, once; call is how its maker is called, and hash tells its settings apart.
func (c *Client) register(call, name string, m engine.Meter, hash string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, taken := c.caches[name]; taken {
		panic(fmt.Sprintf("%s: the client has a cache %q already: two of one name would share their keys", call, name))
	}
	c.caches[name] = registered{m, hash}
}

// meters returns the caches that were made.
func (c *Client) meters() map[string]engine.Meter {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := make(map[string]engine.Meter, len(c.caches))
	for name, r := range c.caches {
		out[name] = r.Meter
	}
	return out
}

func init() {
	bind.Of = func(client any) bind.Client {
		c := client.(*Client)
		return bind.Client{Shared: c.shared, Register: c.register, Caches: c.meters}
	}
	bind.New = func(s store.Store, logger *slog.Logger) any { return newClient(s, Options{Logger: logger}) }
	bind.Around = func(s *engine.Shared, r *fleetstats.Reporter) any {
		return &Client{shared: s, reporter: r, caches: make(map[string]registered)}
	}
	bind.Key = func(text string, w engine.Written, err error) any { return Key{text, w, err} }
}
