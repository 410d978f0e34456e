package redis

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

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

// start is how the client is made.
type start struct {
	connected atomic.Bool
	opening   atomic.Pointer[openContext] // of the attempt under way
	degraded  bool                        // Open found no server

	// Of whoever makes the client.
	notBefore time.Time // the next attempt
	lasting   string    // the problem that was found
}

type openContext struct{ context.Context }

// connectFirst makes the client, and learns what the server can do. lasts: an error stays until somebody does something.
func (s *Store) connectFirst(ctx context.Context) (lasts bool, err error) {
	s.opening.Store(&openContext{ctx})
	withoutTLS := s.askWithoutTLS(ctx)
	err = s.connectAndCheck(ctx)
	plain := withoutTLS()
	if err == nil {
		s.connected.Store(true)
		s.watching.Go(s.watch)
		return false, nil
	}
	todo, lasts := advice(s.target, err)
	switch {
	case plain && ctx.Err() != nil:
		err, todo, lasts = errNoTLS, errNoTLS.todo, true
	case ctx.Err() != nil:
		err, lasts = fmt.Errorf("no answer in time: %w", ctx.Err()), false
		if todo, _ = advice(s.target, err); s.target.TLS != nil {
			todo = "check the address, and that the server speaks TLS there"
		}
	}
	return lasts, fmt.Errorf("connect to Redis at %s: %w; %s", s.target, err, todo)
}

// askWithoutTLS asks the server whether it speaks without TLS, while a connection with it is being made and takes long. What it
// returns ends that, and reports whether it does.
func (s *Store) askWithoutTLS(ctx context.Context) (end func() bool) {
	if s.target.TLS == nil {
		return func() bool { return false }
	}
	ctx, cancel := context.WithCancel(ctx)
	plain := make(chan bool, 1)
	go func() {
		wait := time.NewTimer(plainAfter)
		defer wait.Stop()
		select {
		case <-wait.C:
			plain <- speaksPlain(ctx, s.target)
		case <-ctx.Done():
			plain <- false
		}
	}()
	return func() bool {
		cancel()
		return <-plain
	}
}

func (s *Store) connectAndCheck(ctx context.Context) error {
	c, err := rueidis.NewClient(s.option)
	if err != nil {
		return overheard(ctx, s.target, err)
	}
	s.c = c
	if err = s.check(ctx); err == nil {
		err = s.lookTwice(ctx)
	}
	if err != nil {
		c.Close()
	}
	return err
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
func (s *Store) revive(ctx context.Context, g *guard) error {
	if s.connected.Load() {
		return s.ask(ctx, g)
	}
	if time.Now().Before(s.notBefore) {
		return s.first.refusal.Load()
	}
	ctx, cancel := context.WithTimeout(s.ctx, requiredLimit) // a first connection takes more trips than a probe
	defer cancel()
	lasts, err := s.connectFirst(ctx)
	if s.problems.Forget(s.lasting); lasts {
		s.notBefore = time.Now().Add(lastingPause)
		s.lasting = err.Error()
		s.problems.Add("%s", s.lasting)
	}
	if err == nil {
		s.checkGlobs(ctx)
	}
	return err
}

// probe asks a master of a cluster, and has a look at who else may have its slots.
func (s *Store) probe(ctx context.Context, g *guard) error {
	err := s.ask(ctx, g)
	if err != nil {
		s.LookSoon()
	}
	return err
}

// ask asks a node whether it answers and takes writes.
func (s *Store) ask(ctx context.Context, g *guard) error {
	c, side := s.c, sidecar(probeKey)
	switch {
	case s.target.Mode != redisurl.Cluster:
	case g == s.first: // it stands before slots that nobody serves
		if err := s.look(ctx); err != nil || s.servers.Whole() {
			return err
		}
		return ErrNoSlot
	default:
		if c = s.c.Nodes()[g.address]; c == nil {
			return fmt.Errorf("the client knows no node at %s", g.address)
		}
		side = "~l:{" + topology.TagOf(g.slot) + "}:" + probeKey
	}
	return reply.Worst(c.DoMulti(ctx, c.B().Ping().Build(), c.B().Set().Key(side).Value("-").PxMilliseconds(1).Build()))
}
