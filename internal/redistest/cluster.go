package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

// Cluster is a Redis Cluster of a test's own.
type Cluster struct {
	// Nodes are the nodes as they were started, the masters first; AddNode appends. Who is a master now Master, Masters and
	// Replica tell.
	Nodes []*Server

	masters int
	args    []string

	mu sync.Mutex // protects c
	c  rueidis.Client
}

// StartCluster starts a cluster that ends with the test, with so many replicas of each master. args are further options
// of each redis-server. It takes 2 to 3 s: for its first 2 s a node of Redis 7 does not call a cluster ok.
func StartCluster(t testing.TB, masters, replicas int, args ...string) *Cluster {
	t.Helper()
	c, err := startCluster(masters, replicas, args)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Stop)
	return c
}

// SharedCluster returns the package's cluster of three masters and a replica of each, started by the first to ask and
// stopped by Main. Tests that use it flush it, do not run in parallel, and start anew what they kill.
func SharedCluster(t testing.TB) *Cluster {
	t.Helper()
	c := share(t, &shared.cluster, func() (*Cluster, error) { return startCluster(3, 1, nil) })
	c.Wait(t)
	return c
}

func startCluster(masters, replicas int, args []string) (c *Cluster, err error) {
	for range 3 { // on a machine that stalls, a replica may take over before all is said
		c = &Cluster{masters: masters, args: args}
		if err = c.start(masters * (1 + replicas)); err == nil {
			return c, nil
		}
		c.Stop()
	}
	return nil, err
}

// start starts the nodes and makes a cluster of them: redis-cli would do it, but with whole seconds of sleep.
func (c *Cluster) start(n int) error {
	c.Nodes = make([]*Server, n)
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { c.Nodes[i], errs[i] = c.startNode() })
	}
	wg.Wait()
	c.Nodes = slices.DeleteFunc(c.Nodes, func(s *Server) bool { return s == nil }) // what Stop stops
	if err := errors.Join(errs...); err != nil {
		return err
	}
	if err := c.form(); err != nil {
		return withLogs(fmt.Errorf("no cluster: %w", err), c.Nodes...)
	}
	return nil
}

func (c *Cluster) startNode() (*Server, error) {
	s, err := start(c.node)
	if err != nil {
		return nil, err
	}
	if s.id, err = s.ask("CLUSTER", "MYID"); err != nil {
		s.Stop()
		return nil, err
	}
	return s, nil
}

// node is the setup of a node. Its bus has a port of its own choice: above port 55535 the usual port+10000 does not exist.
func (c *Cluster) node(s *Server, port, bus string) ([]string, error) {
	return single(append([]string{
		"--cluster-enabled", "yes", "--cluster-port", bus, "--cluster-config-file", "nodes.conf",
		"--cluster-node-timeout", "1000", "--appendonly", "no",
		"--repl-diskless-sync-delay", "0", // by default a replica waits 5 s for others to come
	}, c.args...))(s, port, bus)
}

