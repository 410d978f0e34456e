package redis

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// guards says which guard stands before a key. It is never changed, but replaced.
type guards struct {
	first *guard                  // of all slots, if there is no table; in a cluster, of those without a master
	slots *[topology.Slots]*guard // nil: first stands before all
}

func (s *Store) guard(key string) *guard {
	t := s.guards.Load()
	if t.slots == nil {
		return t.first
	}
	return t.slots[topology.Slot(key)]
}

// stand puts a guard before each master of a cluster, as the topology was last seen. Until it is called with ready, first
// stands before them all: what must come before reads is not done yet.
func (s *Store) stand(ready bool) {
	s.standing.Lock()
	defer s.standing.Unlock()
	if s.target.Mode != redisurl.Cluster || !ready && !s.stood || s.ctx.Err() != nil {
		return
	}
	ramped := s.degraded && !s.stood
	spans := s.servers.Spans()
	same := func(a, b topology.Span) bool {
		return a.First == b.First && a.Last == b.Last && a.Node.Address == b.Node.Address
	}
	if s.stood && slices.EqualFunc(spans, s.layout, same) {
		return
	}
	s.stood, s.layout = true, spans
	t := &guards{first: s.first, slots: new([topology.Slots]*guard)}
	for i := range t.slots {
		t.slots[i] = s.first
	}
	old, now := s.byAddress, make(map[string]*guard)
	for _, sp := range spans {
		g := now[sp.Node.Address]
		if g == nil {
			if g = old[sp.Node.Address]; g == nil {
				if g = s.newGuard(sp.Node.Address, sp.First, s.probe); ramped {
					g.breaker.Ramp()
				}
			}
			now[sp.Node.Address] = g
		}
		for slot := int(sp.First); slot <= int(sp.Last); slot++ {
			t.slots[slot] = g
		}
	}
	s.byAddress = now
	s.guards.Store(t)
	for address, g := range old {
		if now[address] == nil {
			g.retire()
		}
	}
}

// settle gives back the places of those who have left, at the nodes that have just answered: if all callers have too little
// time, nobody else does it.
func (s *Store) settle(spans []topology.Span) {
	t := s.guards.Load()
	for _, sp := range spans {
		switch {
		case sp.Node.Identity == "":
		case t.slots == nil:
			t.first.settle()
		default:
			t.slots[sp.First].settle()
		}
	}
}

// settle gives back the places of those who have left, at a node that has just answered on the ordinary connection. Of the one that
// tracks it asks by a command of its own: if all places there are of those who have left, no other one gets through.
func (g *guard) settle() {
	g.places.settle()
	t := g.store.tracks.Load()
	if t == nil || g.tracked.left.Load() == 0 || !g.settles.CompareAndSwap(false, true) {
		return
	}
	g.store.watching.Go(func() { // the caller is counted there too
		defer g.settles.Store(false)
		ctx, cancel := context.WithTimeout(g.store.ctx, time.Second)
		defer cancel()
		name := probeKey
		if g.store.target.Mode == redisurl.Cluster {
			name = "{" + topology.TagOf(g.slot) + "}:" + probeKey
		}
		if err := t.c.Do(ctx, t.c.B().Pttl().Key(name).Build()).Error(); err == nil {
			g.tracked.settle()
		}
	})
}

// retire ends the guard of a node that serves no slots any more. What waited for it goes to who has them now.
func (g *guard) retire() {
	g.cancel()
	g.outages.end()
	if !g.breaker.Open() {
		return
	}
	g.store.watching.Go(func() { // the caller is counted there too
		n := 0
		if f := g.store.recovered.Load(); f != nil {
			ctx, cancel := context.WithTimeout(g.store.ctx, recoveryLimit)
			defer cancel()
			n = (*f)(ctx)
		}
		g.store.logger.Info("redis: the slots of a node that was unavailable are served by others"+repeated(int64(n)), "address", g.address)
	})
}

// send sends commands about keys, each to the node of its key. Those of nodes that are away are refused; the others go on.
func (s *Store) send(ctx context.Context, k kind, cmds rueidis.Commands) []rueidis.RedisResult {
	t := s.guards.Load()
	switch {
	case len(cmds) == 0:
		return nil
	case t.slots == nil:
		return t.first.send(ctx, k, cmds)
	}
	by := make([]*guard, len(cmds))
	several := false
	for i := range cmds {
		by[i] = t.slots[cmds[i].Slot()%topology.Slots]
		several = several || by[i] != by[0]
	}
	if !several {
		return by[0].send(ctx, k, cmds)
	}
	return s.scatter(ctx, k, cmds, by)
}

// entered is what became of the commands of one node.
type entered struct {
	began moment
	err   error // it refused them
	bad   error // an answer of a node that is away
}

