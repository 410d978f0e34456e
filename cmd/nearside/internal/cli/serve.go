package cli

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/dash"
	"github.com/nearside/nearside/internal/build"
	"github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/demo"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/store/redis"
	"github.com/nearside/nearside/internal/store/redis/redisurl"

	"github.com/nearside/nearside/cmd/nearside/internal/config"
	"github.com/nearside/nearside/cmd/nearside/internal/limit"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
	"github.com/nearside/nearside/cmd/nearside/internal/serve"
	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/cmd/nearside/internal/upstream"
	"github.com/nearside/nearside/cmd/nearside/internal/web"
)

const (
	gather       = 60 * time.Microsecond // in which the commands of many connections are gathered for Redis
	databaseWait = 30 * time.Second      // for a database that does not answer at the start
	endWait      = 5 * time.Second       // for requests in flight at the end
)

type serveCmd struct {
	Config   string `help:"The YAML file with the caches. Without it: the built-in demo shop." placeholder:"FILE"`
	Redis    string `help:"The store: redis://host:port, unix:///path, or memory: for the embedded one (default)." placeholder:"URL"`
	Database string `help:"The database: sqlite:path, postgres://user:password@host/database or mysql://user:password@host/database." placeholder:"URL"`
	Listen   string `help:"Where Redis clients connect (default 127.0.0.1:6380)." placeholder:"HOST:PORT"`
	HTTP     string `name:"http" help:"Where HTTP is answered (default 127.0.0.1:8080), or off." placeholder:"HOST:PORT"`
	LogLevel string `help:"debug, info, warn or error (default info)." placeholder:"LEVEL"`
	Traffic  int    `help:"Ask the demo shop for so many rows each second, 5 % of them written before, and say what the cache saves." placeholder:"READS"`
	Check    bool   `help:"Check the configuration, the database and every statement, and exit."`
}

// Help is shown by nearside serve --help.
func (serveCmd) Help() string {
	return "Every setting of the file's top level but 'caches' is also a variable, such as NEARSIDE_PASSWORD. Flags win over variables, these over the file."
}

// Run serves until SIGINT or SIGTERM.
func (c *serveCmd) Run(w *env) error {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	return c.run(ctx, w)
}

