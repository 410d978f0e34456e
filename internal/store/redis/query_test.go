package redis_test

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
)

// Every part of every kind, as one line. The server is asked by RESP3; what is not there, or of another type, is not found.
func TestQuery(t *testing.T) {
	server := redistest.Shared(t)
	s := open(t, server.URL())
	inf := func(sign int) store.Bound { return store.Bound{Score: math.Inf(sign)} }
	one, three := store.Bound{Score: 1, Exclusive: true}, store.Bound{Score: 3}
	for _, kind := range append(keyed, store.List) {
		b := newBoard(t, s, server, kind)
		b.load(b.el("a", 1), b.el("b", 2), b.el("c", 3), b.el("d", 4))
		for _, c := range []struct {
			kinds string
			q     store.Query
			want  string
		}{
			{"zset list", store.Query{Part: store.All}, "0 a b c d"},
			{"zset list set hash", store.Query{Part: store.Size}, "4"},
			{"zset set hash", store.Query{Part: store.Pick, Names: []string{"c", "x", "a"}}, "0 c+ - a+"},
			{"zset set hash", store.Query{Part: store.Pick, Names: []string{"x"}}, "0 -"},
			{"zset set hash", store.Query{Part: store.Pick}, "0"},
			{"zset list", store.Query{Part: store.ByRank, From: 1, To: -2}, "0 b c"},
			{"zset", store.Query{Part: store.ByRank, To: 1, Reverse: true}, "0 d c"},
			{"zset list", store.Query{Part: store.ByRank, From: 7, To: 9}, "0"},
			{"zset list", store.Query{Part: store.ByRank, From: 0, To: -9}, "0"},
			{"zset", store.Query{Part: store.ByScore, Min: one, Max: three}, "0 b c"},
			{"zset", store.Query{Part: store.ByScore, Min: inf(-1), Max: inf(1), Reverse: true, Offset: 1, Limit: 2}, "0 c b"},
			{"zset", store.Query{Part: store.ByScore, Min: inf(-1), Max: inf(1), Offset: 3}, "0 d"},
			{"zset", store.Query{Part: store.ByScore, Min: three, Max: one}, "0"},
			{"zset", store.Query{Part: store.Count, Min: one, Max: three}, "2"},
			{"zset", store.Query{Part: store.Count, Min: three, Max: one}, "0"},
			{"zset", store.Query{Part: store.ByMember, MinMember: "(d", MaxMember: "+"}, "0"},
			{"zset", store.Query{Part: store.Rank, Names: []string{"b"}}, "1 b"},
			{"zset", store.Query{Part: store.Rank, Names: []string{"b"}, Reverse: true}, "2 b"},
			{"zset", store.Query{Part: store.Rank, Names: []string{"x"}}, "-1"},
			{"zset", store.Query{Part: store.Around, Names: []string{"b"}, To: 1}, "0 a b c"},
			{"zset set hash", store.Query{Part: store.Scan, Match: "[x]"}, "0"},
			{"zset set hash", store.Query{Part: store.Scan, Match: "c", Hint: 100}, "0 c"},
			{"set", store.Query{Part: store.Intersect, Other: "board"}, "0 ~ a b c d"},
			{"set", store.Query{Part: store.Intersect, Other: "none"}, "0"},
		} {
			if c.q.Key, c.q.Kind = "board", kind; !slices.Contains(strings.Fields(c.kinds), string(kind)) {
				continue
			}
			ask := func() (string, store.View) {
				v := s.Query(t.Context(), []store.Query{c.q})[0]
				line := fmt.Sprint(v.N)
				if v.Other {
					line += " ~"
				}
				names := make(map[string]bool)
				for i, e := range v.Elements {
					full := e == b.el(e.Member, strings.Index("-abcd", e.Member))
					if len(v.Has) > 0 && v.Has[i] {
						e.Member += "+"
					} else if len(v.Has) > 0 {
						e.Member = "-"
					}
					if e.Member != "-" && !full {
						t.Errorf("%s %+v: incomplete %+v", kind, c.q, e)
					}
					names[e.Member] = true
					line += " " + e.Member
				}
				return line, v
			}
			got, v := ask()
			if kind == store.Set && c.q.Part == store.Intersect {
				got = fmt.Sprint(len(got) == len(c.want)) // in no order
				c.want = "true"
			}
			if got != c.want || v.Err != nil || !v.Found || v.TTL <= 0 {
				t.Errorf("%s %+v: got %q, want %q (%+v)", kind, c.q, got, c.want, v)
			}
			for _, foreign := range []bool{false, true} {
				server.Do(t, "RENAME", "board", "aside")
				if foreign {
					server.Do(t, "SET", "board", "somebody's")
				}
				if _, v := ask(); v.Found || v.Err != nil || len(v.Elements) > 0 {
					t.Errorf("%s %+v, foreign %v: got %+v", kind, c.q, foreign, v)
				}
				server.Do(t, "RENAME", "aside", "board")
			}
		}
		if v := s.Query(t.Context(), []store.Query{{Key: "board", Kind: kind, Part: 99}})[0]; v.Err == nil {
			t.Errorf("%s: a part that there is not: %+v", kind, v)
		}
	}
}

// The other of two sets is of another type, or the first one is.
func TestIntersectWithAnotherType(t *testing.T) {
	server := redistest.Shared(t)
	b := newBoard(t, open(t, server.URL()), server, store.Set)
	b.load(b.el("a", 0))
	server.Do(t, "SET", "foreign", "x")
	for _, q := range [][2]string{{"board", "foreign"}, {"foreign", "board"}} {
		v := b.s.Query(t.Context(), []store.Query{{Key: q[0], Kind: store.Set, Part: store.Intersect, Other: q[1]}})[0]
		if v.Err != nil || v.Found != (q[0] == "board") || v.Other != (q[1] == "board") {
			t.Errorf("%v: %+v", q, v)
		}
	}
}

// No command of a load of 100,000 members holds up the server for long, nor does what removes or replaces it: of each the middle one
// counts, since the machine does other things too.
func TestNoSlowCommand(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	chunks := chunksOf(members)
	server.Do(t, "CONFIG", "SET", "slowlog-log-slower-than", "0", "slowlog-max-len", "100000")
	for range 3 {
		loadBoard(t, s, "board", chunks, 2)
		s.Write(t.Context(), []store.Change{{Key: "board", Kind: store.SortedSet, Op: store.Drop}})
		loadBoard(t, s, "board", chunks, 2)
		s.Invalidate(t.Context(), []string{"board"}, 0)
		loadBoard(t, s, "board", chunks, 2)
		s.Begin(t.Context(), []store.Intent{{Key: "board", Token: "w1", Life: time.Second}})
		server.Do(t, "FLUSHALL")
	}
	log, err := server.Do(t, "SLOWLOG", "GET", "-1").ToArray()
	if err != nil {
		t.Fatal(err)
	}
	took := make(map[string][]int64) // microseconds, by the script
	for i := range log {
		entry, _ := log[i].ToArray()
		us, _ := entry[2].AsInt64()
		if args, _ := entry[3].AsStrSlice(); len(args) > 1 && strings.HasPrefix(args[0], "EVAL") {
			took[args[1]] = append(took[args[1]], us)
		}
	}
	if len(took) < 5 {
		t.Errorf("%d scripts were seen, want those of claims, chunks, swaps, writes, invalidations and intents", len(took))
	}
	for script, us := range took {
		if slices.Sort(us); us[len(us)/2] > 5000 {
			t.Errorf("%.60q took %v in the middle of %d", script, time.Duration(us[len(us)/2])*time.Microsecond, len(us))
		}
	}
}
