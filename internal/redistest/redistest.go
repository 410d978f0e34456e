// Package redistest starts real Redis servers for tests: children of the test, on free ports of 127.0.0.1, each with a
// folder of its own, stopped by their process handle.
package redistest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Server is a redis-server of a test's own.
type Server struct {
	Addr   string // host:port
	Socket string // path of its unix socket

	dir    string
	cmd    *exec.Cmd
	exited chan struct{} // closed when the process is gone

	mu sync.Mutex // protects c
	c  rueidis.Client
}

// Start starts a server that ends with the test. args are further options of redis-server.
func Start(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := start(args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

var (
	mu     sync.Mutex // protects shared
	shared *Server
)

// Main runs the tests of a package that uses Shared. It returns the status for os.Exit.
func Main(m *testing.M) int {
	defer func() {
		if shared != nil {
			shared.Stop()
		}
	}()
	return m.Run()
}

// Shared returns the package's server, started by the first to ask and stopped by Main. Tests that use it flush it, and
// so do not run in parallel.
func Shared(t testing.TB) *Server {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if shared == nil {
		var err error
		if shared, err = start(nil); err != nil {
			t.Fatal(err)
		}
	}
	return shared
}

func start(args []string) (*Server, error) {
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return nil, fmt.Errorf("the tests need a real Redis: apt-get install redis-server (%w)", err)
	}
	dir, err := os.MkdirTemp("", "nearside-redis-")
	if err != nil {
		return nil, err
	}
	for range 5 { // another process may take the port before the server does
		s := &Server{dir: dir, Socket: filepath.Join(dir, "redis.sock")}
		if err = s.run(path, args); err == nil {
			return s, nil
		}
		s.kill()
	}
	os.RemoveAll(dir)
	return nil, err
}

func (s *Server) run(path string, args []string) error {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	s.Addr = ln.Addr().String()
	_, port, _ := net.SplitHostPort(s.Addr)
	ln.Close()
	logFile := filepath.Join(s.dir, "log")
	s.cmd = exec.Command(path, append([]string{
		"--bind", "127.0.0.1", "--port", port, "--unixsocket", s.Socket, "--dir", s.dir, "--save", "", "--logfile", logFile,
	}, args...)...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	s.exited = make(chan struct{})
	go func() {
		s.cmd.Wait()
		close(s.exited)
	}()
	for until := time.Now().Add(10 * time.Second); ; {
		if s.answers() {
			return nil
		}
		select {
		case <-s.exited:
		case <-time.After(5 * time.Millisecond):
			if time.Now().Before(until) {
				continue
			}
		}
		text, _ := os.ReadFile(logFile)
		return fmt.Errorf("redis-server does not answer on %s; it says:\n%s", s.Socket, text)
	}
}

// answers asks on the socket, which is in our own folder and made after the port: on the port somebody else's server
// might answer, and be flushed.
func (s *Server) answers() bool {
	conn, err := net.Dial("unix", s.Socket)
	if err != nil {
		return false
	}
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(time.Second))
	fmt.Fprint(conn, "PING\r\n")
	n, err := conn.Read(make([]byte, 64)) // +PONG, or that a password is needed
	return n > 0 && err == nil
}

// URL returns the server's address as the layer takes it.
func (s *Server) URL() string { return "redis://" + s.Addr }

// UnixURL is URL by the socket.
func (s *Server) UnixURL() string { return "unix://" + s.Socket }

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

// Kill ends the server as a power cut does.
func (s *Server) Kill() { s.kill() }

func (s *Server) kill() {
	if s.exited != nil {
		s.cmd.Process.Kill()
		<-s.exited
	}
}

// Pause freezes the server, Continue wakes it.
func (s *Server) Pause()    { s.cmd.Process.Signal(syscall.SIGSTOP) }
func (s *Server) Continue() { s.cmd.Process.Signal(syscall.SIGCONT) }

// Client returns a plain client of the server.
func (s *Server) Client(t testing.TB) rueidis.Client {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.c == nil {
		c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{s.Addr}, DisableCache: true, ForceSingleClient: true})
		if err != nil {
			t.Fatal(err)
		}
		s.c = c
	}
	return s.c
}

// Do runs a command, and fails the test if the server says no.
func (s *Server) Do(t testing.TB, args ...string) *rueidis.RedisMessage {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c := s.Client(t)
	m, err := c.Do(ctx, c.B().Arbitrary(args...).Build()).ToMessage()
	if err != nil && !rueidis.IsRedisNil(err) {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return &m
}

// grace is how long a lease may outlast what a test did.
const grace = 2 * time.Second

// Invariants checks what must hold when nothing goes on any more: every key has a TTL and begins with one of the
// prefixes, and after a while no lease is left. Absences, holds and the intents of writers that died stand for their time.
func (s *Server) Invariants(t testing.TB, prefixes ...string) {
	t.Helper()
	until := time.Now().Add(grace)
	for _, key := range s.scan(t) {
		if ttl, _ := s.Do(t, "PTTL", key).AsInt64(); ttl == -1 {
			t.Errorf("the key %q has no TTL", key)
		}
		name, side := owner(key)
		if !slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(name, p) }) {
			t.Errorf("the key %q is none of ours", key)
		}
		for side {
			v, _ := s.Do(t, "GET", key).ToString()
			if !strings.HasPrefix(v, "t") {
				break
			}
			if time.Now().After(until) {
				t.Errorf("a lease is left: %q = %q", key, v)
				break
			}
			<-time.After(10 * time.Millisecond)
		}
	}
}

// scan returns every key.
func (s *Server) scan(t testing.TB) (keys []string) {
	t.Helper()
	for cursor := uint64(0); ; {
		e, err := s.Do(t, "SCAN", strconv.FormatUint(cursor, 10), "COUNT", "1000").AsScanEntry()
		if err != nil {
			t.Fatal(err)
		}
		keys = append(keys, e.Elements...)
		if cursor = e.Cursor; cursor == 0 {
			slices.Sort(keys)
			return slices.Compact(keys) // SCAN may name a key twice
		}
	}
}

// owner returns the key whose sidecar this may be: k for {k}:~l, k{tag}:~l and ~l:{slot}:k.
func owner(key string) (name string, side bool) {
	if rest, ok := strings.CutPrefix(key, "~l:{"); ok {
		_, name, side = strings.Cut(rest, "}:")
		return name, side
	}
	name, side = strings.CutSuffix(key, ":~l")
	if side && strings.HasPrefix(name, "{") && strings.HasSuffix(name, "}") {
		name = name[1 : len(name)-1]
	}
	return name, side
}
