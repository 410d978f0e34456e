package redis_test

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
)

const members = 100_000

// chunksOf are so many members of a sorted set, in chunks.
func chunksOf(n int) (out [][]store.Element) {
	for i := range n {
		if i%store.MaxChunk == 0 {
			out = append(out, make([]store.Element, 0, store.MaxChunk))
		}
		last := len(out) - 1
		out[last] = append(out[last], store.Element{Member: fmt.Sprint("member:", i), Score: float64(i*7919%n) + 0.5})
	}
	return out
}

// loadBoard loads a sorted set with so many chunks under way at once.
func loadBoard(t testing.TB, s *redis.Store, key string, chunks [][]store.Element, under int) {
	ctx, token := t.Context(), store.NewToken()
	if g := s.Acquire(ctx, []store.Claim{{Key: key, Kind: store.SortedSet, Token: token, Lease: time.Minute}})[0]; g.State != store.Granted {
		t.Fatalf("acquire: %+v", g)
	}
	next, all := make(chan []store.Element), sync.WaitGroup{}
	for range under {
		all.Go(func() {
			for es := range next {
				if o := s.Chunk(ctx, store.Chunk{Key: key, Kind: store.SortedSet, Token: token, Elements: es}); !o.OK {
					t.Errorf("chunk: %+v", o)
				}
			}
		})
	}
	for _, es := range chunks {
		next <- es
	}
	close(next)
	all.Wait()
	if o := s.Fill(ctx, []store.Fill{{Key: key, Kind: store.SortedSet, Token: token, TTL: time.Hour}})[0]; !o.OK {
		t.Fatalf("fill: %+v", o)
	}
}

// A load of 100,000 members, beside the same ZADDs without any protection, all in one pipeline.
func BenchmarkLoadSortedSet(b *testing.B) {
	server := redistest.Start(b)
	s, c, ctx, chunks := open(b, server.URL()), bare(b, server), b.Context(), chunksOf(members)
	busyWith(b, server, "rueidis ZADD", 1, func() {
		server.Do(b, "FLUSHALL", "ASYNC")
		cmds := make(rueidis.Commands, len(chunks))
		for i, es := range chunks {
			z := c.B().Zadd().Key("board").ScoreMember()
			for _, e := range es {
				z = z.ScoreMember(e.Score, e.Member)
			}
			cmds[i] = z.Build()
		}
		for _, r := range c.DoMulti(ctx, cmds...) {
			if r.Error() != nil {
				b.Fatal(r.Error())
			}
		}
	})
	for _, under := range []int{1, 2, 4} {
		busyWith(b, server, fmt.Sprint("load by ", under), 1, func() {
			server.Do(b, "FLUSHALL", "ASYNC")
			loadBoard(b, s, "board", chunks, under)
		})
	}
}

func BenchmarkTop10(b *testing.B) {
	server := redistest.Start(b)
	s, c, ctx := open(b, server.URL()), bare(b, server), b.Context()
	loadBoard(b, s, "board", chunksOf(members), 2)
	top := []store.Query{{Key: "board", Kind: store.SortedSet, Part: store.ByRank, To: 9, Reverse: true}}
	for _, n := range []int{1, 64} {
		busyWith(b, server, "rueidis", n, func() {
			if zs, err := c.Do(ctx, c.B().Zrevrange().Key("board").Start(0).Stop(9).Withscores().Build()).AsZScores(); len(zs) != 10 {
				b.Error(err)
			}
		})
		busyWith(b, server, "query", n, func() {
			if v := s.Query(ctx, top)[0]; len(v.Elements) != 10 || v.TTL <= 0 {
				b.Error(v)
			}
		})
	}
}

// An update of a member, without the database: two trips.
func BenchmarkUpdateMember(b *testing.B) {
	server := redistest.Start(b)
	s, c, ctx := open(b, server.URL()), bare(b, server), b.Context()
	loadBoard(b, s, "board", chunksOf(members), 2)
	change := store.Change{Key: "board", Kind: store.SortedSet, Op: store.Add, Element: store.Element{Member: "member:7", Score: 1}}
	busyWith(b, server, "rueidis ZADD", 1, func() {
		c.Do(ctx, c.B().Zadd().Key("board").ScoreMember().ScoreMember(1, "member:7").Build())
	})
	busyWith(b, server, "write", 1, func() {
		if o := s.Write(ctx, []store.Change{change})[0]; !o.OK {
			b.Error(o)
		}
	})
	busyWith(b, server, "begin, end", 1, func() {
		token := store.NewToken()
		s.BeginMember(ctx, store.MemberIntent{Key: "board", Kind: store.SortedSet, Member: "member:7", Order: store.Alone, Token: token, Life: time.Minute, Lease: time.Minute})
		if e := s.EndMember(ctx, store.MemberEnd{Change: change, Member: "member:7", Token: token}); !e.Applied {
			b.Error(e)
		}
	})
}
