package redis

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// Run sends commands, in one trip to each node. They are what the layer can do without: a node that is away is not waited
// for, and one that is just back is asked little by little.
func (s *Store) Run(ctx context.Context, cmds []store.Command) []store.Reply {
	out := make([]store.Reply, len(cmds))
	if err := s.unusable(); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	built := make(rueidis.Commands, len(cmds))
	for i, c := range cmds {
		built[i] = s.build(c, false)
	}
	rs := s.send(ctx, health.Read, built)
	var again rueidis.Commands
	var at []int
	for i, r := range rs {
		if cmds[i].Script != nil && reply.Forgotten(r) {
			again, at = append(again, s.build(cmds[i], true)), append(at, i)
		}
	}
	for n, r := range s.send(ctx, health.Read, again) {
		rs[at[n]] = r
	}
	for i, r := range rs {
		out[i] = replyTo(cmds[i], r)
	}
	return out
}

func (s *Store) build(c store.Command, text bool) rueidis.Completed {
	if c.Script == nil {
		return s.c.B().Arbitrary(c.Name).Keys(c.Keys...).Args(c.Args...).Build()
	}
	n := int64(len(c.Keys))
	if text {
		return s.c.B().Eval().Script(c.Script.Text).Numkeys(n).Key(c.Keys...).Arg(c.Args...).Build()
	}
	return s.c.B().Evalsha().Sha1(c.Script.SHA).Numkeys(n).Key(c.Keys...).Arg(c.Args...).Build()
}

func replyTo(c store.Command, r rueidis.RedisResult) store.Reply {
	m, err := r.ToMessage()
	switch {
	case rueidis.IsRedisNil(err):
		return store.Reply{}
	case err != nil:
		name := c.Name
		if c.Script != nil {
			name = c.Script.Name
		}
		return store.Reply{Err: reply.Failed(strings.ToLower(name), c.Keys[0], err), Unknown: !reply.Answered(err) && !errors.Is(err, store.ErrAway)}
	}
	return store.Reply{Text: flat(nil, &m)}
}

// flat appends what a message says; RESP3 nests what RESP2 does not.
func flat(out []string, m *rueidis.RedisMessage) []string {
	switch {
	case m.IsNil():
		return append(out, "")
	case m.IsMap():
		pairs, _ := m.AsStrMap()
		for k, v := range pairs {
			out = append(out, k, v)
		}
		return out
	case m.IsArray():
		elements, _ := m.ToArray()
		if out == nil {
			out = make([]string, 0, len(elements))
		}
		for i := range elements {
			out = flat(out, &elements[i])
		}
		return out
	case m.IsInt64():
		n, _ := m.AsInt64()
		return append(out, strconv.FormatInt(n, 10))
	case m.IsFloat64():
		f, _ := m.AsFloat64()
		return append(out, strconv.FormatFloat(f, 'g', -1, 64))
	}
	text, _ := m.ToString()
	return append(out, text)
}

// Allowed asks the server whether it lets us run commands, which must change nothing: they have an argument that cannot be,
// for example. If not, it is a problem what is lost, with the command that grants it, until Allowed finds it granted.
func (s *Store) Allowed(ctx context.Context, loss string, cmds []store.Command) bool {
	if s.unusable() != nil {
		return true // nobody has refused
	}
	built := make(rueidis.Commands, len(cmds))
	for i, c := range cmds {
		built[i] = s.build(c, true)
	}
	var missing []string
	for i, r := range s.send(ctx, health.Read, built) {
		switch err := r.Error(); {
		case reply.DeniedKey(err):
			prefix, _, _ := strings.Cut(cmds[i].Keys[0], ":")
			missing = append(missing, "~"+prefix+":*")
		case reply.Denied(err):
			missing = append(missing, "+"+strings.ToLower(cmds[i].Name))
		}
	}
	slices.Sort(missing)
	missing = slices.Compact(missing)
	problem := ""
	if len(missing) > 0 {
		problem = "the user " + s.target.UserName() + " lacks " + strings.Join(missing, " ") + ": " + loss + "; grant it: " + s.target.Grant(missing...)
	}
	s.Note(loss, problem)
	return problem == ""
}

// State is "closed", or why a node is not asked at the moment: the state of the breaker, for people.
func (s *Store) State() string {
	if err := s.guards.Unavailable(); err != nil {
		return err.Error()
	}
	return "closed"
}
