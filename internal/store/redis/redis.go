// Package redis is the store on Redis or Valkey: the protocol of package store as Lua scripts, which run atomically.
// keys.go has every key on one page.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
)

// Options are the settings of a store beside its URL. The zero value means the defaults.
type Options struct {
	// Configure has the last word on the client's settings. Nil: nothing is changed.
	Configure func(*rueidis.ClientOption)

	// Replicas is how many replicas must have an invalidation, or the end of a write, before it counts as done. Zero: it
	// is not asked for. See wait.go.
	Replicas int

	Logger *slog.Logger // nil: nothing is logged
}

// Store keeps values in Redis.
type Store struct {
	c        rueidis.Client
	target   Target
	replicas int
	logger   *slog.Logger
	closed   atomic.Bool
	opened   atomic.Bool
	ctx      context.Context // ends with Close
	cancel   context.CancelFunc

	topology topology
	recent   recent         // invalidations
	ended    recent         // leases
	poke     chan struct{}  // asks for a look at the topology at once
	watching sync.WaitGroup // the goroutine that looks

	dials    dials
	recovery recovery
	seeds    seeds
	mu       sync.Mutex // guards problems
	problems []string
}

// Open connects to what rawURL names; see Parse. It fails if no server answers before ctx ends, and if what answers cannot
// do what the protocol needs. No password appears in its errors.
func Open(ctx context.Context, rawURL string, o Options) (*Store, error) {
	t, err := Parse(rawURL)
	if err != nil {
		return nil, err
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Store{target: t, replicas: max(o.Replicas, 0), logger: o.Logger, poke: make(chan struct{}, 1)}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	if err := s.open(ctx, o); err != nil {
		s.cancel()
		if ctx.Err() != nil {
			err = fmt.Errorf("no answer in time: %w", ctx.Err())
			if t.TLS != nil {
				err = remedy{err, "check the address, and that the server speaks TLS there"}
			}
		}
		return nil, fmt.Errorf("connect to Redis at %s: %w; %s", t, err, t.advice(err))
	}
	s.opened.Store(true)
	s.watching.Go(s.watch)
	return s, nil
}

func (s *Store) open(ctx context.Context, o Options) (err error) {
	option := s.target.option()
	option.DialCtxFn = s.dialer(ctx)
	if o.Configure != nil {
		o.Configure(&option)
	}
	if s.c, err = rueidis.NewClient(option); err != nil {
		return s.target.overheard(ctx, err)
	}
	if err = s.check(ctx); err == nil {
		err = s.look(ctx)
	}
	if err != nil {
		s.c.Close()
	}
	return err
}

// failed is the error of a command, which may be about no key.
func failed(verb, key string, err error) error {
	if errors.Is(err, rueidis.ErrClosing) {
		return store.ErrClosed // it was under way when Close came
	}
	if key != "" {
		verb += " " + strconv.Quote(key[:min(len(key), 100)])
	}
	return fmt.Errorf("redis: %s: %w", verb, err)
}

func wrongType(err error) bool {
	e, ok := rueidis.IsRedisErr(err)
	return ok && strings.HasPrefix(e.Error(), "WRONGTYPE")
}

// Ping returns nil if the server answers; of a cluster, one of its masters.
func (s *Store) Ping(ctx context.Context) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	// A batch of commands without a key goes to a master, a single one to any node, known to be down or not.
	if err := s.c.DoMulti(ctx, s.c.B().Ping().Build())[0].Error(); err != nil {
		return failed("ping", "", err)
	}
	return nil
}

// Usage reads INFO and DBSIZE of every master. Keys are those of the whole database, of whatever program.
func (s *Store) Usage(ctx context.Context) (u store.Usage, err error) {
	if s.closed.Load() {
		return u, store.ErrClosed
	}
	for _, c := range s.masters() {
		rs := c.DoMulti(ctx, c.B().Dbsize().Build(), c.B().Info().Section("memory").Build(), c.B().Info().Section("stats").Build())
		keys, err := rs[0].AsInt64()
		if err != nil {
			return store.Usage{}, failed("dbsize", "", err)
		}
		u.Keys += keys
		for _, r := range rs[1:] {
			text, err := r.ToString()
			if err != nil {
				return store.Usage{}, failed("info", "", err)
			}
			u.Bytes += number(text, "used_memory")
			u.MaxBytes += number(text, "maxmemory")
			u.Evicted += number(text, "evicted_keys")
		}
	}
	return u, nil
}

// field returns a line of INFO, "" if it is not there.
func field(info, name string) string {
	for line := range strings.SplitSeq(info, "\r\n") {
		if n, value, _ := strings.Cut(line, ":"); n == name {
			return value
		}
	}
	return ""
}

func number(info, name string) int64 {
	n, _ := strconv.ParseInt(field(info, name), 10, 64)
	return n
}

// Close closes the connections.
func (s *Store) Close() {
	if !s.closed.Swap(true) {
		s.cancel()
		s.watching.Wait()
		s.c.Close()
		s.dials.end()
	}
}
