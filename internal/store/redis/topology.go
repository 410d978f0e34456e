package redis

import (
	"context"
	"maps"
	"net"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// node is a master. Its identity changes when another process, or a process in another role, answers in its place: then
// what it had acknowledged and not replicated is lost.
type node struct{ address, identity string }

// span is a range of slots that one master serves.
type span struct {
	first, last uint16
	node        node
}

// topology is who serves which slots, as it was last seen. A single server serves all.
type topology struct {
	mu    sync.Mutex
	spans []span
}

// lookEvery is how often the topology is looked at. A connection that is made anew brings a look at once.
const lookEvery = time.Second

// watch looks at the topology until Close, and repeats recent invalidations where it has changed.
func (s *Store) watch() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		case <-s.poke:
		}
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		_ = s.look(ctx) // the next one may succeed
		cancel()
	}
}

// LookSoon asks for a look at the topology.
func (s *Store) LookSoon() {
	select {
	case s.poke <- struct{}{}:
	default:
	}
}

// look learns who serves which slots. If others do than before, what was invalidated shortly before is invalidated again.
func (s *Store) look(ctx context.Context) error {
	s.looking.Lock() // one after the other: what was read first is judged first
	defer s.looking.Unlock()
	began, seen := time.Now(), s.history.looking()
	now, err := s.spans(ctx)
	if err != nil {
		return err
	}
	s.judge(began, now, s.readHistory(ctx, now)) // before guards let reads through to other masters
	s.topology.mu.Lock()
	before := s.topology.spans
	s.topology.spans = now
	s.topology.mu.Unlock()
	s.pace()
	s.stand(false)
	s.trust(seen, now)
	s.settle(now)
	if before != nil {
		if moved := changes(before, now); len(moved) > 0 {
			if t := s.tracks.Load(); t != nil {
				t.lost() // a node that has given slots away may tell of their keys late, or not at all
			}
			s.repeat(moved)
		}
	}
	if complete(now) {
		s.recent.prune(began.Add(-recentFor))
		s.ended.prune(began.Add(-recentFor))
	}
	return nil
}

// changes returns the slots that are served by others than before. A master of which nothing is known now is none.
func changes(before, now []span) (moved []span) {
	for _, n := range now {
		for _, b := range before {
			if n.first <= b.last && b.first <= n.last && n.node != b.node && n.node.identity != "" {
				moved = append(moved, span{max(n.first, b.first), min(n.last, b.last), n.node})
			}
		}
	}
	return moved
}

// complete reports whether every slot's master is known.
func complete(spans []span) bool {
	n := 0
	for _, s := range spans {
		if s.node.identity != "" {
			n += int(s.last) - int(s.first) + 1
		}
	}
	return n == slots
}

// spans asks who serves which slots. Who does not answer has no identity.
func (s *Store) spans(ctx context.Context) ([]span, error) {
	nodes := s.c.Nodes()
	if s.target.Mode != redisurl.Cluster {
		var out []span
		for address, c := range nodes {
			id, err := s.identity(ctx, address, c)
			if err != nil {
				return nil, reply.Failed("info", "", err)
			}
			out = append(out, span{0, slots - 1, node{address, id}})
		}
		return out, nil
	}
	rows, from, err := clusterSlots(ctx, nodes)
	if err != nil {
		return nil, reply.Failed("cluster slots", "", err)
	}
	var out []span
	for _, row := range rows {
		if sp, ok := spanOf(row, from); ok {
			out = append(out, sp)
		}
	}
	slices.SortFunc(out, func(a, b span) int { return int(a.first) - int(b.first) })
	ids := s.identities(ctx, out, nodes)
	for i := range out {
		if id := ids[out[i].node.address]; id != "" {
			out[i].node.identity += " " + id
		} else {
			out[i].node.identity = ""
		}
	}
	return out, nil
}

// identities asks the masters of some spans who they are, all at once. Who does not answer is left out.
func (s *Store) identities(ctx context.Context, spans []span, nodes map[string]rueidis.Client) map[string]string {
	asked := make(map[string]*string)
	var all sync.WaitGroup
	for _, sp := range spans {
		address := sp.node.address
		c := nodes[address]
		if asked[address] != nil || c == nil {
			continue
		}
		id := new(string) // each has a place of its own: the map is still being written
		asked[address] = id
		all.Go(func() { *id, _ = s.identity(ctx, address, c) })
	}
	all.Wait()
	ids := make(map[string]string)
	for address, id := range asked {
		ids[address] = *id
	}
	return ids
}

