package redis

import (
	"context"
	"errors"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/reply"
)

// answered reads the answers to a query.
func (s *Store) answered(ctx context.Context, q *store.Query, rs []rueidis.RedisResult) (v store.View) {
	if q.Part == store.Around {
		return s.around(ctx, q, rs)
	}
	keys := 1
	if q.Part == store.Intersect {
		keys = 2
	}
	after, before := rs[len(rs)-keys:], []rueidis.RedisResult(nil)
	if mayBeEmpty(q) {
		before, rs = rs[:keys], rs[keys:]
	}
	some, err := elements(&v, q, rs)
	switch {
	case err != nil && reply.WrongType(err) && q.Part == store.Intersect: // which of the two?
		there := s.Inspect(ctx, []string{q.Key, q.Other})
		v = store.View{Found: there[0].Type == string(q.Kind), TTL: there[0].TTL, Other: there[1].Type == string(q.Kind)}
		err = errors.Join(there[0].Err, there[1].Err)
	case err != nil && reply.WrongType(err):
		return store.View{}
	case err == nil:
		var known, other bool
		if known, v.TTL, err = stands(some, before, after); keys == 2 && err == nil {
			other, _, err = stands(some, before[1:], after[1:])
		}
		if !known {
			v = store.View{}
		}
		v.Found, v.Other = known, other
	}
	if err != nil {
		return store.View{Err: reply.Failed("query", q.Key, err)}
	}
	return v
}

// stands reports whether a collection was there when the command ran between two PTTLs, and what is left of its life.
func stands(some bool, before, after []rueidis.RedisResult) (there bool, left time.Duration, err error) {
	now, err := after[0].AsInt64()
	if err != nil {
		return false, 0, err
	}
	if len(before) > 0 && !some {
		was, err := before[0].AsInt64()
		if err != nil {
			return false, 0, err
		}
		some = stood(was, now)
	}
	if now == -2 { // it has ended behind the command
		return some, 0, nil
	}
	return some, life(now), nil
}

// stood reports whether PTTL said the same of one collection twice: it was there, and was not replaced meanwhile by a load,
// which gives it a whole life.
func stood(was, now int64) bool { return now != -2 && now <= was && (now == -1) == (was == -1) }

// elements reads the command's own answer, and reports whether there is something in it.
func elements(v *store.View, q *store.Query, rs []rueidis.RedisResult) (some bool, err error) {
	r := rs[0]
	switch q.Part {
	case store.Size, store.Count:
		v.N, err = r.AsInt64()
		return v.N > 0, err
	case store.Rank:
		if v.N, err = r.AsInt64(); err == nil {
			var score float64
			if score, err = rs[1].AsFloat64(); err == nil {
				v.Elements = []store.Element{{Member: q.Names[0], Score: score}}
			}
		}
		if rueidis.IsRedisNil(err) {
			v.N, err = -1, nil
		}
		return v.N >= 0, err
	case store.Pick:
		if len(q.Names) > 0 {
			return picked(v, q, r)
		}
		n, err := r.AsInt64()
		return n > 0, err
	case store.Scan:
		page, err := r.AsScanEntry()
		v.Cursor = page.Cursor
		if err == nil {
			v.Elements, err = paired(q.Kind, page.Elements)
		}
		return len(v.Elements) > 0, err
	}
	switch {
	case q.Kind == store.SortedSet && q.Part != store.ByMember:
		v.Elements, err = scored(r.ToMessage())
	case q.Kind == store.Hash:
		var fields map[string]string
		fields, err = r.AsStrMap()
		v.Elements = make([]store.Element, 0, len(fields))
		for name, value := range fields {
			v.Elements = append(v.Elements, store.Element{Member: name, Value: value})
		}
	default:
		var members []string
		members, err = r.AsStrSlice()
		v.Elements = make([]store.Element, len(members))
		for i, m := range members {
			v.Elements[i].Member = m
		}
	}
	return len(v.Elements) > 0, err
}

