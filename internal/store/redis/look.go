package redis

import (
	"context"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// lookEvery is how often the topology is looked at. A connection that is made anew brings a look at once.
const lookEvery = time.Second

// looker is what looks at the topology share.
type looker struct {
	mu   sync.Mutex    // held by a look, before any other lock
	poke chan struct{} // asks for a look at once
}

// watch looks at the topology until Close, and repeats recent invalidations where it has changed.
func (s *Store) watch() {
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-tick.C:
		case <-s.looker.poke:
		}
		ctx, cancel := context.WithTimeout(s.ctx, time.Second)
		_ = s.look(ctx) // the next one may succeed
		cancel()
	}
}

// LookSoon asks for a look at the topology.
func (s *Store) LookSoon() {
	select {
	case s.looker.poke <- struct{}{}:
	default:
	}
}

// look learns who serves which slots. If others do than before, what was invalidated shortly before is invalidated again.
func (s *Store) look(ctx context.Context) error {
	s.looker.mu.Lock() // one after the other: what was read first is judged first
	defer s.looker.mu.Unlock()
	began, seen := time.Now(), s.history.Begin()
	now, err := s.spans(ctx)
	if err != nil {
		return err
	}
	s.history.Judge(began, now, s.history.Read(ctx, s.c.Nodes(), now)) // before guards let reads through to other masters
	before := s.servers.Replace(now)
	s.distance.Pace(s.Masters())
	s.guards.Stand(false)
	s.history.Trust(seen, now)
	s.guards.Settle(now)
	if before != nil {
		if moved := topology.Changes(before, now); len(moved) > 0 {
			if t := s.tracks.Load(); t != nil {
				t.lost() // a node that has given slots away may tell of their keys late, or not at all
			}
			s.repeats.Repeat(moved)
		}
	}
	if topology.Complete(now) {
		s.repeats.Prune(began)
	}
	return nil
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

// spans asks who serves which slots, and measures the round trips.
func (s *Store) spans(ctx context.Context) ([]topology.Span, error) {
	return topology.Ask(ctx, s.c, s.target.Mode == redisurl.Cluster, s.distance.Timed)
}

// Masters returns the addresses of all masters, as they were last seen.
func (s *Store) Masters() []string { return s.servers.Masters() }

// Address returns who serves a slot, as it was last seen; "" if nobody does.
func (s *Store) Address(slot uint16) string { return s.servers.Address(slot) }

// Keep implements store.Historic.
func (s *Store) Keep(k store.Keeper) { s.history.Keep(k) }

// Register implements store.Historic.
func (s *Store) Register(glob string) { s.history.Register(glob) }

// Emptied implements store.Historic.
func (s *Store) Emptied(glob string, number uint64) { s.history.Emptied(glob, number) }