func (c *serveCmd) run(ctx context.Context, w *env) error {
	flags := map[string]string{}
	for name, v := range map[string]string{"redis": c.Redis, "database": c.Database, "listen": c.Listen, "http": c.HTTP, "log_level": c.LogLevel} {
		if v != "" {
			flags[name] = v
		}
	}
	cfg, err := config.Load(config.Inputs{File: c.Config, Flags: flags, Env: w.lookup})
	if err != nil {
		return exit{statusUsage, err}
	}
	s := &server{cfg: cfg, env: w, logger: newLogger(w, cfg.LogLevel)}
	defer s.close()
	specs, err := s.open(ctx)
	switch {
	case ctx.Err() != nil && c.Check:
		return errors.New("it was interrupted: nothing is checked")
	case ctx.Err() != nil: // asked to end before it was ready: no error, there was nothing in flight
		return nil
	case err != nil:
		return err
	}
	if c.Check {
		fmt.Fprintf(w.out, "the configuration is good: %d caches\n", len(specs))
		return nil
	}
	if err := s.openStore(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	if err := s.listen(specs); err != nil {
		return err
	}
	if c.Traffic != 0 {
		if err := s.addTraffic(c.Traffic); err != nil {
			return exit{statusUsage, errors.Join(err, s.closeListeners())}
		}
	}
	s.greet(c.Config == "" && cfg.Database == "")
	return s.serve(ctx)
}

func (s *server) addTraffic(rate int) (err error) {
	if rate < 1 || rate > 100_000 {
		return fmt.Errorf("--traffic: found %d, expected reads per second from 1 to 100000", rate)
	}
	s.traffic, err = newTraffic(s.service, rate, s.env.out)
	return err
}

func (s *server) closeListeners() (err error) {
	for _, ln := range []net.Listener{s.redisLn, s.httpLn} {
		if ln != nil {
			err = errors.Join(err, ln.Close())
		}
	}
	return err
}

func newLogger(w *env, level string) *slog.Logger {
	var l slog.Level
	_ = l.UnmarshalText([]byte(level)) // checked before
	return slog.New(slog.NewTextHandler(w.err, &slog.HandlerOptions{Level: l}))
}

// server is what a running `nearside serve` holds, in the order in which it is opened.
type server struct {
	cfg    *config.Config
	env    *env
	logger *slog.Logger

	demoDir  string   // of the demo's database
	demoLock *os.File // says that it is used
	db       *source.DB
	client   *nearside.Client
	service  *serve.Service

	upstream *upstream.Pool  // nil: the embedded store
	target   redisurl.Target // where its keys are
	route    upstream.Route  // and who has which
	traffic  *traffic        // nil: none

	redis    *respserver.Server
	redisLn  net.Listener
	http     *http.Server
	httpLn   net.Listener
	finished sync.WaitGroup
}

func (s *server) close() {
	if s.upstream != nil {
		s.upstream.Close()
	}
	if s.client != nil {
		if err := s.client.Close(); err != nil {
			s.logger.Warn("something was left undone at the end", "error", err)
		}
	}
	if s.db != nil {
		_ = s.db.Close()
	}
	if s.demoDir != "" {
		os.RemoveAll(s.demoDir)
		_ = s.demoLock.Close()
	}
}

// open opens the database and has it check the statements.
func (s *server) open(ctx context.Context) ([]serve.Spec, error) {
	if err := s.openDatabase(ctx); err != nil {
		return nil, err
	}
	return s.prepare(ctx)
}

func (s *server) openDatabase(ctx context.Context) error {
	url := s.cfg.Database
	if url == "" {
		path, err := s.fillDemo(ctx)
		if err != nil {
			return err
		}
		url = "sqlite:" + path
	}
	db, err := source.Open(ctx, url, s.cfg.LoadTimeout)
	if source.Away(err) {
		s.logger.Warn("the database does not answer: waiting for it", "for", databaseWait, "error", err)
	}
	for until := time.Now().Add(databaseWait); source.Away(err) && ctx.Err() == nil && time.Now().Before(until); {
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
		}
		db, err = source.Open(ctx, url, s.cfg.LoadTimeout)
	}
	if err != nil {
		return exit{statusUnreachable, fmt.Errorf("%s: %w", s.cfg.Where("database"), err)}
	}
	s.db = db
	return nil
}

// fillDemo makes the demo shop in a temporary file, which close removes.
func (s *server) fillDemo(ctx context.Context) (string, error) {
	dir, lock, err := makeDemoDir(os.TempDir())
	if err != nil {
		return "", err
	}
	s.demoDir, s.demoLock = dir, lock
	path := filepath.Join(dir, "shop.db")
	db, err := source.Create(path)
	if err != nil {
		return "", err
	}
	defer db.Close()
	begin, shown := time.Now(), time.Time{}
	fmt.Fprint(s.env.err, "no database is configured: making the demo shop ")
	err = demo.Fill(ctx, db, func(done, all int) {
		if now := time.Now(); now.Sub(shown) > 100*time.Millisecond {
			shown = now
			fmt.Fprint(s.env.err, ".")
		}
	})
	if err != nil {
		fmt.Fprintln(s.env.err)
		return "", err
	}
	fmt.Fprintf(s.env.err, " %d users, %d products, in %.1f s\n", demo.Users, demo.Products, time.Since(begin).Seconds())
	return path, nil
}