// picked reads which of the names are there, and what they have.
func picked(v *store.View, q *store.Query, r rueidis.RedisResult) (some bool, err error) {
	values, err := r.ToArray()
	if err != nil {
		return false, err
	}
	v.Elements, v.Has = make([]store.Element, len(values)), make([]bool, len(values))
	for i := range values {
		e, has := store.Element{Member: q.Names[i]}, !values[i].IsNil()
		switch {
		case q.Kind == store.Set:
			n, err := values[i].AsInt64()
			if err != nil {
				return false, err
			}
			has = n == 1
		case !has:
		case q.Kind == store.SortedSet:
			e.Score, err = values[i].AsFloat64()
		default:
			e.Value, err = values[i].ToString()
		}
		if err != nil {
			return false, err
		}
		if has {
			v.Elements[i], v.Has[i], some = e, true, true
		}
	}
	return some, nil
}

// paired reads what SCAN of a kind returns.
func paired(k store.Kind, words []string) ([]store.Element, error) {
	if k == store.Set {
		out := make([]store.Element, len(words))
		for i, w := range words {
			out[i].Member = w
		}
		return out, nil
	}
	out := make([]store.Element, len(words)/2)
	for i := range out {
		out[i].Member = words[2*i]
		if k == store.Hash {
			out[i].Value = words[2*i+1]
			continue
		}
		score, err := strconv.ParseFloat(words[2*i+1], 64)
		if err != nil {
			return nil, err
		}
		out[i].Score = score
	}
	return out, nil
}

// scored reads members with their scores.
func scored(m rueidis.RedisMessage, err error) ([]store.Element, error) {
	if err != nil {
		return nil, err
	}
	pairs, err := m.AsZScores()
	if err != nil {
		return nil, err
	}
	out := make([]store.Element, len(pairs))
	for i, p := range pairs {
		out[i] = store.Element{Member: p.Member, Score: p.Score}
	}
	return out, nil
}

func aroundArgs(q *store.Query) []string {
	reverse := ""
	if q.Reverse {
		reverse = "1"
	}
	return []string{q.Names[0], integer(max(q.To, 0)), reverse}
}

// around reads the answer of around.lua: place and range are of one moment. A user who may not run scripts needs two trips.
func (s *Store) around(ctx context.Context, q *store.Query, rs []rueidis.RedisResult) (v store.View) {
	r := rs[0]
	if reply.Forgotten(r) {
		r = s.one(ctx, health.Read, q.Key, func() rueidis.Completed { return aroundScript.command(s.c.B(), true, q.Key, aroundArgs(q)) })
	}
	switch parts, err := r.ToArray(); {
	case err != nil && reply.WrongType(err):
		return v
	case s.forbidden(aroundScript, err):
		return s.aroundInTrips(ctx, q)
	default:
		var ms int64
		if err == nil {
			ms, err = parts[0].AsInt64()
		}
		if err == nil {
			v.N, err = parts[1].AsInt64()
		}
		if err == nil && len(parts) > 2 {
			v.Elements, err = scored(parts[2], nil)
		}
		switch {
		case err != nil:
			return store.View{Err: reply.Failed("query", q.Key, err)}
		case ms == -2:
			return store.View{}
		}
		v.Found, v.TTL = true, life(ms)
		return v
	}
}

// aroundInTrips asks for the place, and then for what is around it.
func (s *Store) aroundInTrips(ctx context.Context, q *store.Query) store.View {
	rank := *q
	rank.Part = store.Rank
	v := s.Query(ctx, []store.Query{rank})[0]
	if !v.Found || v.N < 0 {
		return v
	}
	place := *q
	place.Part, place.From, place.To = store.ByRank, max(v.N-max(q.To, 0), 0), v.N+max(q.To, 0)
	v = s.Query(ctx, []store.Query{place})[0]
	v.N = place.From
	return v
}
