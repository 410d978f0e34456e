// Package dbtest starts real database servers for tests: children of the test, on free ports of 127.0.0.1, each with a
// folder of its own, stopped by their process handle.
//
// It links no driver, so that the library's module needs none: who uses it imports github.com/jackc/pgx/v5/stdlib for
// PostgreSQL, github.com/go-sql-driver/mysql for MariaDB.
package dbtest

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"
)

// Server is a database server.
type Server struct {
	URL    string // of nearside's form, for the database "shop"
	Addr   string // host:port
	driver string
	dsn    string
	port   string
	dir    string

	begin func() *exec.Cmd
	cmd   *exec.Cmd
	done  chan struct{}
	log   bytes.Buffer
}

var (
	mu     sync.Mutex
	shared = map[string]*Server{}
)

// Stop ends the servers of a package, after its tests.
func Stop() {
	mu.Lock()
	defer mu.Unlock()
	for name, s := range shared {
		s.Stop()
		os.RemoveAll(s.dir)
		delete(shared, name)
	}
}

// Postgres returns the package's PostgreSQL, started by the first to ask.
func Postgres(t testing.TB) *Server { return share(t, "postgres", startPostgres) }

// MariaDB returns the package's MariaDB, started by the first to ask.
func MariaDB(t testing.TB) *Server { return share(t, "mariadb", startMariaDB) }

func share(t testing.TB, name string, start func(*Server) error) *Server {
	t.Helper()
	mu.Lock()
	defer mu.Unlock()
	if s := shared[name]; s != nil {
		return s
	}
	s := &Server{}
	var err error
	if s.dir, err = os.MkdirTemp("", "nearside-"+name+"-"); err == nil {
		if s.port, err = freePort(); err == nil {
			s.Addr = net.JoinHostPort("127.0.0.1", s.port)
			err = start(s)
		}
	}
	if err != nil {
		os.RemoveAll(s.dir)
		t.Fatalf("start %s: %v\n%s", name, err, s.log.String())
	}
	shared[name] = s
	return s
}

func freePort() (string, error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer ln.Close()
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port), nil
}

// find returns the path of a program; Debian keeps those of PostgreSQL out of the way.
func find(name, pkg string) (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/" + name)
	if len(found) > 0 {
		return found[len(found)-1], nil
	}
	for _, dir := range []string{"", "/usr/sbin/"} {
		if path, err := exec.LookPath(dir + name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is missing: apt-get install %s", name, pkg)
}

// plainUser makes a command run as another user, since the servers refuse to be root.
func plainUser(cmd *exec.Cmd, dir string) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGINT} // a test that was killed leaves no server behind
	if os.Getuid() != 0 {
		return nil
	}
	u, err := user.Lookup("nobody")
	if err != nil {
		return err
	}
	uid, _ := strconv.Atoi(u.Uid)
	gid, _ := strconv.Atoi(u.Gid)
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir)
	return os.Chown(dir, uid, gid)
}

func (s *Server) command(name, pkg string, args ...string) (*exec.Cmd, error) {
	path, err := find(name, pkg)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(path, args...)
	cmd.Stdout, cmd.Stderr = &s.log, &s.log
	return cmd, plainUser(cmd, s.dir)
}

func startPostgres(s *Server) error {
	data := filepath.Join(s.dir, "data")
	initdb, err := s.command("initdb", "postgresql", "-D", data, "-U", "app", "--auth=scram-sha-256", "--pwfile="+filepath.Join(s.dir, "pw"), "-E", "UTF8", "--locale=C", "--no-sync")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.dir, "pw"), []byte("s3cret\n"), 0o644); err != nil {
		return err
	}
	if err := initdb.Run(); err != nil {
		return err
	}
	s.begin = func() *exec.Cmd {
		cmd, _ := s.command("postgres", "postgresql", "-D", data, "-p", s.port, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="+s.dir,
			"-c", "fsync=off", "-c", "max_connections=200")
		return cmd
	}
	s.driver, s.dsn = "pgx", "postgres://app:s3cret@127.0.0.1:"+s.port+"/postgres"
	if err := s.Start(); err != nil {
		return err
	}
	if err := s.exec("CREATE DATABASE shop"); err != nil {
		return err
	}
	s.dsn = "postgres://app:s3cret@127.0.0.1:" + s.port + "/shop"
	s.URL = s.dsn
	return nil
}

