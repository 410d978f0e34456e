package redis

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// send sends commands about keys, each to the node of its key. Those of nodes that are unavailable are refused; the others go on.
func (s *Store) send(ctx context.Context, k health.Kind, cmds rueidis.Commands) []rueidis.RedisResult {
	return s.guards.Send(ctx, s.c, health.Ordinary, k, cmds)
}

// one sends a command about one key, as send does.
func (s *Store) one(ctx context.Context, k health.Kind, key string, cmd func() rueidis.Completed) rueidis.RedisResult {
	g := s.guards.For(key)
	began, err := g.Enter(ctx, health.Ordinary, k)
	if err != nil {
		return rueidis.NewErrorResult(err)
	}
	r := s.c.Do(ctx, cmd())
	g.Leave(health.Ordinary, began, r.Error())
	return r
}

// Local implements store.Store.
func (s *Store) Local() bool { return false }

// Refuses implements store.Store.
func (s *Store) Refuses(key string) error {
	if err := s.unusable(); err != nil {
		return err
	}
	return s.guards.Refuses(key)
}

// Away says why the node of a slot, or any node for -1, is not asked at the moment. It returns nil if it is.
func (s *Store) Away(slot int) error { return s.guards.Away(slot) }

// Reachable is Away for commands that only the server can answer: it waits for a node that has been unavailable for less than a
// second. A server that is busy for that long is no error for a client that is connected to it directly.
func (s *Store) Reachable(ctx context.Context, slot int) error { return s.guards.Reachable(ctx, slot) }

// Suspect asks the node at an address whether it answers, if no other call does, and returns why it is not asked any more; nil if
// it is. It is for commands that do not pass the guards: what they notice counts as the failures of reads do.
func (s *Store) Suspect(ctx context.Context, address string) error {
	return s.guards.Suspect(ctx, address)
}

// Breakers returns the state of each node, as far as it is known.
func (s *Store) Breakers() []store.Breaker { return s.guards.Breakers() }

// Recovered has f called each time that a node answers again, before reads are sent there. While f runs its context lets
// writes through to that node; it ends after 5 s, and a node that has gone away by then stays so.
func (s *Store) Recovered(f func(context.Context) (repeated int)) { s.guards.Recovered(f) }

// Budget implements store.Paced.
func (s *Store) Budget() time.Duration { return s.distance.Budget() }

// Ran implements store.Paced.
func (s *Store) Ran() time.Duration { return s.clock.Now() }

// Gone reports whether the error of a verb means that the server is unavailable.
func Gone(err error) bool {
	var said *rueidis.RedisError
	if errors.As(err, &said) {
		return reply.Unavailable(said)
	}
	for _, other := range []error{errMoved, conn.ErrDenied, store.ErrKey, context.Canceled} {
		if errors.Is(err, other) {
			return false
		}
	}
	return err != nil
}