func (c *Cluster) form() error {
	for i, s := range c.Nodes {
		// Before they meet: of nodes with the same epoch one would have to give way first.
		if _, err := s.do(wait, "CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)); err != nil {
			return err
		}
		if i < c.masters {
			first, next := i*slots/c.masters, (i+1)*slots/c.masters
			if _, err := s.do(wait, "CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(next-1)); err != nil {
				return err
			}
		}
	}
	if err := c.meet(c.Nodes); err != nil {
		return err
	}
	for i, s := range c.Nodes[c.masters:] {
		if _, err := s.do(wait, "CLUSTER", "REPLICATE", c.Nodes[i%c.masters].id); err != nil {
			return err
		}
	}
	return poll(wait, func() error {
		if err := c.settled(); err != nil {
			return err
		}
		for i, s := range c.Nodes {
			v, err := s.view()
			if err == nil && v.self.isMaster() != (i < c.masters) {
				err = fmt.Errorf("%s has changed its part", s.Addr)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// meet introduces each of the nodes to all others, which is faster than to wait for gossip, and again if a handshake was
// given up: it has no longer than the node timeout.
func (c *Cluster) meet(nodes []*Server) (err error) {
	for range 5 {
		for _, s := range nodes {
			for _, other := range c.Nodes {
				if s == other || !other.running() {
					continue
				}
				host, port, _ := net.SplitHostPort(other.Addr)
				if _, err := s.do(wait, "CLUSTER", "MEET", host, port, other.bus); err != nil {
					return err
				}
			}
		}
		if err = poll(wait/5, func() error { _, err := c.agreed(); return err }); err == nil {
			return nil
		}
	}
	return err
}

// URL returns the addresses of the first masters as the layer takes them. A failover does not change it.
func (c *Cluster) URL() string {
	return "redis://" + strings.Join(c.addresses(), ",") + "?cluster=true"
}

func (c *Cluster) addresses() (addrs []string) {
	for _, s := range c.Nodes[:c.masters] {
		addrs = append(addrs, s.Addr)
	}
	return addrs
}

// Client returns a plain client of the cluster.
func (c *Cluster) Client(t testing.TB) rueidis.Client {
	t.Helper()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.c == nil {
		client, err := rueidis.NewClient(rueidis.ClientOption{
			InitAddress: c.addresses(), Password: option(c.args, "requirepass"), DisableCache: true,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.c = client
	}
	return c.c
}

// Do runs a command on the node that has its key, the first argument, and fails the test if the node says no. What did
// not get to a node, as nobody has the slot yet, is tried again for a while.
func (c *Cluster) Do(t testing.TB, args ...string) *rueidis.RedisMessage {
	t.Helper()
	client := c.Client(t)
	ctx, cancel := context.WithTimeout(context.Background(), wait)
	defer cancel()
	var m rueidis.RedisMessage
	var fatal error
	err := poll(wait, func() error {
		cmd := client.B().Arbitrary(args[0])
		if len(args) > 1 {
			cmd = cmd.Keys(args[1]).Args(args[2:]...)
		}
		var err error
		if m, err = client.Do(ctx, cmd.Build()).ToMessage(); err == nil || rueidis.IsRedisNil(err) || unsent(err) {
			if rueidis.IsRedisNil(err) {
				err = nil
			}
			return err
		}
		fatal = err
		return nil
	})
	if err = errors.Join(err, fatal); err != nil {
		t.Fatalf("%s: %v", strings.Join(args, " "), err)
	}
	return &m
}

// unsent says whether an error means that the command was not run.
func unsent(err error) bool {
	if e, ok := rueidis.IsRedisErr(err); ok {
		return e.IsClusterDown() || e.IsTryAgain() || e.IsLoading()
	}
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "dial"
}

// FlushAll empties all masters.
func (c *Cluster) FlushAll(t testing.TB) {
	t.Helper()
	for _, s := range c.Masters(t) {
		s.Do(t, "FLUSHALL")
	}
}

// Invariants is Server.Invariants for all masters.
func (c *Cluster) Invariants(t testing.TB, prefixes ...string) {
	t.Helper()
	for _, s := range c.Masters(t) {
		s.Invariants(t, prefixes...)
	}
}

// Reshard moves slots from one master to another, with their keys, by redis-cli.
func (c *Cluster) Reshard(t testing.TB, from, to *Server, slots int) {
	t.Helper()
	c.Wait(t) // redis-cli refuses while nodes see the cluster differently
	args := []string{
		"--cluster", "reshard", to.Addr, "--cluster-from", from.id, "--cluster-to", to.id,
		"--cluster-slots", strconv.Itoa(slots), "--cluster-yes",
	}
	if password := option(c.args, "requirepass"); password != "" {
		args = append(args, "-a", password)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	if out, err := exec.CommandContext(ctx, "redis-cli", args...).CombinedOutput(); err != nil {
		t.Fatalf("redis-cli %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	c.Wait(t)
}

// Failover makes a replica the master, in agreement with its master, and waits until all know. Right after another
// failover of the same master it takes some seconds, since the others vote once in two node timeouts.
func (c *Cluster) Failover(t testing.TB, replica *Server) {
	t.Helper()
	var asked time.Time
	err := poll(2*wait, func() error {
		v, err := replica.view()
		if err != nil {
			return err
		}
		if v.self.isMaster() {
			return c.settled()
		}
		if time.Since(asked) > 6*time.Second { // the replica gives up after 5
			if _, err := replica.do(wait, "CLUSTER", "FAILOVER"); err != nil {
				return err
			}
			asked = time.Now()
		}
		return errors.New("it is still a replica")
	})
	if err != nil {
		t.Fatal(withLogs(fmt.Errorf("failover to %s: %w", replica.Addr, err), c.Nodes...))
	}
}

// AddNode starts an empty master, joins it to the cluster and appends it to Nodes. Reshard gives it slots.
func (c *Cluster) AddNode(t testing.TB) *Server {
	t.Helper()
	s, err := c.startNode()
	if err != nil {
		t.Fatal(err)
	}
	c.Nodes = append(c.Nodes, s)
	if err := c.meet([]*Server{s}); err != nil {
		t.Fatal(withLogs(fmt.Errorf("the new node %s: %w", s.Addr, err), c.Nodes...))
	}
	c.Wait(t)
	return s
}

// Stop ends the nodes and removes their folders.
func (c *Cluster) Stop() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.c != nil {
		c.c.Close()
		c.c = nil
	}
	for _, s := range c.Nodes {
		s.Stop()
	}
}