func startMariaDB(s *Server) error {
	data := filepath.Join(s.dir, "data")
	install, err := s.command("mariadb-install-db", "mariadb-server", "--no-defaults", "--datadir="+data, "--auth-root-authentication-method=normal", "--skip-test-db")
	if err != nil {
		return err
	}
	if err := install.Run(); err != nil {
		return err
	}
	s.begin = func() *exec.Cmd {
		cmd, _ := s.command("mariadbd", "mariadb-server", "--no-defaults", "--datadir="+data, "--port="+s.port, "--bind-address=127.0.0.1",
			"--socket="+filepath.Join(s.dir, "s"), "--pid-file="+filepath.Join(s.dir, "pid"), "--skip-log-bin", "--innodb-flush-log-at-trx-commit=0",
			"--innodb-buffer-pool-size=64M", "--max-connections=200", "--character-set-server=utf8mb4")
		return cmd
	}
	s.driver, s.dsn = "mysql", "root@tcp(127.0.0.1:"+s.port+")/?multiStatements=true"
	if err := s.Start(); err != nil {
		return err
	}
	if err := s.exec("CREATE DATABASE shop; CREATE USER app@'127.0.0.1' IDENTIFIED BY 's3cret'; GRANT ALL ON shop.* TO app@'127.0.0.1'"); err != nil {
		return err
	}
	s.dsn = "root@tcp(127.0.0.1:" + s.port + ")/shop?multiStatements=true"
	s.URL = "mysql://app:s3cret@127.0.0.1:" + s.port + "/shop"
	return nil
}

// Start starts the server and waits until it answers.
func (s *Server) Start() error {
	s.cmd, s.done = s.begin(), make(chan struct{})
	if err := s.cmd.Start(); err != nil {
		return err
	}
	go func(cmd *exec.Cmd, done chan struct{}) { _ = cmd.Wait(); close(done) }(s.cmd, s.done)
	var err error
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if err = s.exec("SELECT 1"); err == nil {
			return nil
		}
		select {
		case <-s.done:
			return fmt.Errorf("it ended: %w", err)
		default:
		}
	}
	return fmt.Errorf("no answer within a minute: %w", err)
}

// Stop ends the server, as its operator would.
func (s *Server) Stop() {
	if s.cmd == nil {
		return
	}
	s.cmd.Process.Signal(syscall.SIGINT) // PostgreSQL: without waiting for clients
	if s.driver == "mysql" {
		s.cmd.Process.Signal(syscall.SIGTERM)
	}
	select {
	case <-s.done:
	case <-time.After(20 * time.Second):
		s.cmd.Process.Kill()
		<-s.done
	}
}

// Kill ends the server as a power cut does, and without its children, which notice. Restart brings it back.
func (s *Server) Kill() {
	s.cmd.Process.Kill()
	<-s.done
}

// Restart starts the server anew, after Kill or Stop: as soon as the last of its children has gone.
func (s *Server) Restart(t testing.TB) {
	t.Helper()
	var err error
	for until := time.Now().Add(time.Minute); time.Now().Before(until); time.Sleep(50 * time.Millisecond) {
		if err = s.Start(); err == nil {
			return
		}
	}
	t.Fatalf("restart the database: %v\n%s", err, s.log.String())
}

func (s *Server) exec(text string) error {
	db, err := sql.Open(s.driver, s.dsn)
	if err != nil {
		return err
	}
	defer db.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	_, err = db.ExecContext(ctx, text)
	return err
}

// Exec runs statements as the one who owns everything.
func (s *Server) Exec(t testing.TB, statements ...string) {
	t.Helper()
	for _, text := range statements {
		if err := s.exec(text); err != nil {
			t.Fatalf("%.200s: %v", text, err)
		}
	}
}