// clusterSlots asks one node after the other, in no order, until one answers. It returns the host of that one too.
func clusterSlots(ctx context.Context, nodes map[string]rueidis.Client) (rows []rueidis.RedisMessage, from string, err error) {
	for address, c := range nodes {
		one, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
		rows, err = c.Do(one, c.B().ClusterSlots().Build()).ToArray()
		cancel()
		if err == nil || ctx.Err() != nil {
			from, _, _ = net.SplitHostPort(address)
			break
		}
	}
	return rows, from, err
}

// spanOf reads a row of CLUSTER SLOTS, which a node at some host has answered: first slot, last slot, master (address, port,
// id, ...), replicas.
func spanOf(row rueidis.RedisMessage, from string) (sp span, ok bool) {
	parts, err := row.ToArray()
	if err != nil || len(parts) < 3 {
		return sp, false
	}
	first, err1 := parts[0].AsInt64()
	last, err2 := parts[1].AsInt64()
	master, ok := nodeOf(parts[2], from)
	return span{uint16(first), uint16(last), master}, err1 == nil && err2 == nil && ok
}

// replicas returns the addresses of those that rows of CLUSTER SLOTS name.
func replicas(rows []rueidis.RedisMessage, from string) (out []string) {
	for _, row := range rows {
		parts, _ := row.ToArray()
		for i := 3; i < len(parts); i++ {
			if n, ok := nodeOf(parts[i], from); ok && !slices.Contains(out, n.address) {
				out = append(out, n.address)
			}
		}
	}
	return out
}

// nodeOf reads address, port, id. A node that does not know its own address, as one without others does not, names none:
// then it has the host at which it was asked (https://redis.io/docs/latest/commands/cluster-slots/).
func nodeOf(m rueidis.RedisMessage, from string) (n node, ok bool) {
	parts, err := m.ToArray()
	if err != nil || len(parts) < 3 {
		return n, false
	}
	host, _ := parts[0].ToString()
	if host == "" {
		host = from
	}
	port, _ := parts[1].AsInt64()
	id, _ := parts[2].ToString()
	return node{net.JoinHostPort(host, strconv.FormatInt(port, 10)), id}, true
}

// identity is the process that answers, and its role. A server that does not let us ask is always the same.
func (s *Store) identity(ctx context.Context, address string, c rueidis.Client) (string, error) {
	var rs []rueidis.RedisResult
	err := s.timed(ctx, address, c, func() error {
		rs = c.DoMulti(ctx, c.B().Info().Section("server").Build(), c.B().Info().Section("replication").Build())
		return rs[0].NonRedisError()
	})
	if err != nil {
		return "", err
	}
	var words [2]string
	for i, name := range []string{"run_id", "role"} {
		text, err := rs[i].ToString()
		if e, ok := rueidis.IsRedisErr(err); ok && reply.Denied(e) {
			return "unknown", nil
		}
		if err != nil {
			return "", err
		}
		words[i] = reply.Field(text, name)
	}
	return words[0] + " " + words[1], nil
}

// masters returns a client for each master, as they were last seen.
func (s *Store) masters() (out []rueidis.Client) {
	if s.target.Mode != redisurl.Cluster {
		return []rueidis.Client{s.c}
	}
	nodes := s.c.Nodes()
	for _, address := range s.Masters() {
		if c := nodes[address]; c != nil {
			out = append(out, c)
		}
	}
	return out
}

// Masters returns the addresses of all masters, as they were last seen.
func (s *Store) Masters() []string {
	s.topology.mu.Lock()
	defer s.topology.mu.Unlock()
	set := make(map[string]bool)
	for _, sp := range s.topology.spans {
		set[sp.node.address] = true
	}
	return slices.Sorted(maps.Keys(set))
}

// Address returns who serves a slot, as it was last seen; "" if nobody does.
func (s *Store) Address(slot uint16) string {
	s.topology.mu.Lock()
	defer s.topology.mu.Unlock()
	for _, sp := range s.topology.spans {
		if sp.first <= slot && slot <= sp.last {
			return sp.node.address
		}
	}
	return ""
}
