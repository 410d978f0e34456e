package health

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/stall"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// Config is what the guards of a store need of it.
type Config struct {
	Target     redisurl.Target
	Ctx        context.Context // ends with the store
	Goroutines *sync.WaitGroup // of the store
	Logger     *slog.Logger
	Clock      *stall.Clock
	Servers    *topology.Table
	Patience   func() time.Duration // how long a command must have waited to count as one that the server failed
	Look       func()               // asks for a look at the topology, soon

	// Ask asks a node whether it answers and takes writes. Without an address that is the present master; in a cluster, whether
	// all slots have masters. Revive is Ask for the prober of the first guard, which makes the client if there is none.
	Ask    func(ctx context.Context, address string, slot uint16) error
	Revive func(ctx context.Context) error

	// AskTracked returns a command about a slot on the connection that tracks. It returns nil if there is none.
	AskTracked func(slot uint16) func(context.Context) error

	// MakeDirect makes MostDirect connections for single reads to the node at an address; without one, to the present master.
	// If nil, there are none.
	MakeDirect func(ctx context.Context, address string) error
}

// Guards stand before the nodes of a store, one before each.
type Guards struct {
	config    Config
	began     time.Time
	first     *Guard
	degraded  bool // no server was found at the beginning
	table     atomic.Pointer[table]
	standing  standing
	recovered atomic.Pointer[func(context.Context) int]
	gate      gate
}

// table says which guard stands before a key. It is never changed, but replaced.
type table struct {
	first *Guard                  // of all slots, if there is no table; in a cluster, of those without a master
	slots *[topology.Slots]*Guard // nil: first stands before all
}

// standing is which masters of a cluster have guards. Its lock is held while the topology is read, so that the later of two topologies
// wins. That has a lock of its own, and package topology, which does not know this one, cannot take them the other way round.
type standing struct {
	mu        sync.Mutex        // guards the rest
	byAddress map[string]*Guard // of the masters
	ready     bool              // the masters have theirs
	layout    []topology.Span   // that they were given theirs for
}

func (st *standing) at(address string) *Guard {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.byAddress[address]
}

// gate keeps the end of a store apart from failures, which begin probers: Close waits for these, so that none may begin after it.
type gate struct {
	mu     sync.RWMutex // guards closed
	closed bool
}

// pass calls f, unless the gate is closed.
func (g *gate) pass(f func()) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	if !g.closed {
		f()
	}
}

// New returns guards that let everything through: the first one stands before all nodes, until Stand.
func New(c Config) *Guards {
	s := &Guards{config: c, began: time.Now()}
	s.first = s.newGuard("", 0, func(ctx context.Context, _ string, _ uint16) error { return c.Revive(ctx) })
	s.table.Store(&table{first: s.first})
	return s
}

// Degrade has the first guard refuse everything from the beginning, since no server was found.
func (s *Guards) Degrade(cause error) {
	s.degraded = true
	s.first.refusal.Store(&unavailable{s.first.where(), time.Now(), cause})
	s.first.breaker.Trip(cause)
}

// Refusal is what callers of the first guard are told.
func (s *Guards) Refusal() error { return s.first.refusal.Load() }

// Shut calls cancel, which ends the probers. Failures begin none any more.
func (s *Guards) Shut(cancel context.CancelFunc) {
	s.gate.mu.Lock()
	defer s.gate.mu.Unlock()
	s.gate.closed = true
	cancel()
}

// End logs what is left to log, when all goroutines have ended.
func (s *Guards) End() {
	s.first.outages.end()
	for _, g := range s.standing.byAddress { // nothing stands guards any more
		g.outages.end()
	}
}

func (s *Guards) cluster() bool { return s.config.Target.Mode == redisurl.Cluster }

// probe asks a master of a cluster, and has a look at who else may have its slots.
func (s *Guards) probe(ctx context.Context, address string, slot uint16) error {
	err := s.config.Ask(ctx, address, slot)
	if err != nil {
		s.config.Look()
	}
	return err
}

// For returns the guard that stands before a key.
func (s *Guards) For(key string) *Guard {
	t := s.table.Load()
	if t.slots == nil {
		return t.first
	}
	return t.slots[topology.Slot(key)]
}

// Refuses returns why the node of a key is not asked, nil if it is.
func (s *Guards) Refuses(key string) error { return s.For(key).refuses() }

func (g *Guard) refuses() error {
	if g.breaker.Open() {
		return g.refusal.Load()
	}
	return nil
}

// Stand puts a guard before each master of a cluster, as the topology was last seen. Until it is called with ready, first
// stands before them all: what must come before reads is not done yet.
func (s *Guards) Stand(ready bool) {
	st := &s.standing
	st.mu.Lock()
	defer st.mu.Unlock()
	if !s.cluster() || !ready && !st.ready || s.config.Ctx.Err() != nil {
		return
	}
	ramped := s.degraded && !st.ready
	spans := s.config.Servers.Spans()
	same := func(a, b topology.Span) bool {
		return a.First == b.First && a.Last == b.Last && a.Node.Address == b.Node.Address
	}
	if st.ready && slices.EqualFunc(spans, st.layout, same) {
		return
	}
	st.ready, st.layout = true, spans
	t := &table{first: s.first, slots: new([topology.Slots]*Guard)}
	for i := range t.slots {
		t.slots[i] = s.first
	}
	old, now := st.byAddress, make(map[string]*Guard)
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
	st.byAddress = now
	s.table.Store(t)
	for address, g := range old {
		if now[address] == nil {
			g.retire()
		}
	}
}

