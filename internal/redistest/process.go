package redistest

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A setup writes what a server needs into its folder and returns its command line. The ports are free, but not kept so;
// bus is for the one who needs a second.
type setup func(s *Server, port, bus string) (args []string, err error)

// start starts a server and waits until it answers.
func start(prepare setup) (s *Server, err error) {
	for range 5 { // another process may take a port before the server does
		if s, err = startOnce(prepare); err == nil {
			break
		}
	}
	return s, err
}

func startOnce(prepare setup) (*Server, error) {
	dir, err := os.MkdirTemp("", "nearside-redis-")
	if err != nil {
		return nil, err
	}
	s := &Server{dir: dir, Socket: filepath.Join(dir, "redis.sock")}
	var port string
	if port, s.bus, err = freePorts(); err == nil {
		s.Addr = net.JoinHostPort("127.0.0.1", port)
		s.args, err = prepare(s, port, s.bus)
	}
	if err == nil {
		err = s.launch()
	}
	if err != nil {
		os.RemoveAll(dir)
		return nil, err
	}
	return s, nil
}

// freePorts holds both ports before it lets go of them, so that they are two.
func freePorts() (string, string, error) {
	a, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer a.Close()
	b, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", "", err
	}
	defer b.Close()
	port := func(ln net.Listener) string { return fmt.Sprint(ln.Addr().(*net.TCPAddr).Port) }
	return port(a), port(b), nil
}

// launch starts the process and waits until it answers; one that does not is killed.
func (s *Server) launch() error {
	path, err := binary()
	if err != nil {
		return err
	}
	s.cmd = exec.Command(path, s.args...)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := s.cmd.Start(); err != nil {
		return err
	}
	cmd, exited := s.cmd, make(chan struct{})
	s.exited = exited
	s.frozen.Store(false)
	go func() {
		_ = cmd.Wait() // killed, as often as not
		close(exited)
	}()
	for until := time.Now().Add(10 * time.Second); ; {
		if s.answers() {
			return s.greet()
		}
		select {
		case <-exited:
		case <-time.After(5 * time.Millisecond):
			if time.Now().Before(until) {
				continue
			}
		}
		s.kill()
		return fmt.Errorf("redis-server does not answer on %s; %s", s.Socket, s.tail())
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
	answer := make([]byte, 64)
	n, err := conn.Read(answer) // +PONG, or that a password is needed
	return n > 0 && err == nil && !strings.HasPrefix(string(answer[:n]), "-LOADING")
}

// greet has our own client notice that the server is a new process, and does what is to be done to one.
func (s *Server) greet() error {
	s.mu.Lock()
	known := s.c != nil
	s.mu.Unlock()
	if known {
		if err := poll(5*time.Second, func() error { _, err := s.ask("PING"); return err }); err != nil {
			return err
		}
	}
	if s.ready != nil {
		return s.ready()
	}
	return nil
}

// running says whether the process lives and is not frozen.
func (s *Server) running() bool {
	select {
	case <-s.exited:
		return false
	default:
		return !s.frozen.Load()
	}
}

// Kill ends the server as a power cut does. Restart brings it back.
func (s *Server) Kill() { s.kill() }

func (s *Server) kill() {
	if s.exited != nil {
		s.cmd.Process.Kill()
		<-s.exited
	}
}

// Restart starts the server anew, killing it if it still runs: with the same port, folder and options. Without an
// append-only file it comes back empty. It is not for use while another goroutine kills or freezes the server.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	s.kill()
	// Somebody's outgoing connection may have the port for a moment.
	if err := poll(20*time.Second, s.launch); err != nil {
		t.Fatal(err)
	}
}

// Forget removes what SAVE has written: Restart brings the server back empty again.
func (s *Server) Forget(t testing.TB) {
	t.Helper()
	if err := os.Remove(filepath.Join(s.dir, "dump.rdb")); err != nil {
		t.Fatal(err)
	}
}

// Pause freezes the server: its connections stay open and get no answer.
func (s *Server) Pause() {
	s.frozen.Store(true)
	s.cmd.Process.Signal(syscall.SIGSTOP)
}

// Continue wakes what Pause froze.
func (s *Server) Continue() {
	s.cmd.Process.Signal(syscall.SIGCONT)
	s.frozen.Store(false)
}

func (s *Server) logFile() string { return filepath.Join(s.dir, "log") }

// Log returns what the server has written into its log.
func (s *Server) Log(t testing.TB) string {
	t.Helper()
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tail returns the end of the server's log, for error messages.
func (s *Server) tail() string {
	text, err := os.ReadFile(s.logFile())
	if err != nil {
		return err.Error()
	}
	return fmt.Sprintf("%s says:\n%s", s.Addr, text[max(0, len(text)-3000):])
}

// withLogs adds to an error what the servers say.
func withLogs(err error, servers ...*Server) error {
	var b strings.Builder
	for _, s := range servers {
		b.WriteString("\n" + s.tail())
	}
	return fmt.Errorf("%w%s", err, b.String())
}

// poll asks until the answer is nil. When the time is over it returns the last one.
func poll(limit time.Duration, ask func() error) error {
	for until := time.Now().Add(limit); ; <-time.After(20 * time.Millisecond) {
		if err := ask(); err == nil || time.Now().After(until) {
			return err
		}
	}
}

func dialUnix(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
	return d.DialContext(ctx, "unix", path)
}
