package respserver

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/limit"
	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

// Config is what a server needs to know.
type Config struct {
	Handler     Handler      // required
	MaxClients  int          // connections at the same time; 10,000 if zero
	RequireAuth bool         // clients begin without authentication: see Conn.SetAuthed
	Logger      *slog.Logger // slog.Default if nil

	Limits  resp.Limits // of a command; resp.Normal if zero
	PreAuth resp.Limits // of a command before authentication; resp.PreAuth if zero

	MaxOutput int   // bytes that may wait for one slow reader before his commands do; 64 MiB if zero
	Budget    int64 // bytes that may wait for all of them, and in unfinished commands; beyond it the largest is closed. 256 MiB if zero

	WriteTimeout time.Duration // a slow reader has so long for each 256 KiB; 30 s if zero
	IdleTimeout  time.Duration // to authenticate, and between two parts of one command; 30 s if zero. Otherwise a client may be idle for ever

	linger time.Duration
	hangup time.Duration // how long a call lasts before the server looks whether its client is still there
}

// Stats is a snapshot of a server.
type Stats struct {
	Clients  int    // connected
	Accepted uint64 // connections since the start, refused ones included
	Commands uint64 // since the start
	Held     int64  // bytes that wait for slow readers, and in unfinished commands
}

// A Server speaks the Redis protocol with many clients and has a Handler answer them.
type Server struct {
	cfg    Config
	ctx    context.Context // of all handler calls; ends when Shutdown runs out of time
	cancel context.CancelFunc
	held   atomic.Int64 // sum of the held of all connections
	lines  limit.Lines
	wg     sync.WaitGroup // connections and sweepers; grows under mu while not closing

	mu        sync.Mutex // before Conn.mu
	closing   bool
	listeners map[net.Listener]struct{}
	conns     map[*Conn]struct{}
	accepted  uint64
	commands  uint64 // of connections that are gone
}

var errBudget = errors.New("the memory for slow clients is used up, and this one holds most of it")

// NewServer returns a server that does nothing until Serve.
func NewServer(cfg Config) *Server {
	if cfg.Handler == nil {
		panic("respserver: a server needs a handler")
	}
	cfg.MaxClients = or(cfg.MaxClients, 10_000)
	cfg.Logger = or(cfg.Logger, slog.Default())
	cfg.Limits = or(cfg.Limits, resp.Normal)
	cfg.PreAuth = or(cfg.PreAuth, resp.PreAuth)
	cfg.MaxOutput = or(cfg.MaxOutput, 64<<20)
	cfg.Budget = or(cfg.Budget, 256<<20)
	cfg.WriteTimeout = or(cfg.WriteTimeout, 30*time.Second)
	cfg.IdleTimeout = or(cfg.IdleTimeout, 30*time.Second)
	cfg.hangup = or(cfg.hangup, time.Second)
	cfg.linger = or(cfg.linger, time.Second) // a client that is told of the end closes long before
	s := &Server{cfg: cfg, listeners: map[net.Listener]struct{}{}, conns: map[*Conn]struct{}{}}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// log writes a line that clients are the cause of: one, and then one a minute that counts the others, which are written at debug level.
func (s *Server) log(level slog.Level, text, reason string, about ...any) {
	suppressed, due := s.lines.Due(text+" "+reason, time.Now())
	if !due {
		level = slog.LevelDebug
	}
	if suppressed > 0 {
		about = append(about, "since_the_last", suppressed)
	}
	s.cfg.Logger.Log(context.Background(), level, text, about...)
}

func or[T comparable](v, zero T) T {
	var none T
	if v == none {
		return zero
	}
	return v
}

// Serve accepts connections until Shutdown, and then returns nil, or until the listener fails. It closes the listener. It
// may be called for several.
func (s *Server) Serve(ln net.Listener) error {
	defer ln.Close()
	stop := make(chan struct{})
	defer close(stop)
	if !s.join(ln, stop) {
		return nil
	}
	defer s.drop(ln)
	for pause := time.Duration(0); ; {
		nc, err := ln.Accept()
		switch {
		case err == nil:
			pause = 0
			s.admit(nc)
		case s.ended():
			return nil
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("accept: %w", err)
		default:
			// Out of descriptors, most likely: others will be closed.
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			s.log(slog.LevelWarn, "cannot accept a client", "", "cause", err.Error(), "again_in", pause)
			select {
			case <-time.After(pause):
			case <-s.ctx.Done():
			}
		}
	}
}

func (s *Server) join(ln net.Listener, stop <-chan struct{}) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closing {
		return false
	}
	s.listeners[ln] = struct{}{}
	s.wg.Go(func() { s.sweep(stop) })
	s.wg.Go(func() { s.watch(stop) })
	return true
}

func (s *Server) drop(ln net.Listener) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.listeners, ln)
}

func (s *Server) ended() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closing
}

// admit gives a new connection its goroutine, if there is place for it.
func (s *Server) admit(nc net.Conn) {
	s.mu.Lock()
	s.accepted++
	c := newConn(s, nc, s.accepted)
	full := len(s.conns) >= s.cfg.MaxClients
	if !full && !s.closing {
		s.conns[c] = struct{}{}
		s.wg.Go(c.serve)
		s.mu.Unlock()
		return
	}
	s.mu.Unlock()
	if full {
		_, _ = c.w.try(resp.AppendError(nil, "ERR max number of clients reached"))
	}
	c.kill(nil)
}

func (s *Server) leave(c *Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	s.commands += c.commands.Load()
}

// Stats counts.
func (s *Server) Stats() Stats {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := Stats{Clients: len(s.conns), Accepted: s.accepted, Commands: s.commands, Held: s.held.Load()}
	for c := range s.conns {
		st.Commands += c.commands.Load()
	}
	return st
}

// Shutdown stops accepting, lets every connection answer what it has read, and ends it. When ctx ends first, calls of the
// handler are cancelled, connections are closed as they are, and the error is that of ctx.
func (s *Server) Shutdown(ctx context.Context) error {
	defer s.cancel()
	s.mu.Lock()
	s.closing = true
	for ln := range s.listeners {
		_ = ln.Close()
	}
	for c := range s.conns {
		c.wake()
	}
	s.mu.Unlock()

	done := make(chan struct{})
	go func() { s.wg.Wait(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	s.cancel()
	for _, c := range s.clients() {
		c.kill(nil)
	}
	return ctx.Err()
}

func (s *Server) clients() []*Conn {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]*Conn, 0, len(s.conns))
	for c := range s.conns {
		all = append(all, c)
	}
	return all
}

// relieve closes the connections that hold most, until the rest is within the budget.
func (s *Server) relieve() {
	for s.held.Load() > s.cfg.Budget {
		var largest *Conn
		var most int64
		for _, c := range s.clients() {
			if n := c.holds(); n > most {
				largest, most = c, n
			}
		}
		if largest == nil {
			return
		}
		largest.kill(errBudget)
	}
}

// sweep closes connections that have let their time pass.
func (s *Server) sweep(stop <-chan struct{}) {
	tick := time.NewTicker(s.cfg.IdleTimeout / 3)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case now := <-tick.C:
			for _, c := range s.clients() {
				if due := c.due.Load(); due != 0 && now.UnixNano() > due {
					c.kill(nil)
				}
			}
		}
	}
}