// Settle gives back the places of callers who have left, at the nodes that have just answered: if all callers have too little
// time, nothing else does it.
func (s *Guards) Settle(spans []topology.Span) {
	t := s.table.Load()
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
func (g *Guard) settle() {
	g.places[Ordinary].settle()
	if g.places[Tracked].left.Load() == 0 {
		return
	}
	ask := g.of.config.AskTracked(g.slot)
	if ask == nil || !g.settles.CompareAndSwap(false, true) {
		return
	}
	g.of.config.Goroutines.Go(func() { // the caller is counted there too
		defer g.settles.Store(false)
		ctx, cancel := context.WithTimeout(g.of.config.Ctx, time.Second)
		defer cancel()
		if ask(ctx) == nil {
			g.places[Tracked].settle()
		}
	})
}

// retire ends the guard of a node that serves no slots any more. What waited for it goes to who has them now.
func (g *Guard) retire() {
	g.cancel()
	g.outages.end()
	if !g.breaker.Open() {
		return
	}
	g.of.config.Goroutines.Go(func() { // the caller is counted there too
		n := 0
		if f := g.of.recovered.Load(); f != nil {
			ctx, cancel := context.WithTimeout(g.of.config.Ctx, recoveryLimit)
			defer cancel()
			n = (*f)(ctx)
		}
		g.of.config.Logger.Info("redis: the slots of a node that was unavailable are served by others"+repeated(int64(n)), "address", g.address)
	})
}

// Send sends commands about keys by a client, each to the node of its key. Those of nodes that are away are refused; the others go on.
func (s *Guards) Send(ctx context.Context, c rueidis.Client, l Line, k Kind, cmds rueidis.Commands) []rueidis.RedisResult {
	t := s.table.Load()
	switch {
	case len(cmds) == 0:
		return nil
	case t.slots == nil:
		return t.first.Send(ctx, c, l, k, cmds)
	}
	by := make([]*Guard, len(cmds))
	several := false
	for i := range cmds {
		by[i] = t.slots[cmds[i].Slot()%topology.Slots]
		several = several || by[i] != by[0]
	}
	if !several {
		return by[0].Send(ctx, c, l, k, cmds)
	}
	return scatter(ctx, c, l, k, cmds, by)
}

// entered is what became of the commands of one node.
type entered struct {
	began Moment
	err   error // it refused them
	bad   error // an answer of a node that is away
}

// scatter sends commands to several nodes at once.
func scatter(ctx context.Context, c rueidis.Client, l Line, k Kind, cmds rueidis.Commands, by []*Guard) []rueidis.RedisResult {
	nodes := make(map[*Guard]*entered)
	sent, at := make(rueidis.Commands, 0, len(cmds)), make([]int, 0, len(cmds))
	out := make([]rueidis.RedisResult, len(cmds))
	for i, g := range by {
		n := nodes[g]
		if n == nil {
			n = new(entered)
			n.began, n.err = g.Enter(ctx, l, k)
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
			g.Leave(l, n.began, n.bad)
		}
	}
	return out
}

// Away says why the node of a slot, or any node for -1, is not asked at the moment. It returns nil if it is.
func (s *Guards) Away(slot int) error {
	return s.at(slot).refuses()
}

// Reachable is Away for commands that only the server can answer: it waits for a node that has been unavailable for less than a
// second. A server that is busy for that long is no error for a client that is connected to it directly.
func (s *Guards) Reachable(ctx context.Context, slot int) error {
	if g := s.at(slot); g.breaker.Open() && !g.returns(ctx, time.Second) {
		return g.refusal.Load()
	}
	return nil
}

func (s *Guards) at(slot int) *Guard {
	t := s.table.Load()
	if t.slots != nil && slot >= 0 {
		return t.slots[slot%topology.Slots]
	}
	return t.first
}

// Suspect asks the node at an address whether it answers, if no other call does, and returns why it is not asked any more; nil if
// it is. It is for commands that do not pass the guards: what they notice counts as the failures of reads do.
func (s *Guards) Suspect(ctx context.Context, address string) error {
	g := s.first
	if s.cluster() {
		g = s.standing.at(address)
	}
	if g == nil {
		return nil
	}
	if !g.breaker.Open() && g.suspected.CompareAndSwap(false, true) {
		ctx, cancel := context.WithTimeout(ctx, s.config.Patience())
		began := g.Now()
		g.Judge(began, s.config.Ask(ctx, g.address, g.slot))
		cancel()
		g.suspected.Store(false)
	}
	return g.refuses()
}

// Breakers returns the state of each node, as far as it is known.
func (s *Guards) Breakers() []store.Breaker {
	t := s.table.Load()
	if t.slots == nil {
		return []store.Breaker{{Node: t.first.where(), State: t.first.breaker.State()}}
	}
	s.standing.mu.Lock()
	defer s.standing.mu.Unlock()
	var out []store.Breaker
	for _, address := range slices.Sorted(maps.Keys(s.standing.byAddress)) {
		out = append(out, store.Breaker{Node: address, State: s.standing.byAddress[address].breaker.State()})
	}
	return out
}

// Unavailable returns the refusal of a node that is unavailable. It returns nil if all are asked.
func (s *Guards) Unavailable() error {
	if err := s.Away(-1); err != nil {
		return err
	}
	s.standing.mu.Lock()
	defer s.standing.mu.Unlock()
	for _, g := range s.standing.byAddress {
		if err := g.refuses(); err != nil {
			return err
		}
	}
	return nil
}

// Recovered has f called each time that a node answers again, before reads are sent there. While f runs its context lets
// writes through to that node; it ends after 5 s, and a node that has gone away by then stays so.
func (s *Guards) Recovered(f func(context.Context) (repeated int)) { s.recovered.Store(&f) }