// scatter sends commands to several nodes at once.
func (s *Store) scatter(ctx context.Context, k kind, cmds rueidis.Commands, by []*guard) []rueidis.RedisResult {
	return scatter(ctx, s.c, func(g *guard) *places { return &g.places }, k, cmds, by)
}

// scatter sends commands by a client to the nodes of guards, and takes the places of that client there.
func scatter(ctx context.Context, c rueidis.Client, of func(*guard) *places, k kind, cmds rueidis.Commands, by []*guard) []rueidis.RedisResult {
	nodes := make(map[*guard]*entered)
	sent, at := make(rueidis.Commands, 0, len(cmds)), make([]int, 0, len(cmds))
	out := make([]rueidis.RedisResult, len(cmds))
	for i, g := range by {
		n := nodes[g]
		if n == nil {
			n = new(entered)
			n.began, n.err = g.enterBy(ctx, of(g), k)
			nodes[g] = n
		}
		if n.err != nil {
			out[i] = rueidis.NewErrorResult(n.err)
			continue
		}
		sent, at = append(sent, cmds[i]), append(at, i)
	}
	if len(sent) > 0 {
		for n, r := range c.DoMulti(ctx, sent...) {
			i := at[n]
			out[i] = r
			if err := r.Error(); reply.Unavailable(err) && nodes[by[i]].bad == nil {
				nodes[by[i]].bad = err
			}
		}
	}
	for g, n := range nodes {
		if n.err == nil {
			g.leaveBy(of(g), n.began, n.bad)
		}
	}
	return out
}

// one sends a command about one key, as send does.
func (s *Store) one(ctx context.Context, k kind, key string, cmd func() rueidis.Completed) rueidis.RedisResult {
	g := s.guard(key)
	began, err := g.enter(ctx, k)
	if err != nil {
		return rueidis.NewErrorResult(err)
	}
	r := s.c.Do(ctx, cmd())
	g.leave(began, r.Error())
	return r
}

// Local implements store.Store.
func (s *Store) Local() bool { return false }

// Refuses implements store.Store.
func (s *Store) Refuses(key string) error {
	if err := s.unusable(); err != nil {
		return err
	}
	if g := s.guard(key); g.breaker.Open() {
		return g.refusal.Load()
	}
	return nil
}

// Away says why the node of a slot, or any node for -1, is not asked at the moment. It returns nil if it is.
func (s *Store) Away(slot int) error {
	if g := s.guardOf(slot); g.breaker.Open() {
		return g.refusal.Load()
	}
	return nil
}

// Reachable is Away for commands that only the server can answer: it waits for a node that has been unavailable for less than a
// second. A server that is busy for that long is no error for a client that is connected to it directly.
func (s *Store) Reachable(ctx context.Context, slot int) error {
	if g := s.guardOf(slot); g.breaker.Open() && !g.returns(ctx, time.Second) {
		return g.refusal.Load()
	}
	return nil
}

func (s *Store) guardOf(slot int) *guard {
	t := s.guards.Load()
	if t.slots != nil && slot >= 0 {
		return t.slots[slot%topology.Slots]
	}
	return t.first
}

// Suspect asks the node at an address whether it answers, if no other call does, and returns why it is not asked any more; nil if
// it is. It is for commands that do not pass the guards: what they notice counts as the failures of reads do.
func (s *Store) Suspect(ctx context.Context, address string) error {
	g := s.guards.Load().first
	if s.target.Mode == redisurl.Cluster {
		s.standing.Lock()
		g = s.byAddress[address]
		s.standing.Unlock()
	}
	if g == nil {
		return nil
	}
	if !g.breaker.Open() && g.suspected.CompareAndSwap(false, true) {
		ctx, cancel := context.WithTimeout(ctx, s.patience())
		began := s.now()
		g.judge(began, s.ask(ctx, g))
		cancel()
		g.suspected.Store(false)
	}
	if g.breaker.Open() {
		return g.refusal.Load()
	}
	return nil
}

// Breakers returns the state of each node, as far as it is known.
func (s *Store) Breakers() []store.Breaker {
	t := s.guards.Load()
	if t.slots == nil {
		return []store.Breaker{{Node: t.first.where(), State: t.first.breaker.State()}}
	}
	s.standing.Lock()
	defer s.standing.Unlock()
	var out []store.Breaker
	for _, address := range slices.Sorted(maps.Keys(s.byAddress)) {
		out = append(out, store.Breaker{Node: address, State: s.byAddress[address].breaker.State()})
	}
	return out
}

// anyAway returns the refusal of a node that is away.
func (s *Store) anyAway() error {
	if err := s.Away(-1); err != nil {
		return err
	}
	s.standing.Lock()
	defer s.standing.Unlock()
	for _, g := range s.byAddress {
		if g.breaker.Open() {
			return g.refusal.Load()
		}
	}
	return nil
}
