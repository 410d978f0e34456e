package redis

import (
	"context"
	"fmt"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/conn"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// The client cannot be made while no server answers. So the first guard begins open where Open finds none, and its prober
// makes the client: until then nobody else touches it.

const (
	startLimit    = time.Second      // of Open, if Redis may be away
	requiredLimit = 5 * time.Second  // of Open, if it must not, and of later attempts
	lastingPause  = 30 * time.Second // between attempts, if what was found stays until somebody does something about it
)

// revival is what the prober of the first guard knows of its attempts to make the client.
type revival struct {
	notBefore time.Time // the next attempt
	lasting   string    // the problem that was found
}

// connect makes the client.
func (s *Store) connect(ctx context.Context) (lasts bool, err error) {
	lasts, err = s.dialer.Connect(ctx, s.option, func(ctx context.Context, c rueidis.Client) error {
		s.c = c
		if err := conn.Check(ctx, c, s.target, s.problems, s.probes()); err != nil {
			return err
		}
		return s.lookTwice(ctx)
	})
	if err == nil {
		s.goroutines.Go(s.watch)
	}
	return lasts, err
}

// lookTwice looks until all connections are trusted: the first look may have made some of them.
func (s *Store) lookTwice(ctx context.Context) (err error) {
	for range 2 {
		if err = s.look(ctx); err != nil || s.history.Settled() {
			break
		}
	}
	return err
}

// revive is the probe of the first guard.
func (s *Store) revive(ctx context.Context) error {
	if s.dialer.Connected() {
		return s.ask(ctx, "", 0)
	}
	if time.Now().Before(s.revival.notBefore) {
		return s.guards.Refusal()
	}
	ctx, cancel := context.WithTimeout(s.ctx, requiredLimit) // a first connection takes more trips than a probe
	defer cancel()
	lasts, err := s.connect(ctx)
	if s.problems.Forget(s.revival.lasting); lasts {
		s.revival.notBefore = time.Now().Add(lastingPause)
		s.revival.lasting = err.Error()
		s.problems.Add("%s", s.revival.lasting)
	}
	if err == nil {
		s.checkGlobs(ctx)
	}
	return err
}

// ask asks a node whether it answers and takes writes.
func (s *Store) ask(ctx context.Context, address string, slot uint16) error {
	c, side := s.c, sidecar(probeKey)
	switch {
	case s.target.Mode != redisurl.Cluster:
	case address == "": // it stands before slots that nobody serves
		if err := s.look(ctx); err != nil || s.servers.Whole() {
			return err
		}
		return conn.ErrNoSlot
	default:
		if c = s.c.Nodes()[address]; c == nil {
			return fmt.Errorf("the client knows no node at %s", address)
		}
		side = "~l:{" + topology.TagOf(slot) + "}:" + probeKey
	}
	return reply.Worst(c.DoMulti(ctx, c.B().Ping().Build(), c.B().Set().Key(side).Value("-").PxMilliseconds(1).Build()))
}
