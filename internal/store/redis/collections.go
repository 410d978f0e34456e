package redis

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strconv"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// acquireCollections asks for leases of collections of one kind.
func (s *Store) acquireCollections(ctx context.Context, shape store.Kind, claims []store.Claim) []store.Grant {
	out := make([]store.Grant, len(claims))
	if err := s.serves(shape); err != nil {
		for i := range out {
			out[i].Err = reply.Failed("acquire", claims[i].Key, err)
		}
		return out
	}
	if s.shapes.denied() {
		s.acquireCollectionsApart(ctx, shape, claims, indexes(len(claims)), out)
		return out
	}
	keys := keysOf(claims, func(c store.Claim) string { return c.Key })
	var apart []int
	for i, r := range s.run(ctx, health.Read, collections[shape].acquire, keys, func(i int) []string {
		c, kind, dead := &claims[i], "", ""
		switch {
		case c.Dead == nil:
		case c.Dead.Type != "":
			kind, dead = "t", c.Dead.Type
		default:
			kind, dead = "m", c.Dead.Member
		}
		return []string{c.Token, px(c.Lease), px0(c.Stale), kind, dead}
	}) {
		out[i] = grant(r, keys[i])
		out[i].Value = nil
		if err := r.Error(); s.forbidden(collections[shape].acquire, err) || reply.InTransit(err) {
			apart = append(apart, i)
		}
	}
	if len(apart) > 0 {
		s.acquireCollectionsApart(ctx, shape, claims, apart, out)
	}
	return out
}

// acquireCollectionsApart looks whether the collections are there, and answers that nothing may be filled for now where they
// are not.
func (s *Store) acquireCollectionsApart(ctx context.Context, shape store.Kind, claims []store.Claim, which []int, out []store.Grant) {
	keys := make([]string, len(which))
	for n, i := range which {
		keys[n] = claims[i].Key
	}
	for n, info := range s.Inspect(ctx, keys) {
		switch out[which[n]] = (store.Grant{State: store.Barrier, Err: info.Err}); {
		case info.Err != nil:
			out[which[n]].State = 0
		case info.Type == string(shape):
			out[which[n]] = store.Grant{State: store.Hit, TTL: info.TTL}
		}
	}
}

// Chunk runs chunk.lua. One without an answer must not be sent again for a list, which would have its elements twice.
func (s *Store) Chunk(ctx context.Context, c store.Chunk) store.Outcome {
	err := s.serves(c.Kind)
	if err == nil {
		err = chunkable(c.Kind, c.Elements)
	}
	if err != nil {
		return store.Outcome{Err: reply.Failed("chunk", c.Key, err)}
	}
	if len(c.Elements) == 0 {
		return store.Outcome{OK: true} // the end of the load will say whether the token stands
	}
	args := written(c.Kind, c.Elements, c.Token)
	return s.outcomes(ctx, "chunk", collections[c.Kind].chunk, []string{c.Key}, func(int) []string { return args })[0]
}

// chunkable returns an error for elements that cannot be sent at once, or not at all.
func chunkable(kind store.Kind, es []store.Element) error {
	if len(es) > store.MaxChunk {
		return fmt.Errorf("%d elements, at most %d are allowed", len(es), store.MaxChunk)
	}
	for i := range es {
		if kind != store.SortedSet {
			break
		}
		if err := finite(&es[i]); err != nil {
			return err
		}
	}
	return nil
}

// written are elements as fill of a type's own file takes them, behind other arguments.
func written(kind store.Kind, es []store.Element, before ...string) []string {
	args := append(make([]string, 0, len(before)+2*len(es)), before...)
	for i := range es {
		switch e := &es[i]; kind {
		case store.SortedSet:
			args = append(args, number64(e.Score), e.Member)
		case store.Hash:
			args = append(args, e.Member, e.Value)
		default:
			args = append(args, e.Member)
		}
	}
	return args
}

// fillCollections runs fill.lua.
func (s *Store) fillCollections(ctx context.Context, shape store.Kind, fills []store.Fill) []store.Outcome {
	out := make([]store.Outcome, len(fills))
	var keys []string
	var at []int
	for i := range fills {
		err := s.serves(shape)
		if err == nil {
			err = chunkable(shape, fills[i].Last)
		}
		if err != nil {
			out[i].Err = reply.Failed("fill", fills[i].Key, err)
			continue
		}
		keys, at = append(keys, fills[i].Key), append(at, i)
	}
	if len(keys) == 0 {
		return out
	}
	for n, o := range s.outcomes(ctx, "fill", collections[shape].fill, keys, func(n int) []string {
		f := &fills[at[n]]
		return written(shape, f.Last, f.Token, px(f.TTL), px0(f.Empty))
	}) {
		out[at[n]] = o
	}
	return out
}

// Write runs write.lua.
func (s *Store) Write(ctx context.Context, changes []store.Change) []store.Outcome {
	s.repeats.Invalidated.Add(len(changes), func(i int) topology.Touched { return topology.Touched{Key: changes[i].Key} })
	return perKind(changes, func(c *store.Change) store.Kind { return c.Kind }, func(shape store.Kind, changes []store.Change) []store.Outcome {
		out := make([]store.Outcome, len(changes))
		var keys []string
		var at []int
		for i := range changes {
			c := &changes[i]
			err := s.serves(shape)
			switch {
			case err != nil:
			case shape == store.List:
				err = errors.New("a list takes no write that was not announced")
			case c.Op != store.Add && c.Op != store.Remove && c.Op != store.Drop:
				err = fmt.Errorf("a %s is written by add, remove or drop, not by %v", shape, c.Op)
			case c.Op == store.Add && shape == store.SortedSet:
				err = finite(&c.Element)
			}
			if err != nil {
				out[i].Err = reply.Failed("write", c.Key, err)
				continue
			}
			keys, at = append(keys, c.Key), append(at, i)
		}
		if len(keys) == 0 {
			return out
		}
		for n, o := range s.outcomes(ctx, "write", collections[shape].write, keys, func(n int) []string {
			c := &changes[at[n]]
			return []string{c.Element.Member, opLetter(c.Op), content(c)}
		}) {
			out[at[n]] = o
		}
		return out
	})
}