func (s *server) openStore(ctx context.Context) error {
	var st store.Store
	if s.cfg.Redis == "" {
		st = memory.New(memory.Options{MaxBytes: s.cfg.Memory})
	} else {
		to, err := redisurl.Parse(s.cfg.Redis)
		if err != nil {
			return exit{statusUsage, err}
		}
		if s.env.process {
			if cores, left := leaveACore(to, s.env.lookup); left {
				s.logger.Info("redis runs on this machine and is left a core of its own; set GOMAXPROCS to decide otherwise", "GOMAXPROCS", cores)
			}
		}
		r, err := redis.Open(ctx, s.cfg.Redis, redis.Options{Logger: s.logger, Replicas: s.cfg.Replicas, Gather: gather})
		if err != nil {
			return exit{statusUnreachable, fmt.Errorf("%s: %w", s.cfg.Where("redis"), err)}
		}
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		for _, c := range s.cfg.Caches {
			r.CheckKeys(ctx, c.Key.Glob())
		}
		if off := r.Persists(ctx); len(off) > 0 {
			s.logger.Warn("redis writes the cache to disk: when it starts from data that is older than what it had, the caches are emptied before they are read; if nothing else is stored there, turn it off",
				"commands", strings.Join(off, "; "))
		}
		st, s.target, s.route = r, to, r
	}
	s.client = new(nearside.Client)
	s.client.Inside().Open(st, client.Settings{NearBytes: nearBytes, Fleet: true, Logger: s.logger})
	if s.env.process {
		embedded := int64(0)
		if s.cfg.Redis == "" {
			embedded = s.cfg.Memory
		}
		near := slices.ContainsFunc(s.cfg.Caches, func(c *config.Cache) bool { return c.Near > 0 })
		limitMemory(s.env.lookup, embedded, near)
	}
	return nil
}

// listen opens both ports before anything is answered, so that a port in use is known at once.
func (s *server) listen(specs []serve.Spec) error {
	var errs config.Errors
	open := func(field, addr string) net.Listener {
		ln, err := net.Listen("tcp", addr)
		if err != nil {
			text := fmt.Sprintf("%s: cannot listen on %s: %v", field, addr, err)
			if errors.Is(err, syscall.EADDRINUSE) {
				text = fmt.Sprintf("%s: the port of %s is in use by another program: choose another one, such as --%s 127.0.0.1:0 for a free one", field, addr, field)
			}
			errs = append(errs, config.Error{Where: s.cfg.Where(field), Text: text})
		}
		return ln
	}
	s.redisLn = open("listen", s.cfg.Listen)
	clients, httpClients := descriptors(s.cfg.MaxClients, s.logger)
	if s.cfg.HTTP != "" {
		if ln := open("http", s.cfg.HTTP); ln != nil {
			s.httpLn = limit.Listen(ln, httpClients)
		}
	}
	if len(errs) > 0 {
		_ = s.closeListeners()
		return exit{statusUsage, errs}
	}
	if s.cfg.TLS != nil {
		s.redisLn = tls.NewListener(s.redisLn, s.cfg.TLS)
		if s.httpLn != nil {
			s.httpLn = tls.NewListener(s.httpLn, s.cfg.TLS)
		}
	} else if s.cfg.Password != "" && (!loopback(s.redisLn) || s.httpLn != nil && !loopback(s.httpLn)) {
		s.logger.Warn("without tls_cert and tls_key passwords and rows cross the network unencrypted")
	}
	s.service = serve.New(s.client, s.logger, specs)
	handler := serve.NewHandler(s.service, s.cfg.Password, build.Version(), s.logger, func() respserver.Stats { return s.redis.Stats() })
	if s.cfg.Redis != "" {
		s.upstream = upstream.New(s.target, s.route)
		if unknown, err := s.upstream.Unknown(context.Background(), s.cfg.Allow); err == nil && len(unknown) > 0 {
			err := config.Errors{{Where: s.cfg.Where("allow"), Text: fmt.Sprintf("allow: found %s, expected commands of the Redis at hand, such as keys or config|get", strings.Join(unknown, ", "))}}
			return exit{statusUsage, errors.Join(err, s.closeListeners())}
		}
		handler.PassTo(s.upstream, s.cfg.Allow)
	}
	s.redis = respserver.NewServer(respserver.Config{Handler: handler, MaxClients: clients, RequireAuth: s.cfg.Password != "", Logger: s.logger, Budget: clientBytes})
	page := s.page()
	s.http = &http.Server{
		Handler: web.New(s.service, web.Options{
			MaxAge: s.cfg.HTTPMaxAge, Password: s.cfg.Password, Source: s.source(), User: s.target.User,
			Metrics: metrics(s.service, s.logger, handler.Guesses().Count), Page: page, Fleet: s.client.Fleet(), Guesses: handler.Guesses(),
		}), ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 64 << 10, ErrorLog: log.New(&httpLog{logger: s.logger}, "", 0),
	}
	s.http.RegisterOnShutdown(page.Close) // who looks at it is a request in flight
	return nil
}

