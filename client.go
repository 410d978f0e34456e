package nearside

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/setting"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/store/redis"
)

// Options are the settings of a client. The zero value means the defaults.
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

// Client is a connection to Redis, or to a store in memory, that caches share. It is safe for concurrent use.
type Client struct{ inside client.Client }

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
// A negative setting is an error.
func Open(ctx context.Context, rawURL string, o Options) (*Client, error) {
	s, err := openStore(ctx, rawURL, &o)
	if err != nil {
		return nil, fmt.Errorf("open the cache: %w", err)
	}
	c := new(Client)
	c.inside.Open(s, client.Settings{
		Budget: o.Budget, WriteBudget: o.WriteBudget, NearBytes: o.NearBytes, Fleet: o.Fleet, Logger: o.Logger,
	})
	return c, nil
}

func openStore(ctx context.Context, rawURL string, o *Options) (store.Store, error) {
	var check setting.Check
	setting.Default(&check, "Options.Budget", &o.Budget, 0)
	setting.Default(&check, "Options.WriteBudget", &o.WriteBudget, time.Second)
	setting.Default(&check, "Options.MemoryBytes", &o.MemoryBytes, 256<<20)
	setting.Default(&check, "Options.NearBytes", &o.NearBytes, 0)
	setting.Default(&check, "Options.Replicas", &o.Replicas, 0)
	if check.Err != nil {
		return nil, check.Err
	}
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	scheme, rest, ok := strings.Cut(rawURL, ":")
	switch {
	case !ok:
		return nil, errors.New("no scheme in its URL: expected redis://host:port, unix:///path or memory:")
	case scheme != "memory":
		return redis.Open(ctx, rawURL, redis.Options{
			Configure: o.Redis, Budget: o.Budget, Require: o.RequireRedis, Replicas: o.Replicas, Logger: o.Logger,
		})
	case rest != "":
		return nil, fmt.Errorf("%q: nothing is expected behind memory:", rawURL)
	}
	return memory.New(memory.Options{MaxBytes: o.MemoryBytes}), nil
}

// Ping returns nil if the store answers.
func (c *Client) Ping(ctx context.Context) error { return c.inside.Shared.Ping(ctx) }

// Close ends the loads in flight, delivers the deferred invalidations, asks for the outcomes of writes in doubt, waits for all of
// that for up to 5 s, and closes the connections. Its error says what was left undone:
//
//   - It wraps ErrUnavailable if invalidations were not delivered. Old values may be served until their TTL.
//   - It wraps ErrInDoubt if the outcome of a write is not known. Nothing is cached for its keys for Config.InDoubt, and what becomes
//     visible after that is not invalidated.
//
// Calls after it fail with ErrClosed. A second call of Close waits for the first one and returns the same. Close the client after the
// server that uses it, and before the database that its loaders use.
func (c *Client) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.inside.Close(ctx); err != nil {
		return fmt.Errorf("close: %w", err)
	}
	return nil
}

// Fleet returns the reader of what all processes count together. It returns nil if Options.Fleet is off.
func (c *Client) Fleet() fleet.Reader { return c.inside.Fleet() }

// InvalidateKeys removes values by their keys as they stand in Redis, such as "user:42", and what is remembered about their absence.
// It is for tools and for handlers of change events, which know keys as text: cache is the name of any cache of this client, of
// package shape too, but not of sessions, whose keys are secrets. held is how many of the keys had a value.
//
// It returns an error before anything is removed if the client has no such cache, and one that wraps ErrKey if a key does not match the
// pattern of the cache's keys. A key that matches and that no row can have ("user:abc") is no error. Otherwise it is Cache.Invalidate.
func (c *Client) InvalidateKeys(ctx context.Context, cache string, keys ...string) (held int, err error) {
	m, ok := c.inside.Cache(cache)
	keyed, is := m.(engine.Keyed)
	switch {
	case !ok:
		return 0, fmt.Errorf("invalidate keys: the client has no cache %q", cache)
	case !is:
		return 0, fmt.Errorf("invalidate keys: %q holds sessions, whose keys are secrets", cache)
	}
	settings := keyed.Settings()
	for _, key := range keys {
		if !settings.Has(key) {
			return 0, fmt.Errorf("invalidate keys: %w: %.100q is no key of the cache %q, whose keys match %s", ErrKey, key, cache, settings.Glob)
		}
	}
	had, err := keyed.InvalidateKeys(ctx, keys)
	for _, h := range had {
		if h {
			held++
		}
	}
	return held, err
}

// Inside returns what the other packages of this module need of the client. Its type is internal: it is not for applications.
func (c *Client) Inside() *client.Client { return &c.inside }
