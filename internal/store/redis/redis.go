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
		return nil, fmt.Errorf("connect to Redis at %s: %w; %s", t, err, advice(err))
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
		return err
	}
	if err = s.check(ctx); err == nil {
		err = s.look(ctx)
	}
	if err != nil {
		s.c.Close()
	}
	return err
}

// advice says what to do about an error of the connection.
func advice(err error) string {
	text := err.Error()
	has := func(parts ...string) bool {
		for _, p := range parts {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	var told remedy
	switch {
	case errors.As(err, &told):
		return told.todo
	case has("WRONGPASS", "NOAUTH", "invalid password", "AUTH called without any password", "AUTH <password> called without"):
		return "check the user and the password in the URL"
	case has("DENIED Redis is running in protected mode"):
		return "the server is in protected mode: give it a password (requirepass) or an ACL user and put it into the URL, or bind it to loopback"
	case has("certificate has expired or is not yet valid"):
		return "renew the server's certificate, or check the clock of this machine"
	case has("x509: certificate is valid for", "doesn't contain any IP SANs", "x509: cannot validate certificate for", "certificate is not valid for any names"):
		return "use a name of the certificate in the URL, or name it: ?server_name=NAME"
	case has("certificate signed by unknown authority", "certificate is not trusted"):
		return "name the authority that signed it: ?ca=FILE"
	case has("certificate required", "bad certificate", "handshake failure"):
		return "the server wants a certificate of ours that it trusts: ?cert=FILE&key=FILE"
	case has("first record does not look like a TLS handshake"):
		return "the server does not speak TLS there: use redis://, or its TLS port"
	case has("CLUSTERDOWN", ErrNoSlot.Error()):
		return "the cluster is not whole: redis-cli --cluster check HOST:PORT, then --cluster fix"
	case has("cluster support disabled"):
		return "the server is no cluster: leave out ?cluster=true"
	case has("No such master with that name", "redis nil message"):
		return "the sentinels know no master of that name: check the end of the URL"
	case has("connection refused", "no such file"):
		return "is the server running there? 'memory:' needs none"
	case has("no such host", "server misbehaving", "Temporary failure in name resolution"):
		return "check the host name"
	case has("DB index"):
		return "check the number of the database at the end of the URL"
	case has("LOADING"):
		return "the server is reading its data: try again in a moment"
	case has("EOF", "connection reset"):
		return "the server closed the connection: does it want TLS (rediss://)?"
	}
	return "check the address, and that redis-cli can reach it from here"
}

// ErrNoSlot is what the client says of a slot that no master serves.
var ErrNoSlot = rueidis.ErrNoSlot

// remedy is an error that knows what to do about it.
type remedy struct {
	error
	todo string
}

func (r remedy) Unwrap() error { return r.error }

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

// Ping returns nil if the server answers; of a cluster, one of its nodes.
func (s *Store) Ping(ctx context.Context) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	if err := s.c.Do(ctx, s.c.B().Ping().Build()).Error(); err != nil {
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
