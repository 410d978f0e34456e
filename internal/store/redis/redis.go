// Package redis is the store on Redis or Valkey: the protocol of package store as Lua scripts, which run atomically.
// keys.go has every key on one page.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
)

// Store keeps values in Redis.
type Store struct {
	c      rueidis.Client
	closed atomic.Bool
}

// Open connects to the server at rawURL: redis://[user:password@]host[:port][/db] or unix:///path[?db=n]. It fails if no
// server answers before ctx ends. No password appears in its errors.
func Open(ctx context.Context, rawURL string) (*Store, error) {
	srv, err := Parse(rawURL)
	if err != nil {
		return nil, err
	}
	o, opened := srv.option(), new(atomic.Bool)
	o.DialCtxFn = srv.dial(ctx, opened)
	c, err := rueidis.NewClient(o)
	if err == nil {
		s := &Store{c: c}
		if err = s.Ping(ctx); err == nil {
			opened.Store(true)
			return s, nil
		}
		s.Close()
	}
	if ctx.Err() != nil {
		err = fmt.Errorf("no answer in time: %w", ctx.Err())
	}
	return nil, fmt.Errorf("connect to Redis at %s: %w; %s", srv.Address, err, advice(err))
}

// dial connects. Until Open is done its context bounds the connection, handshake included, for which rueidis knows only
// a fixed time.
func (s Server) dial(open context.Context, opened *atomic.Bool) func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
	return func(ctx context.Context, address string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
		if opened.Load() {
			return d.DialContext(ctx, s.Network, address)
		}
		ctx, cancel := context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(open, cancel)()
		conn, err := d.DialContext(ctx, s.Network, address)
		if err == nil {
			context.AfterFunc(open, func() {
				if !opened.Load() {
					conn.Close()
				}
			})
		}
		return conn, err
	}
}

// advice says what to do about an error of the connection.
func advice(err error) string {
	text := err.Error()
	switch {
	case strings.Contains(text, "WRONGPASS"), strings.Contains(text, "NOAUTH"), strings.Contains(text, "invalid password"):
		return "check the user and the password in the URL"
	case strings.Contains(text, "connection refused"), strings.Contains(text, "no such file"):
		return "is the server running there? 'memory:' needs none"
	case strings.Contains(text, "no such host"):
		return "check the host name"
	case strings.Contains(text, "DB index"):
		return "check the number of the database at the end of the URL"
	}
	return "check the address, and that redis-cli can reach it from here"
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

// Ping returns nil if the server answers.
func (s *Store) Ping(ctx context.Context) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	if err := s.c.Do(ctx, s.c.B().Ping().Build()).Error(); err != nil {
		return failed("ping", "", err)
	}
	return nil
}

// Usage reads INFO and DBSIZE. Keys are those of the whole database, of whatever program.
func (s *Store) Usage(ctx context.Context) (u store.Usage, err error) {
	if s.closed.Load() {
		return u, store.ErrClosed
	}
	rs := s.c.DoMulti(ctx, s.c.B().Dbsize().Build(), s.c.B().Info().Section("memory").Build(), s.c.B().Info().Section("stats").Build())
	if u.Keys, err = rs[0].AsInt64(); err != nil {
		return u, failed("dbsize", "", err)
	}
	for _, r := range rs[1:] {
		text, err := r.ToString()
		if err != nil {
			return u, failed("info", "", err)
		}
		for line := range strings.SplitSeq(text, "\r\n") {
			name, value, _ := strings.Cut(line, ":")
			n, _ := strconv.ParseInt(value, 10, 64)
			switch name {
			case "used_memory":
				u.Bytes = n
			case "maxmemory":
				u.MaxBytes = n
			case "evicted_keys":
				u.Evicted = n
			}
		}
	}
	return u, nil
}

// Close closes the connection.
func (s *Store) Close() {
	if !s.closed.Swap(true) {
		s.c.Close()
	}
}
