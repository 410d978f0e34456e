package redistest

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

const (
	slots = 16384
	wait  = 15 * time.Second // for what takes 2 s on an idle machine
)

// A node is a node as one of them sees it: a line of CLUSTER NODES.
type node struct {
	id     string
	flags  []string
	master string // its id, or "-"
	epoch  uint64
	linked bool
	slots  []string // "0-5460", "17"
}

func (n node) isMaster() bool { return slices.Contains(n.flags, "master") }

// role is what all must see alike.
func (n node) role() string { return fmt.Sprintf("master %s, slots %v", n.master, n.slots) }

// healthy says whether the one who sees the node can talk to it.
func (n node) healthy() bool {
	return n.linked && !slices.ContainsFunc(n.flags, func(f string) bool {
		return f == "fail" || f == "fail?" || f == "handshake" || f == "noaddr"
	})
}

// has says whether the node has the slot.
func (n node) has(slot int) bool {
	return slices.ContainsFunc(n.slots, func(r string) bool {
		first, last, several := strings.Cut(r, "-")
		a, _ := strconv.Atoi(first)
		b := a
		if several {
			b, _ = strconv.Atoi(last)
		}
		return a <= slot && slot <= b
	})
}

// A view is a cluster as one node sees it.
type view struct {
	self node
	all  map[string]node // by id
}

func (s *Server) view() (view, error) {
	text, err := s.ask("CLUSTER", "NODES")
	if err != nil {
		return view{}, err
	}
	v := view{all: map[string]node{}}
	for line := range strings.Lines(text) {
		// id address flags master ping pong epoch link slots...
		f := strings.Fields(line)
		if len(f) < 8 {
			continue
		}
		n := node{id: f[0], flags: strings.Split(f[2], ","), master: f[3], linked: f[7] == "connected"}
		n.epoch, _ = strconv.ParseUint(f[6], 10, 64)
		for _, r := range f[8:] {
			if !strings.HasPrefix(r, "[") { // on the move, which only the node itself tells
				n.slots = append(n.slots, r)
			}
		}
		v.all[n.id] = n
		if slices.Contains(n.flags, "myself") {
			v.self = n
		}
	}
	return v, nil
}

// views asks every node that runs. One that does not answer is left out, with an error.
func (c *Cluster) views() (map[*Server]view, error) {
	views := map[*Server]view{}
	var errs []error
	for _, s := range c.Nodes {
		if s.running() {
			v, err := s.view()
			if err == nil {
				views[s] = v
			} else {
				errs = append(errs, fmt.Errorf("%s: %w", s.Addr, err))
			}
		}
	}
	return views, errors.Join(errs...)
}

// agreed says what is missing until the nodes that run see each other, and each as it sees itself.
func (c *Cluster) agreed() (map[*Server]view, error) {
	views, err := c.views()
	if err != nil {
		return nil, err
	}
	for s, v := range views {
		for other, w := range views {
			seen, known := w.all[v.self.id]
			switch {
			case !known:
				return nil, fmt.Errorf("%s does not know %s", other.Addr, s.Addr)
			case !seen.healthy():
				return nil, fmt.Errorf("%s has no link to %s: %v", other.Addr, s.Addr, seen.flags)
			case seen.role() != v.self.role():
				return nil, fmt.Errorf("%s sees %s as %s, but it is %s", other.Addr, s.Addr, seen.role(), v.self.role())
			}
		}
	}
	return views, nil
}

// settled says what is missing until the nodes that run agree, call the cluster ok and follow their masters.
func (c *Cluster) settled() error {
	views, err := c.agreed()
	if err != nil {
		return err
	}
	for s, v := range views {
		info, err := s.ask("CLUSTER", "INFO")
		if err != nil {
			return err
		}
		if !strings.Contains(info, "cluster_state:ok") {
			return fmt.Errorf("%s has the cluster in another state than ok", s.Addr)
		}
		if !v.self.isMaster() {
			if err := s.follows(); err != nil {
				return err
			}
		}
	}
	return nil
}

// follows says what is missing until the server is a replica that has got what its master has.
func (s *Server) follows() error {
	info, err := s.ask("INFO", "replication")
	if err != nil {
		return err
	}
	if !strings.Contains(info, "master_link_status:up") {
		return fmt.Errorf("the replica %s has no link to its master", s.Addr)
	}
	return nil
}

// Wait waits until the nodes that run agree about all of them, call the cluster ok and follow their masters: after a
// node was killed or paused, until its replica has taken over.
func (c *Cluster) Wait(t testing.TB) {
	t.Helper()
	if err := poll(2*wait, c.settled); err != nil {
		t.Fatal(withLogs(fmt.Errorf("the cluster does not settle: %w", err), c.Nodes...))
	}
}

// Masters returns the masters that run, those without slots as well.
func (c *Cluster) Masters(t testing.TB) (masters []*Server) {
	t.Helper()
	c.find(t, "masters", func(views map[*Server]view) bool {
		masters = nil
		for _, s := range c.Nodes {
			if v, ok := views[s]; ok && v.self.isMaster() {
				masters = append(masters, s)
			}
		}
		return len(masters) > 0
	})
	return masters
}

// Master returns the node that has the slot of the key now; while a failover goes on it waits for its end.
func (c *Cluster) Master(t testing.TB, key string) (master *Server) {
	t.Helper()
	slot := c.slot(t, key)
	c.find(t, fmt.Sprintf("master of the slot %d", slot), func(views map[*Server]view) bool {
		// A node tells of itself at once, others hear of it later. One that was away may still think it has the slot: the
		// higher epoch is right.
		var epoch uint64
		for s, v := range views {
			if v.self.has(slot) && v.self.isMaster() && (master == nil || v.self.epoch > epoch) {
				master, epoch = s, v.self.epoch
			}
		}
		return master != nil
	})
	return master
}

// Replica returns a replica of the node, which itself need not run.
func (c *Cluster) Replica(t testing.TB, of *Server) (replica *Server) {
	t.Helper()
	c.find(t, "replica of "+of.Addr, func(views map[*Server]view) bool {
		for _, s := range c.Nodes {
			if v, ok := views[s]; ok && v.self.master == of.id {
				replica = s
				return true
			}
		}
		return false
	})
	return replica
}

// find asks the nodes for their views until the wanted is found.
func (c *Cluster) find(t testing.TB, wanted string, found func(map[*Server]view) bool) {
	t.Helper()
	err := poll(wait, func() error {
		views, err := c.views()
		if found(views) {
			return nil
		}
		return errors.Join(errors.New("none found"), err)
	})
	if err != nil {
		t.Fatal(withLogs(fmt.Errorf("%s: %w", wanted, err), c.Nodes...))
	}
}

// slot asks a node for the slot of a key.
func (c *Cluster) slot(t testing.TB, key string) (slot int) {
	t.Helper()
	for _, s := range c.Nodes {
		if m, err := s.do(time.Second, "CLUSTER", "KEYSLOT", key); err == nil {
			n, _ := m.AsInt64()
			return int(n)
		}
	}
	t.Fatal("no node tells the slot of a key")
	return 0
}
