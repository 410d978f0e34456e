package redistest

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// masterSet is what the sentinels call their master.
const masterSet = "mymaster"

// Sentinels is a master with one replica, and three sentinels that watch them.
type Sentinels struct {
	Servers   []*Server // at first the master, then the replica. Who is what now Master and Replica tell
	Sentinels []*Server
}

// StartSentinels starts a group that ends with the test. args are further options of the two servers. The sentinels take
// the master for dead after 1 s, if two of them think so.
func StartSentinels(t testing.TB, args ...string) *Sentinels {
	t.Helper()
	g, err := startSentinels(args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(g.Stop)
	return g
}

// SharedSentinels returns the package's group, started by the first to ask and stopped by Main. Tests that use it flush
// it, do not run in parallel, and start anew what they kill.
func SharedSentinels(t testing.TB) *Sentinels {
	t.Helper()
	g := share(t, &shared.sentinels, func() (*Sentinels, error) { return startSentinels(nil) })
	g.Wait(t)
	return g
}

func startSentinels(args []string) (*Sentinels, error) {
	g := &Sentinels{}
	if err := g.start(args); err != nil {
		err = withLogs(fmt.Errorf("no sentinels: %w", err), g.all()...)
		g.Stop()
		return nil, err
	}
	return g, nil
}

func (g *Sentinels) start(args []string) error {
	master, err := start(replicated("", args))
	if err != nil {
		return err
	}
	g.Servers = append(g.Servers, master)
	replica, err := start(replicated(master.Addr, args))
	if err != nil {
		return err
	}
	g.Servers = append(g.Servers, replica)
	// Sentinels ask a master for its replicas at once and then every 10 s.
	if err := poll(wait, replica.follows); err != nil {
		return err
	}
	for range 3 {
		s, err := start(sentinel(master.Addr, option(args, "requirepass")))
		if err != nil {
			return err
		}
		g.Sentinels = append(g.Sentinels, s)
	}
	return poll(2*wait, g.settled)
}

// replicated is the setup of a server whose master changes. It has a file for the sentinels to have it written there, so
// that a restarted server is what it was last.
func replicated(master string, args []string) setup {
	return func(s *Server, port, bus string) ([]string, error) {
		text := ""
		if host, port, err := net.SplitHostPort(master); err == nil {
			text = fmt.Sprintf("replicaof %s %s\n", host, port)
		}
		options, err := single(append([]string{"--repl-diskless-sync-delay", "0"}, args...))(s, port, bus)
		if err != nil {
			return nil, err
		}
		file := filepath.Join(s.dir, "redis.conf")
		return append([]string{file}, options...), os.WriteFile(file, []byte(text), 0o600)
	}
}

func sentinel(master, password string) setup {
	return func(s *Server, port, _ string) ([]string, error) {
		host, masterPort, err := net.SplitHostPort(master)
		if err != nil {
			return nil, err
		}
		text := fmt.Sprintf(`bind 127.0.0.1
port %s
unixsocket %s
dir %s
logfile %s
sentinel monitor %[5]s %s %s 2
sentinel down-after-milliseconds %[5]s 1000
sentinel failover-timeout %[5]s 3000
`, port, s.Socket, s.dir, s.logFile(), masterSet, host, masterPort)
		if password != "" {
			text += fmt.Sprintf("sentinel auth-pass %s %s\n", masterSet, password)
		}
		s.ready = func() error {
			// By default a sentinel asks for states every 10 s and lets an old master be one for 8 s: four times the
			// period of its messages.
			_, err := s.do(wait, "SENTINEL", "DEBUG", "info-period", "1000", "publish-period", "500")
			return err
		}
		file := filepath.Join(s.dir, "sentinel.conf")
		return []string{file, "--sentinel"}, os.WriteFile(file, []byte(text), 0o600)
	}
}

// URL returns the sentinels' addresses and the master's name as the layer takes them.
func (g *Sentinels) URL() string {
	var addrs []string
	for _, s := range g.Sentinels {
		addrs = append(addrs, s.Addr)
	}
	return "redis-sentinel://" + strings.Join(addrs, ",") + "/" + masterSet
}

// Master returns the master as the sentinels that run have it; while a failover goes on it waits for its end.
func (g *Sentinels) Master(t testing.TB) (master *Server) {
	t.Helper()
	if err := poll(2*wait, func() (err error) {
		master, err = g.master()
		return err
	}); err != nil {
		t.Fatal(withLogs(err, g.all()...))
	}
	return master
}

// master asks all sentinels: one alone hears of a failover seconds after the others.
func (g *Sentinels) master() (master *Server, err error) {
	errs := []error{errors.New("no sentinel tells the master")}
	for _, s := range g.Sentinels {
		if !s.running() {
			continue
		}
		m, err := s.do(time.Second, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", masterSet)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		at, err := m.AsStrSlice()
		if err != nil || len(at) != 2 {
			return nil, fmt.Errorf("%s knows no master: %v", s.Addr, err)
		}
		i := slices.IndexFunc(g.Servers, func(s *Server) bool { return s.Addr == net.JoinHostPort(at[0], at[1]) })
		if i < 0 {
			return nil, fmt.Errorf("%s has %v for the master", s.Addr, at)
		}
		if master != nil && master != g.Servers[i] {
			return nil, errors.New("the sentinels have different masters")
		}
		master = g.Servers[i]
	}
	if master == nil {
		return nil, errors.Join(errs...)
	}
	return master, nil
}

// Replica returns the server that is not the master. It need not run.
func (g *Sentinels) Replica(t testing.TB) *Server {
	t.Helper()
	return g.other(g.Master(t))
}

func (g *Sentinels) other(s *Server) *Server {
	if s == g.Servers[0] {
		return g.Servers[1]
	}
	return g.Servers[0]
}

// settled says what is missing until the sentinels that run have the same healthy master and know each other, and the
// other server, if it runs, follows it and they know.
func (g *Sentinels) settled() error {
	master, err := g.master()
	if err != nil {
		return err
	}
	replica := g.other(master)
	if role, err := master.ask("INFO", "replication"); err != nil || !strings.Contains(role, "role:master") {
		return errors.Join(fmt.Errorf("%s is no master", master.Addr), err)
	}
	if replica.running() {
		if err := replica.follows(); err != nil {
			return err
		}
	}
	for _, s := range g.Sentinels {
		if s.running() {
			if err := g.knows(s, replica); err != nil {
				return fmt.Errorf("the sentinel %s: %w", s.Addr, err)
			}
		}
	}
	return nil
}

// knows says what the sentinel does not know yet, but has to for a failover.
func (g *Sentinels) knows(s, replica *Server) error {
	m, err := s.do(time.Second, "SENTINEL", "MASTER", masterSet)
	if err != nil {
		return err
	}
	state, err := m.AsStrMap()
	if err != nil {
		return err
	}
	if state["flags"] != "master" || state["num-other-sentinels"] != "2" {
		return fmt.Errorf("the master is %s, there are %s other sentinels", state["flags"], state["num-other-sentinels"])
	}
	if !replica.running() {
		return nil
	}
	if m, err = s.do(time.Second, "SENTINEL", "REPLICAS", masterSet); err != nil {
		return err
	}
	replicas, err := m.ToArray()
	if err != nil {
		return err
	}
	for _, r := range replicas {
		state, err := r.AsStrMap()
		if err == nil && state["name"] == replica.Addr && state["flags"] == "slave" && state["master-link-status"] == "ok" {
			return nil
		}
	}
	return fmt.Errorf("the replica %s is not known or not well", replica.Addr)
}

// Wait waits until the sentinels that run agree about a master that answers, and the other server, if it runs, follows
// it: after the master was killed or paused, until the replica has taken over.
func (g *Sentinels) Wait(t testing.TB) {
	t.Helper()
	if err := poll(2*wait, g.settled); err != nil {
		t.Fatal(withLogs(fmt.Errorf("the sentinels do not settle: %w", err), g.all()...))
	}
}

// Failover has the sentinels make the replica the master, and waits until all know. They do it without asking the old
// master, which refuses no write meanwhile: what it takes in the last moment is lost.
func (g *Sentinels) Failover(t testing.TB) {
	t.Helper()
	g.Wait(t)
	old := g.Master(t)
	var asked time.Time
	err := poll(2*wait, func() error {
		master, err := g.master()
		if err != nil {
			return err
		}
		if master != old {
			return g.settled()
		}
		if time.Since(asked) > 6*time.Second { // twice what a sentinel takes to give up
			i := slices.IndexFunc(g.Sentinels, (*Server).running)
			if _, err := g.Sentinels[i].do(time.Second, "SENTINEL", "FAILOVER", masterSet); err != nil {
				return err
			}
			asked = time.Now()
		}
		return fmt.Errorf("%s is still the master", old.Addr)
	})
	if err != nil {
		t.Fatal(withLogs(fmt.Errorf("failover: %w", err), g.all()...))
	}
}

// FlushAll empties the master.
func (g *Sentinels) FlushAll(t testing.TB) {
	t.Helper()
	g.Master(t).Do(t, "FLUSHALL")
}

// Invariants is Server.Invariants for the master.
func (g *Sentinels) Invariants(t testing.TB, prefixes ...string) {
	t.Helper()
	g.Master(t).Invariants(t, prefixes...)
}

// Stop ends the sentinels and the servers, and removes their folders.
func (g *Sentinels) Stop() {
	for _, s := range g.all() {
		s.Stop()
	}
}

// all returns the sentinels first, so that they do not see the others go.
func (g *Sentinels) all() []*Server { return slices.Concat(g.Sentinels, g.Servers) }
