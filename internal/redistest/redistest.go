// Package redistest starts real Redis servers for tests: children of the test, on free ports of 127.0.0.1, each with a
// folder of its own, stopped by their process handle. There are single servers, with and without TLS, clusters, and
// masters with replicas that sentinels watch.
package redistest

import (
	"context"
	"os"
	"os/exec"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Server is a redis-server of a test's own.
type Server struct {
	Addr   string // host:port
	Socket string // path of its unix socket
	Certs  *Certs // what StartTLS made for it; nil without TLS

	dir    string
	id     string // as a node of a cluster
	bus    string // port of the cluster bus
	args   []string
	ready  func() error // what to do when it answers
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone
	frozen atomic.Bool   // by Pause

	bySocket           bool // whether our own client comes by the socket
	username, password string

	mu sync.Mutex // protects c
	c  rueidis.Client
}

// Start starts a server that ends with the test. args are further options of redis-server.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := start(single(args))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func single(args []string) setup {
	return func(s *Server, port, _ string) ([]string, error) {
		s.password = option(args, "requirepass")
		return append(s.options(port), args...), nil
	}
}

// options is what every server is started with.
func (s *Server) options(port string) []string {
	return []string{
		"--bind", "127.0.0.1", "--port", port, "--unixsocket", s.Socket, "--dir", s.dir, "--save", "", "--logfile", s.logFile(),
	}
}

// option returns the last value that args give an option.
func option(args []string, name string) (value string) {
	for i := 0; i+1 < len(args); i++ {
		if args[i] == "--"+name {
			value = args[i+1]
		}
	}
	return value
}

// shared is what the tests of a package have in common.
var shared struct {
	sync.Mutex
	server    *Server
	cluster   *Cluster
	sentinels *Sentinels
	tls       *Server
}

// Main runs the tests of a package that uses Shared, SharedCluster or SharedSentinels. It returns the status for os.Exit.
func Main(m *testing.M) int {
	defer func() {
		if shared.server != nil {
			shared.server.Stop()
		}
		if shared.tls != nil {
			shared.tls.Stop()
		}
		if shared.cluster != nil {
			shared.cluster.Stop()
		}
		if shared.sentinels != nil {
			shared.sentinels.Stop()
		}
	}()
	return m.Run()
}

// Shared returns the package's server, started by the first to ask and stopped by Main. Tests that use it flush it, and
// so do not run in parallel.
func Shared(t testing.TB) *Server {
	t.Helper()
	return share(t, &shared.server, func() (*Server, error) { return start(single(nil)) })
}

// share returns what v points to, which the first to ask starts.
func share[T any](t testing.TB, v **T, start func() (*T, error)) *T {
	t.Helper()
	shared.Lock()
	defer shared.Unlock()
	if *v == nil {
		started, err := start()
		if err != nil {
			t.Fatal(err)
		}
		*v = started
	}
	return *v
}

// URL returns the server's address as the layer takes it; that of a TLS server names the files of the CA and the client.
func (s *Server) URL() string {
	if s.Certs != nil {
		return "rediss://" + s.Addr + "?" + s.Certs.query()
	}
	return "redis://" + s.Addr
}

// UnixURL is URL by the socket.
func (s *Server) UnixURL() string { return "unix://" + s.Socket }

// Client returns a plain client of the server. That of a TLS server comes by the socket, and as a user of its own, so
// that it gets in whatever a test does to certificates and users.
func (s *Server) Client(t testing.TB) rueidis.Client {
	t.Helper()
	c, err := s.client()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (s *Server) client() (rueidis.Client, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		return s.c, nil
	}
	option := rueidis.ClientOption{
		InitAddress: []string{s.Addr}, Username: s.username, Password: s.password, DisableCache: true, ForceSingleClient: true,
		PipelineMultiplex: -1, // one connection, which greet can renew
	}
	if s.bySocket {
		option.InitAddress = []string{s.Socket}
		option.DialCtxFn = dialUnix
	}
	c, err := rueidis.NewClient(option)
	if err == nil {
		s.c = c
	}
	return c, err
}

// Do runs a command, and fails the test if the server says no.
func (s *Server) Do(t testing.TB, args ...string) *rueidis.RedisMessage {
	t.Helper()
	m, err := s.do(10*time.Second, args...)
	if err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return &m
}

func (s *Server) do(limit time.Duration, args ...string) (rueidis.RedisMessage, error) {
	c, err := s.client()
	if err != nil {
		return rueidis.RedisMessage{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	m, err := c.Do(ctx, c.B().Arbitrary(args...).Build()).ToMessage()
	if rueidis.IsRedisNil(err) {
		err = nil
	}
	return m, err
}

// ask runs a command that answers with text and at once, unless the server is dead or frozen.
func (s *Server) ask(args ...string) (string, error) {
	m, err := s.do(time.Second, args...)
	if err != nil {
		return "", err
	}
	text, err := m.ToString()
	return strings.TrimPrefix(text, "txt:"), err // the type of a verbatim string, which the client leaves in
}

// Stop ends the server and removes its folder.
func (s *Server) Stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c != nil {
		s.c.Close()
		s.c = nil
	}
	s.kill()
	os.RemoveAll(s.dir)
}
