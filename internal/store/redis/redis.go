// Package redis is the store on Redis or Valkey: the protocol of package store as Lua scripts, which run atomically.
// keys.go has every key on one page.
package redis

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/stall"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/history"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// Options are the settings of a store beside its URL. The zero value means the defaults.
type Options struct {
	// Configure has the last word on the client's settings. Nil: nothing is changed.
	Configure func(*rueidis.ClientOption)

	// Budget is how long a step of a read waits for Redis. A command without an answer that has waited for as long counts as one
	// that the server failed, and not if its caller left before; 1 s counts in any case. If it is zero the budget is four round
	// trips to the farthest master, and at least 25 ms and at most 250 ms; see package health.
	Budget time.Duration

	// Require has Open fail if Redis does not answer, within its ctx or 5 s. Else it takes at most 1 s, and the connection
	// is made behind it.
	Require bool

	// Replicas is how many replicas must have an invalidation, or the end of a write, before it counts as done. Zero: it
	// is not asked for. See wait.go.
	Replicas int

	// Gather is how long commands are gathered before they are sent, while many are under way. Zero: 20 µs, which is best for
	// callers that share a process; a server of many connections gathers more in 60 µs.
	Gather time.Duration

	Logger *slog.Logger // nil: nothing is logged
}

// Store keeps values in Redis. What it has of its own are the verbs; docs/architecture.md has the packages that it is made of.
type Store struct {
	target   redisurl.Target
	replicas int
	logger   *slog.Logger
	clock    *stall.Clock
	problems *conn.Problems

	closed     atomic.Bool
	ctx        context.Context // ends with Close
	cancel     context.CancelFunc
	goroutines sync.WaitGroup // the one that looks, the probers, and those that they begin

	dialer  *conn.Dialer
	option  rueidis.ClientOption
	c       rueidis.Client // set when the dialer is connected
	revival revival
	globs   globs

	distance *health.Distance
	guards   *health.Guards
	looker   looker
	servers  topology.Table
	repeats  *topology.Repeater
	history  *history.History
	tracks   atomic.Pointer[tracking] // nil: changes are not told

	scripts  scripts       // about leases of values
	shapes   scripts       // about leases of collections
	barriers atomic.Uint64 // and absences, that three commands have found
}

// Open connects to what rawURL names; see redisurl.Parse. It fails on what stays until somebody does something about it: a URL, a
// password, a certificate or a right that is wrong. If Redis does not answer, the store is opened all the same, and connects
// as soon as it can; until then its verbs fail with store.ErrAway at once. No password appears in its errors.
func Open(ctx context.Context, rawURL string, o Options) (*Store, error) {
	t, err := redisurl.Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{
		target: t, replicas: max(o.Replicas, 0), logger: o.Logger,
		clock: stall.New(), problems: conn.NewProblems(o.Logger), looker: looker{poke: make(chan struct{}, 1)},
	}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	s.distance = health.NewDistance(o.Budget, s.logger, s.problems)
	s.repeats = &topology.Repeater{
		Ctx: s.ctx, Goroutines: &s.goroutines, Logger: s.logger, Invalidate: s.invalidate, Release: s.release,
	}
	s.history = history.New(history.Config{
		Target: t, Logger: s.logger, Problems: s.problems, Look: s.LookSoon,
		Knows: s.repeats.Invalidated.Knows, Repeat: s.repeats.Repeat,
	})
	s.repeats.Unmended = s.history.Off
	s.goroutines.Go(func() { s.clock.Run(s.ctx) })
	s.guards = health.New(health.Config{
		Target: t, Ctx: s.ctx, Goroutines: &s.goroutines, Logger: s.logger, Clock: s.clock, Servers: &s.servers,
		Patience: s.distance.Patience, Look: s.LookSoon, Ask: s.ask, Revive: s.revive, AskTracked: s.askTracked,
		MakeDirect: s.makeDirect,
	})
	s.dialer = conn.NewDialer(conn.Config{
		Ctx: s.ctx, Target: t, Logger: s.logger, Patience: s.distance.Patience, Ran: s.clock.Now, Made: s.LookSoon, Gather: o.Gather,
	})
	s.option = s.dialer.Option()
	if o.Configure != nil {
		o.Configure(&s.option)
	}
	if s.option.DialCtxFn == nil {
		s.option.DialCtxFn = s.dialer.Dial
	}
	s.option.DialCtxFn = s.history.Watched(s.option.DialCtxFn)
	limit := startLimit
	if o.Require {
		limit = requiredLimit
	}
	within, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	lasts, err := s.connect(within)
	switch {
	case err == nil:
		s.guards.Stand(true)
	case o.Require || lasts || errors.Is(ctx.Err(), context.Canceled):
		s.cancel()
		s.goroutines.Wait()
		s.guards.End()
		return nil, err
	default:
		s.guards.Degrade(err)
	}
	return s, nil
}

// unusable is the error of every verb before there is a connection, and after Close.
func (s *Store) unusable() error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	if !s.dialer.Connected() {
		return s.guards.Refusal()
	}
	return nil
}

// Ping returns nil if the server answers; of a cluster, one of its masters, and if no other one is known to be away.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.unusable(); err != nil {
		return err
	}
	if err := s.guards.Unavailable(); err != nil {
		return err
	}
	// A batch of commands without a key goes to a master, a single one to any node, known to be down or not.
	if err := s.c.DoMulti(ctx, s.c.B().Ping().Build())[0].Error(); err != nil {
		return reply.Failed("ping", "", err)
	}
	return nil
}

// Usage reads INFO and DBSIZE of every master. Keys are those of the whole database, of whatever program.
func (s *Store) Usage(ctx context.Context) (u store.Usage, err error) {
	if err := s.unusable(); err != nil {
		return u, err
	}
	if err := s.guards.Unavailable(); err != nil {
		return u, err
	}
	for _, c := range s.masters() {
		rs := c.DoMulti(ctx, c.B().Dbsize().Build(), c.B().Info().Section("memory").Build(), c.B().Info().Section("stats").Build())
		keys, err := rs[0].AsInt64()
		if err != nil {
			return store.Usage{}, reply.Failed("dbsize", "", err)
		}
		u.Keys += keys
		for _, r := range rs[1:] {
			text, err := r.ToString()
			if err != nil {
				return store.Usage{}, reply.Failed("info", "", err)
			}
			u.Bytes += reply.Number(text, "used_memory")
			u.MaxBytes += reply.Number(text, "maxmemory")
			u.Evicted += reply.Number(text, "evicted_keys")
		}
	}
	return u, nil
}

// Close closes the connections.
func (s *Store) Close() {
	again := s.closed.Swap(true)
	s.guards.Shut(s.cancel)
	if again {
		return
	}
	s.goroutines.Wait()
	s.guards.End()
	if s.dialer.Connected() {
		s.c.Close()
	}
	s.dialer.Close()
}
