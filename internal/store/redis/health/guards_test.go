package health

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/breaker"
	"github.com/nearside/nearside/internal/stall"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// servers are what the guards of a test stand before.
type servers struct {
	*Guards
	table      topology.Table
	goroutines sync.WaitGroup
	shut       context.CancelFunc

	mu    sync.Mutex
	away  map[string]bool
	asked map[string]int
	looks int
}

func guarded(t *testing.T, mode redisurl.Mode) *servers {
	s := &servers{away: make(map[string]bool), asked: make(map[string]int)}
	ctx, cancel := context.WithCancel(t.Context())
	s.shut = cancel
	ask := func(_ context.Context, address string, _ uint16) error {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.asked[address]++; s.away[address] {
			return errors.New("no answer")
		}
		return nil
	}
	s.Guards = New(Config{
		Target: redisurl.Target{Mode: mode, Addresses: []string{"seed:1"}}, Ctx: ctx, Goroutines: &s.goroutines, Logger: slog.New(slog.DiscardHandler),
		Clock: stall.New(), Servers: &s.table, Patience: func() time.Duration { return 25 * time.Millisecond },
		Look:       func() { s.mu.Lock(); s.looks++; s.mu.Unlock() },
		Ask:        ask,
		Revive:     func(ctx context.Context) error { return ask(ctx, "", 0) },
		AskTracked: func(uint16) func(context.Context) error { return nil },
	})
	t.Cleanup(s.close)
	return s
}

func (s *servers) close() {
	s.Shut(s.shut)
	s.goroutines.Wait()
	s.End()
}

func (s *servers) set(address string, away bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.away[address] = away
}

// fail has commands about a key fail until it is refused.
func (s *servers) fail(t *testing.T, key string) {
	t.Helper()
	for range breaker.Failures {
		g := s.For(key)
		began, err := g.Enter(t.Context(), Ordinary, Read)
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Millisecond) // what broke earlier does not count again
		g.Leave(Ordinary, began, errors.New("broken pipe"))
	}
	if err := s.Refuses(key); !errors.Is(err, store.ErrAway) {
		t.Fatalf("%s is not refused: %v", key, err)
	}
}

// A node that fails is not asked until its prober has an answer and what must come first is done.
func TestGuard(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := guarded(t, redisurl.Single)
		recovered := 0
		s.Recovered(func(ctx context.Context) int {
			recovered++
			g := s.For("a")
			if err := g.Admits(t.Context(), Read); !errors.Is(err, store.ErrAway) {
				t.Errorf("a read is let through: %v", err)
			}
			if err := g.Admits(ctx, Write); err != nil {
				t.Errorf("what is repeated is not: %v", err)
			}
			return 1
		})
		s.set("", true)
		s.fail(t, "a")
		time.Sleep(10 * time.Second)
		if err := s.For("a").Admits(t.Context(), Write); !errors.Is(err, store.ErrAway) {
			t.Errorf("got %v", err)
		}
		s.set("", false)
		time.Sleep(time.Second)
		synctest.Wait()
		if err := s.Refuses("a"); err != nil || recovered != 1 || s.looks == 0 {
			t.Errorf("%v, recovered %d times, %d looks", err, recovered, s.looks)
		}
		s.close()
	})
}

// Each master of a cluster has a guard of its own from the time when all of it is ready, and keeps it while it has slots.
func TestGuardsOfACluster(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := guarded(t, redisurl.Cluster)
		master := func(first, last uint16, address string) topology.Span {
			return topology.Span{First: first, Last: last, Node: topology.Node{Address: address, Identity: "id"}}
		}
		slot := topology.Slot("a")
		s.table.Replace([]topology.Span{master(0, slot, "one:1"), master(slot+1, topology.Slots-1, "two:1")})
		s.Stand(false)
		if s.For("a") != s.first {
			t.Error("a master has a guard before what must come first is done")
		}
		s.Stand(true)
		g := s.For("a")
		if g.where() != "one:1" || s.at(int(slot)+1).where() != "two:1" {
			t.Errorf("got %s and %s", g.where(), s.at(int(slot)+1).where())
		}
		s.set("one:1", true)
		s.fail(t, "a")
		if s.Away(int(slot)+1) != nil || s.Unavailable() == nil {
			t.Error("the other master is refused, or nothing is")
		}
		s.table.Replace([]topology.Span{master(0, slot, "one:1"), master(slot+1, topology.Slots-1, "three:1")})
		s.Stand(false)
		if s.For("a") != g || s.at(int(slot)+1).where() != "three:1" {
			t.Error("the wrong guard was replaced")
		}
		s.table.Replace([]topology.Span{master(slot, slot, "three:1")})
		s.Stand(false)
		if s.For("a").where() != "three:1" || s.at(0) != s.first || s.Refuses("a") != nil || len(s.Breakers()) != 1 {
			t.Error("the guard of a master without slots stands before some")
		}
		s.close()
	})
}

// A failure after the end of a store begins no prober.
func TestShut(t *testing.T) {
	s := guarded(t, redisurl.Single)
	s.close()
	g := s.For("a")
	for range 2 * breaker.Failures {
		g.Judge(g.Now(), errors.New("broken pipe"))
		time.Sleep(time.Millisecond)
	}
	if err := s.Refuses("a"); err != nil {
		t.Error(err)
	}
}
