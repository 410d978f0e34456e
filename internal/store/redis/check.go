package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// probe is a command that Open tries, on a key that nobody has, to learn whether the server lets us.
type probe struct {
	name string // as ACL SETUSER takes it
	cmd  rueidis.Completed
	loss string // what is missing without it; "": everything, so Open fails
}

// ErrDenied is wrapped by the errors of what the user may not run, where nothing goes without it.
var ErrDenied = errors.New("may not run")

const probeKey = "nearside:check"

// probes all go to the node of the key: a batch about one slot may hold commands without a key.
func (s *Store) probes() []probe {
	b, side := s.c.B(), sidecar(probeKey)
	ps := []probe{
		{"ping", b.Ping().Build(), ""},
		{"get", b.Get().Key(probeKey).Build(), ""},
		{"mget", b.Mget().Key(probeKey).Build(), ""},
		{"pttl", b.Pttl().Key(probeKey).Build(), ""},
		{"type", b.Type().Key(probeKey).Build(), ""},
		{"set", b.Set().Key(side).Value("-").PxMilliseconds(1).Build(), ""},
		{"del", b.Del().Key(side).Build(), ""},
		{"unlink", b.Unlink().Key(side).Build(), ""},
		{"evalsha", b.Evalsha().Sha1(releaseScript.SHA).Numkeys(1).Key(side).Arg("-").Build(), ""},
		{"eval", b.Eval().Script(releaseScript.Src).Numkeys(1).Key(side).Arg("-").Build(), ""},
		{"info", b.Info().Section("server").Build(), "a failover is not noticed, and the invalidations that it lost are not repeated; nor is a data set that is older than it was"},
		{"dbsize", b.Dbsize().Build(), "statistics have no number of keys"},
		{"scan", b.Scan().Cursor(0).Count(1).Build(), "caches of which more invalidations failed than are kept are not served from until their values have expired"},
		{"client|tracking", b.ClientTracking().Off().Build(), "there is no near tier"},
	}
	if s.replicas > 0 {
		ps = append(ps, probe{"wait", b.Wait().Numreplicas(0).Timeout(1).Build(), ""})
	}
	return ps
}

// check learns what the server can do. What the protocol cannot do without is an error; the rest is a problem.
func (s *Store) check(ctx context.Context) error {
	if err := s.checkServer(ctx); err != nil {
		return err
	}
	if err := s.checkMode(ctx); err != nil {
		return err
	}
	ps := s.probes()
	cmds := make(rueidis.Commands, len(ps))
	for i, p := range ps {
		cmds[i] = p.cmd
	}
	var needed, wanted, losses []string
	for i, r := range s.c.DoMulti(ctx, cmds...) {
		err := r.Error()
		e, answered := rueidis.IsRedisErr(err)
		switch {
		case err == nil, rueidis.IsRedisNil(err), answered && (e.IsNoScript() || reply.DeniedKey(e) || reply.DeniedInside(e)):
		case !answered:
			return err
		case reply.Denied(e) && ps[i].loss == "":
			needed = append(needed, "+"+ps[i].name)
		case reply.Denied(e):
			wanted = append(wanted, "+"+ps[i].name)
			losses = append(losses, ps[i].loss)
		case reply.UnknownCommand(e) && ps[i].loss == "":
			return remedy{fmt.Errorf("the server has no %s", strings.ToUpper(ps[i].name)), "use Redis 6.2 or Valkey, or later ones, with this command enabled: the protocol needs it"}
		case reply.UnknownCommand(e):
			s.problems.Add("the server has no %s: %s", strings.ToUpper(ps[i].name), ps[i].loss)
		case strings.HasPrefix(e.Error(), "READONLY"):
			if s.target.Mode == redisurl.Sentinels {
				return err // a failover is under way
			}
			return remedy{errors.New("the server is a read-only replica"), "connect to its master, or by redis-sentinel:// to whoever is the master"}
		case reply.Full(e):
			s.problems.Add("the server refuses writes (%s): values are loaded and not stored", e.Error())
		default:
			return err
		}
	}
	if len(needed) > 0 {
		return remedy{fmt.Errorf("the user %s %w %s", s.target.UserName(), ErrDenied, named(needed)), "grant it: " + s.target.Grant(needed...)}
	}
	if len(wanted) > 0 {
		s.problems.Add("the user %s may not run %s: %s; grant it: %s", s.target.UserName(), named(wanted), strings.Join(losses, "; "), s.target.Grant(wanted...))
	}
	return nil
}

// checkMode compares what the URL says with what the server is.
func (s *Store) checkMode(ctx context.Context) error {
	info, err := s.c.DoMulti(ctx, s.c.B().Info().Section("cluster").Build())[0].ToString()
	if _, answered := rueidis.IsRedisErr(err); err != nil && !answered {
		return err
	}
	switch enabled := reply.Field(info, "cluster_enabled"); {
	case enabled == "1" && s.target.Mode != redisurl.Cluster:
		return remedy{errors.New("the server is a node of a cluster"), "add ?cluster=true to the URL"}
	case s.target.Mode == redisurl.Cluster && (enabled == "0" || s.c.Mode() != rueidis.ClientModeCluster):
		return errors.New("the server has cluster support disabled")
	case s.target.Mode != redisurl.Cluster:
		return nil
	}
	state, err := s.c.DoMulti(ctx, s.c.B().ClusterInfo().Build())[0].ToString()
	if e, answered := rueidis.IsRedisErr(err); answered && reply.Denied(e) {
		return nil
	}
	if err != nil {
		return err
	}
	if n := reply.Number(state, "cluster_slots_assigned"); n < topology.Slots {
		return fmt.Errorf("CLUSTERDOWN: %d of %d slots are served by no node", topology.Slots-n, topology.Slots)
	}
	if n := reply.Number(state, "cluster_slots_fail") + reply.Number(state, "cluster_slots_pfail"); n > 0 {
		return fmt.Errorf("CLUSTERDOWN: the masters of %d slots do not answer", n)
	}
	return nil
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
	names := family(glob)
	cmds := make(rueidis.Commands, 0, 2*len(names))
	for _, name := range names {
		cmds = append(cmds, s.c.B().Get().Key(name).Build(), s.c.B().Unlink().Key(name).Build())
	}
	var missing []string
	for i, r := range s.c.DoMulti(ctx, cmds...) {
		e, ok := rueidis.IsRedisErr(r.Error())
		switch {
		case !ok || !reply.DeniedKey(e):
		case i < 2:
			missing = append(missing, "~"+glob)
		default:
			missing = append(missing, "~"+besides(glob))
		}
	}
	if missing = slices.Compact(missing); len(missing) > 0 {
		s.problems.Add("the user %s may not read and write the keys %s: they are loaded and not stored, and their invalidations fail; grant it: %s",
			s.target.UserName(), strings.TrimPrefix(strings.ReplaceAll(" "+strings.Join(missing, " "), " ~", " "), " "), s.target.Grant(missing...))
	}
}

func named(rules []string) string {
	names := make([]string, len(rules))
	for i, r := range rules {
		names[i] = strings.ReplaceAll(strings.TrimPrefix(r, "+"), "|", " ")
	}
	return strings.Join(names, ", ")
}

// Problems returns what the server cannot do, each with what is lost and how it is mended.
func (s *Store) Problems() []string { return s.problems.All() }

// Note notes a problem, and says it once, instead of the one that was noted with this loss before; empty: there is none any more.
func (s *Store) Note(loss, problem string) { s.problems.Note(loss, problem) }
