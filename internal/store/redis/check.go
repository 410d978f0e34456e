package redis

import (
	"context"
	"slices"
	"sync"

	"github.com/nearside/nearside/internal/store/redis/conn"
)

const probeKey = "nearside:check"

// probes all go to the node of the key: a batch about one slot may hold commands without a key.
func (s *Store) probes() []conn.Probe {
	b, side := s.c.B(), sidecar(probeKey)
	ps := []conn.Probe{
		{Name: "ping", Cmd: b.Ping().Build()},
		{Name: "get", Cmd: b.Get().Key(probeKey).Build()},
		{Name: "mget", Cmd: b.Mget().Key(probeKey).Build()},
		{Name: "pttl", Cmd: b.Pttl().Key(probeKey).Build()},
		{Name: "type", Cmd: b.Type().Key(probeKey).Build()},
		{Name: "set", Cmd: b.Set().Key(side).Value("-").PxMilliseconds(1).Build()},
		{Name: "del", Cmd: b.Del().Key(side).Build()},
		{Name: "unlink", Cmd: b.Unlink().Key(side).Build()},
		{Name: "evalsha", Cmd: b.Evalsha().Sha1(releaseScript.SHA).Numkeys(1).Key(side).Arg("-").Build()},
		{Name: "eval", Cmd: b.Eval().Script(releaseScript.Src).Numkeys(1).Key(side).Arg("-").Build()},
		{Name: "info", Cmd: b.Info().Section("server").Build(), Loss: "a failover is not noticed, and the invalidations that it lost are not repeated; nor is a data set that is older than it was"},
		{Name: "dbsize", Cmd: b.Dbsize().Build(), Loss: "statistics have no number of keys"},
		{Name: "scan", Cmd: b.Scan().Cursor(0).Count(1).Build(), Loss: "caches of which more invalidations failed than are kept are not served from until their values have expired"},
		{Name: "client|tracking", Cmd: b.ClientTracking().Off().Build(), Loss: "there is no near tier"},
	}
	if s.replicas > 0 {
		ps = append(ps, conn.Probe{Name: "wait", Cmd: b.Wait().Numreplicas(0).Timeout(1).Build()})
	}
	return ps
}

// globs are those that CheckKeys was asked about.
type globs struct {
	mu   sync.Mutex // guards list
	list []string
}

func (g *globs) add(glob string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !slices.Contains(g.list, glob) {
		g.list = append(g.list, glob)
	}
}

func (g *globs) all() []string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return slices.Clone(g.list)
}

// CheckKeys learns whether keys that match a glob, such as user:*, and what stands beside them may be read and written. What may
// not is a problem.
func (s *Store) CheckKeys(ctx context.Context, glob string) {
	s.globs.add(glob)
	if s.unusable() == nil {
		s.checkGlob(ctx, glob)
	}
}

// checkGlobs does what CheckKeys could not do while there was no connection.
func (s *Store) checkGlobs(ctx context.Context) {
	for _, glob := range s.globs.all() {
		s.checkGlob(ctx, glob)
	}
}

func (s *Store) checkGlob(ctx context.Context, glob string) {
	conn.CheckKeys(ctx, s.c, s.target, s.problems, glob, besides(glob), family(glob))
}

// Problems returns what the server cannot do, each with what is lost and how it is mended.
func (s *Store) Problems() []string { return s.problems.All() }

// Note adds a problem, logs it once, and forgets the one that was noted with this loss before. An empty problem only forgets.
func (s *Store) Note(loss, problem string) { s.problems.Note(loss, problem) }
