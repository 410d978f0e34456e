package conn

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// Probe is a command that Check tries, on a key that does not exist, to learn whether the server allows it.
type Probe struct {
	Name string // as ACL SETUSER takes it
	Cmd  rueidis.Completed
	Loss string // what is missing without it; "": everything, so Check fails
}

// ErrDenied is wrapped by the errors of what the user may not run, where nothing goes without it.
var ErrDenied = errors.New("may not run")

// Check learns what the server can do. What the protocol cannot do without is an error; the rest is a problem. The probes all go to
// the node of their key.
func Check(ctx context.Context, c rueidis.Client, t redisurl.Target, problems *Problems, ps []Probe) error {
	if err := checkServer(ctx, c); err != nil {
		return err
	}
	if err := checkMode(ctx, c, t); err != nil {
		return err
	}
	cmds := make(rueidis.Commands, len(ps))
	for i, p := range ps {
		cmds[i] = p.Cmd
	}
	var needed, wanted, losses []string
	for i, r := range c.DoMulti(ctx, cmds...) {
		err := r.Error()
		switch {
		case err == nil, rueidis.IsRedisNil(err), reply.Forgotten(r), reply.DeniedKey(err), reply.DeniedInside(err):
		case !reply.Answered(err):
			return err
		case reply.Denied(err) && ps[i].Loss == "":
			needed = append(needed, "+"+ps[i].Name)
		case reply.Denied(err):
			wanted = append(wanted, "+"+ps[i].Name)
			losses = append(losses, ps[i].Loss)
		case reply.UnknownCommand(err) && ps[i].Loss == "":
			return remedy{fmt.Errorf("the server has no %s", strings.ToUpper(ps[i].Name)), "use Redis 6.2 or Valkey, or later ones, with this command enabled: the protocol needs it"}
		case reply.UnknownCommand(err):
			problems.Add("the server has no %s: %s", strings.ToUpper(ps[i].Name), ps[i].Loss)
		case reply.ReadOnly(err):
			if t.Mode == redisurl.Sentinels {
				return err // a failover is under way
			}
			return remedy{errors.New("the server is a read-only replica"), "connect to its master, or by redis-sentinel:// to whoever is the master"}
		case reply.Full(err):
			problems.Add("the server refuses writes (%s): values are loaded and not stored", err.Error())
		default:
			return err
		}
	}
	if len(needed) > 0 {
		return remedy{fmt.Errorf("the user %s %w %s", t.UserName(), ErrDenied, named(needed)), "grant it: " + t.Grant(needed...)}
	}
	if len(wanted) > 0 {
		problems.Add("the user %s may not run %s: %s; grant it: %s", t.UserName(), named(wanted), strings.Join(losses, "; "), t.Grant(wanted...))
	}
	return nil
}

// checkMode compares what the URL says with what the server is.
func checkMode(ctx context.Context, c rueidis.Client, t redisurl.Target) error {
	info, err := c.DoMulti(ctx, c.B().Info().Section("cluster").Build())[0].ToString()
	if err != nil && !reply.Answered(err) {
		return err
	}
	switch enabled := reply.Field(info, "cluster_enabled"); {
	case enabled == "1" && t.Mode != redisurl.Cluster:
		return remedy{errors.New("the server is a node of a cluster"), "add ?cluster=true to the URL"}
	case t.Mode == redisurl.Cluster && (enabled == "0" || c.Mode() != rueidis.ClientModeCluster):
		return errors.New("the server has cluster support disabled")
	case t.Mode != redisurl.Cluster:
		return nil
	}
	state, err := c.DoMulti(ctx, c.B().ClusterInfo().Build())[0].ToString()
	if reply.Denied(err) {
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

// checkServer refuses what answers as a Redis does and cannot be one for a cache.
func checkServer(ctx context.Context, c rueidis.Client) error {
	info, err := c.DoMulti(ctx, c.B().Info().Section("server").Build())[0].ToString()
	if err != nil && !reply.Answered(err) {
		return err
	}
	if version := reply.Field(info, "nearside_version"); version != "" {
		return remedy{fmt.Errorf("%w (version %.40q)", errServe, version), errServe.todo}
	}
	return nil
}

// CheckKeys learns whether keys that match a glob, and what stands beside them, may be read and written. What may not is a problem.
// names are a key of the first kind and then those of the second, beside is the pattern of the second.
func CheckKeys(ctx context.Context, c rueidis.Client, t redisurl.Target, problems *Problems, glob, beside string, names []string) {
	cmds := make(rueidis.Commands, 0, 2*len(names))
	for _, name := range names {
		cmds = append(cmds, c.B().Get().Key(name).Build(), c.B().Unlink().Key(name).Build())
	}
	var missing []string
	for i, r := range c.DoMulti(ctx, cmds...) {
		switch {
		case !reply.DeniedKey(r.Error()):
		case i < 2:
			missing = append(missing, "~"+glob)
		default:
			missing = append(missing, "~"+beside)
		}
	}
	if missing = slices.Compact(missing); len(missing) > 0 {
		problems.Add("the user %s may not read and write the keys %s: they are loaded and not stored, and their invalidations fail; grant it: %s",
			t.UserName(), strings.TrimPrefix(strings.ReplaceAll(" "+strings.Join(missing, " "), " ~", " "), " "), t.Grant(missing...))
	}
}

func named(rules []string) string {
	names := make([]string, len(rules))
	for i, r := range rules {
		names[i] = strings.ReplaceAll(strings.TrimPrefix(r, "+"), "|", " ")
	}
	return strings.Join(names, ", ")
}