// BeginMember runs beginmember.lua.
func (s *Store) BeginMember(ctx context.Context, in store.MemberIntent) store.Outcome {
	if err := s.serves(in.Kind); err != nil {
		return store.Outcome{Err: reply.Failed("begin", in.Key, err)}
	}
	order := in.Order
	if in.Kind == store.List {
		order = store.Pushed
	} else if order != store.Versioned {
		order = store.Alone
	}
	return s.outcomes(ctx, "begin", collections[in.Kind].begin, []string{in.Key}, func(int) []string {
		return append([]string{in.Token, px(in.Life), px0(in.Lease), in.Member, orderLetter(order)}, in.Earlier...)
	})[0]
}

// EndMember runs endmember.lua.
func (s *Store) EndMember(ctx context.Context, e store.MemberEnd) store.Ending {
	err := s.unusable()
	if err == nil {
		err = s.serves(e.Kind)
	}
	pushes := e.Op == store.PushFront || e.Op == store.PushBack
	switch list := e.Kind == store.List; {
	case err != nil:
	case e.Op != store.Drop && (pushes != list || !pushes && e.Op != store.Add && e.Op != store.Remove):
		err = fmt.Errorf("a %s takes no %v", e.Kind, e.Op)
	case math.IsNaN(e.Version):
		err = errors.New("the version is not a number")
	case e.Op == store.Add && e.Kind == store.SortedSet:
		err = finite(&e.Element)
	}
	if err != nil {
		return store.Ending{Err: reply.Failed("end", e.Key, err)}
	}
	s.repeats.Invalidated.Add(1, func(int) topology.Touched { return topology.Touched{Key: e.Key} })
	sc, again := collections[e.Kind].end, ""
	if e.Again && e.Kind != store.List {
		again = "1"
	}
	keys := []string{e.Key}
	n, err := s.told(ctx, sc, keys, func(int) []string {
		return []string{e.Token, e.Member, e.Element.Member, opLetter(e.Op), content(&e.Change), number64(e.Version), again, strconv.FormatInt(max(e.Cap, 0), 10)}
	})[0].AsInt64()
	switch {
	case s.forbidden(sc, err), reply.InTransit(err):
		return store.Ending{Err: s.invalidate(ctx, keys, 0)[0].Err}
	case err != nil:
		return store.Ending{Err: reply.Failed("end", e.Key, err)}
	case n > 1:
		return store.Ending{Number: float64(n)}
	}
	return store.Ending{Applied: n == 1}
}

// content is what a member has, as Redis takes it.
func content(c *store.Change) string {
	if c.Kind == store.SortedSet {
		return number64(c.Element.Score)
	}
	return c.Element.Value
}

// number64 writes a number so that Redis reads the same one.
func number64(f float64) string {
	switch {
	case math.IsInf(f, 1):
		return "inf"
	case math.IsInf(f, -1):
		return "-inf"
	}
	return strconv.FormatFloat(f, 'f', -1, 64)
}

func finite(e *store.Element) error {
	if math.IsNaN(e.Score) {
		return fmt.Errorf("the score of %.100q is not a number", e.Member)
	}
	return nil
}

// serves returns nil if there are such collections.
func (s *Store) serves(k store.Kind) error {
	if collections[k] == nil {
		return fmt.Errorf("there are no collections of kind %q", k)
	}
	return s.unusable()
}

// forbidden notes that the server does not let us run a script, or what stands in it, and reports whether it does not.
func (s *Store) forbidden(sc *script, err error) bool {
	if !reply.Denied(err) && !reply.DeniedInside(err) {
		return false
	}
	switch {
	case sc.shaped && s.shapes.forbid():
		s.problems.Add("%s", s.noShapes())
	case !sc.shaped && (reply.Denied(err) || sc.leases()) && s.scripts.forbid():
		s.problems.Add("%s", s.noScripts())
	}
	return true
}

// permitted notes that a script has ended a lease.
func (s *Store) permitted(sc *script) {
	if sc.shaped {
		if s.shapes.allow() {
			s.problems.Forget(s.noShapes())
		}
	} else if s.scripts.allow() {
		s.problems.Forget(s.noScripts())
	}
}

func (s *Store) noScripts() string {
	return fmt.Sprintf("the user %s may not run what a lease needs: values are loaded and not stored; grant it: %s", s.target.UserName(),
		s.target.Grant("+eval", "+evalsha", "+get", "+mget", "+set", "+del", "+unlink", "+pttl"))
}

func (s *Store) noShapes() string {
	return fmt.Sprintf("the user %s may not run what collections need: they are loaded and not stored, and writes drop them; grant it: %s", s.target.UserName(), s.target.Grant(rights...))
}

// rights is what collections need beyond values.
var rights = []string{"+@list", "+@set", "+@sortedset", "+@hash", "+exists", "+rename", "+pexpire", "+pexpireat", "+time"}
