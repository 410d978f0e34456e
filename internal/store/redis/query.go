package redis

import (
	"context"
	"fmt"
	"math"
	"strconv"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/health"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// Query sends the command that each part is, and PTTL, in one pipeline to each node.
//
// A range beyond the end is empty, and so is a collection that is not there: PTTL tells them apart. But a load may end
// between the two commands, and PTTL then speaks of a collection that the first one has not seen. So where the answer may
// be empty, PTTL comes in front of it as well, and an empty answer is believed only if the life went down meanwhile. What is
// in doubt is not found: the caller asks for the lease, and is told better.
func (s *Store) Query(ctx context.Context, queries []store.Query) []store.View {
	out := make([]store.View, len(queries))
	if err := s.unusable(); err != nil {
		for i := range out {
			out[i].Err = err
		}
		return out
	}
	cmds, ends := make(rueidis.Commands, 0, 2*len(queries)), make([]int, len(queries))
	for i := range queries {
		cmds, out[i].Err = s.asked(cmds, &queries[i])
		ends[i] = len(cmds)
	}
	rs, from := s.send(ctx, health.Read, cmds), 0
	for i, end := range ends {
		if out[i].Err == nil {
			out[i] = s.answered(ctx, &queries[i], rs[from:end])
		}
		from = end
	}
	return out
}

// The commands of parts that each kind has its own for.
var (
	sizes = map[store.Kind]string{store.List: "LLEN", store.Set: "SCARD", store.SortedSet: "ZCARD", store.Hash: "HLEN"}
	scans = map[store.Kind]string{store.Set: "SSCAN", store.SortedSet: "ZSCAN", store.Hash: "HSCAN"}
)

// command is the one that a part is; "" if there is none.
func command(q *store.Query) (name string, args []string) {
	ranked := func(by string) string {
		if q.Reverse {
			return "ZREV" + by
		}
		return "Z" + by
	}
	limited := func(args ...string) []string {
		offset := q.Offset
		if offset < 0 { // nothing, as on Redis 7; Redis 8 and Valkey 8 count from the end of a large set
			offset = math.MaxInt64
		}
		switch {
		case q.Limit > 0:
			return append(args, "LIMIT", integer(offset), integer(q.Limit))
		case offset > 0:
			return append(args, "LIMIT", integer(offset), "-1")
		}
		return args
	}
	switch sorted := q.Kind == store.SortedSet; {
	case q.Part == store.Size, q.Part == store.Pick && len(q.Names) == 0:
		return sizes[q.Kind], nil
	case q.Part == store.All && q.Kind == store.Set:
		return "SMEMBERS", nil
	case q.Part == store.All && q.Kind == store.Hash:
		return "HGETALL", nil
	case q.Part == store.All && q.Kind == store.List:
		return "LRANGE", []string{"0", "-1"}
	case q.Part == store.All && sorted:
		return "ZRANGE", []string{"0", "-1", "WITHSCORES"}
	case q.Part == store.ByRank && q.Kind == store.List:
		return "LRANGE", []string{integer(q.From), integer(q.To)}
	case q.Part == store.ByRank && sorted:
		return ranked("RANGE"), []string{integer(q.From), integer(q.To), "WITHSCORES"}
	case q.Part == store.Pick && q.Kind == store.Set:
		return "SMISMEMBER", q.Names
	case q.Part == store.Pick && q.Kind == store.Hash:
		return "HMGET", q.Names
	case q.Part == store.Pick && sorted:
		return "ZMSCORE", q.Names
	case q.Part == store.ByScore && sorted && q.Reverse:
		return "ZREVRANGEBYSCORE", limited(bound(q.Max), bound(q.Min), "WITHSCORES")
	case q.Part == store.ByScore && sorted:
		return "ZRANGEBYSCORE", limited(bound(q.Min), bound(q.Max), "WITHSCORES")
	case q.Part == store.ByMember && sorted && q.Reverse:
		return "ZREVRANGEBYLEX", limited(q.MaxMember, q.MinMember)
	case q.Part == store.ByMember && sorted:
		return "ZRANGEBYLEX", limited(q.MinMember, q.MaxMember)
	case q.Part == store.Count && sorted:
		return "ZCOUNT", []string{bound(q.Min), bound(q.Max)}
	case (q.Part == store.Rank || q.Part == store.Around) && sorted && len(q.Names) == 1:
		return ranked("RANK"), q.Names
	case q.Part == store.Intersect && q.Kind == store.Set:
		return "SINTER", nil
	case q.Part == store.Scan && (sorted || q.Kind == store.Set || q.Kind == store.Hash):
		args = []string{strconv.FormatUint(q.Cursor, 10)}
		if q.Match != "" {
			args = append(args, "MATCH", q.Match)
		}
		if q.Hint > 0 {
			args = append(args, "COUNT", integer(q.Hint))
		}
		return scans[q.Kind], args
	}
	return "", nil
}

func integer(n int64) string { return strconv.FormatInt(n, 10) }

func bound(b store.Bound) string {
	if b.Exclusive {
		return "(" + number64(b.Score)
	}
	return number64(b.Score)
}

// asked appends the commands of a query.
func (s *Store) asked(cmds rueidis.Commands, q *store.Query) (rueidis.Commands, error) {
	name, args := command(q)
	switch {
	case name == "":
		return cmds, fmt.Errorf("%w of %q: a %s has no part %d", store.ErrQuery, q.Key, q.Kind, q.Part)
	case math.IsNaN(q.Min.Score) || math.IsNaN(q.Max.Score):
		return cmds, fmt.Errorf("%w of %q: a bound of the scores is no number", store.ErrQuery, q.Key)
	case q.Part == store.Intersect && s.target.Mode == redisurl.Cluster && topology.Slot(q.Key) != topology.Slot(q.Other):
		return cmds, store.ErrApart
	case q.Part == store.Around:
		return append(cmds, aroundScript.command(s.c.B(), false, q.Key, aroundArgs(q))), nil
	}
	lives := func() {
		cmds = append(cmds, s.c.B().Pttl().Key(q.Key).Build())
		if q.Part == store.Intersect {
			cmds = append(cmds, s.c.B().Pttl().Key(q.Other).Build())
		}
	}
	if mayBeEmpty(q) {
		lives()
	}
	one := s.c.B().Arbitrary(name).Keys(q.Key)
	if q.Part == store.Intersect {
		one = s.c.B().Arbitrary(name).Keys(q.Key, q.Other)
	}
	cmds = append(cmds, one.Args(args...).ReadOnly())
	if q.Part == store.Rank {
		cmds = append(cmds, s.c.B().Zscore().Key(q.Key).Member(q.Names[0]).Build())
	}
	lives()
	return cmds, nil
}

// mayBeEmpty reports whether a collection that is there may have an empty answer: it has at least one element.
func mayBeEmpty(q *store.Query) bool {
	switch q.Part {
	case store.All, store.Size:
		return false
	case store.ByRank:
		return q.From != 0 || q.To < -1
	case store.Pick:
		return len(q.Names) > 0
	}
	return true
}