// page is the web page of the declared caches.
func (s *server) page() *dash.Handler {
	o := dash.Options{AllowWrite: s.cfg.PageWrite, ShowValues: s.cfg.PageValues}
	if s.cfg.Password != "" {
		o.Hosts = []string{"*"} // who knows the password may come by any name
	}
	return dash.New(s.client, o)
}

func loopback(ln net.Listener) bool {
	a, ok := ln.Addr().(*net.TCPAddr)
	return ok && a.IP.IsLoopback()
}

// source is how the store is named.
func (s *server) source() string {
	if s.cfg.Redis == "" {
		return "the embedded store"
	}
	return "redis at " + s.target.String()
}

// greet says that it is ready, and what to try.
func (s *server) greet(demo bool) {
	where := "the embedded store"
	if s.cfg.Redis != "" {
		where = config.Redact(s.cfg.Redis)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "nearside %s is ready, on %s\n", build.Version(), where)
	fmt.Fprintf(&b, "  redis  %s\n", s.redisLn.Addr())
	if s.httpLn != nil {
		fmt.Fprintf(&b, "  http   %s://%s/\n", s.scheme(), s.httpLn.Addr())
	}
	for _, c := range s.cfg.Caches {
		fmt.Fprintf(&b, "  cache  %s, %sfor %v\n", c.Key, shapes[c.Shape], c.TTL)
	}
	if demo {
		host, port, _ := net.SplitHostPort(s.redisLn.Addr().String())
		at := "-p " + port
		if s.cfg.TLS != nil {
			at += " --tls --insecure"
		}
		if host != "127.0.0.1" {
			at = "-h " + host + " " + at
		}
		fmt.Fprint(&b, "\nTry, and try again:\n\n")
		for _, command := range []string{"GET user:42", "HGETALL product:7", "SMEMBERS friends:42", "LRANGE actions:42 0 9", "ZREVRANGE leaderboard:chess 0 9 WITHSCORES"} {
			fmt.Fprintf(&b, "    redis-cli %s %s\n", at, command)
		}
		if s.httpLn != nil {
			fmt.Fprintf(&b, "    curl -i %s://%s/v1/user/42\n", s.scheme(), s.httpLn.Addr())
		}
	}
	fmt.Fprintln(s.env.out, b.String())
}

var shapes = map[store.Kind]string{store.List: "a list, ", store.Set: "a set, ", store.SortedSet: "a sorted set, ", store.Hash: "a hash, "}

func (s *server) scheme() string {
	if s.cfg.TLS != nil {
		return "https"
	}
	return "http"
}

// serve answers until ctx ends, and then finishes what is under way.
func (s *server) serve(ctx context.Context) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	failed := make(chan error, 2)
	s.finished.Go(func() { failed <- s.redis.Serve(s.redisLn) })
	if s.httpLn != nil {
		s.finished.Go(func() {
			if err := s.http.Serve(s.httpLn); !errors.Is(err, http.ErrServerClosed) {
				failed <- err
			}
		})
	}
	if s.traffic != nil {
		s.finished.Go(func() { s.traffic.run(ctx) })
	}
	var cause error
	select {
	case <-ctx.Done():
	case cause = <-failed:
		cancel()
	}
	end, stop := context.WithTimeout(context.Background(), endWait)
	defer stop()
	var both sync.WaitGroup
	both.Go(func() { _ = s.http.Shutdown(end) }) // requests that are not answered by then end with the process
	both.Go(func() { _ = s.redis.Shutdown(end) })
	both.Wait()
	s.finished.Wait()
	return cause
}
