package shape_test

import (
	"context"
	"iter"
	"math/rand/v2"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/shape"
)

const many = 100_000

func bare(b *testing.B, addr string) rueidis.Client {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

// A load of 100,000 members, beside the same as plain ZADDs of 500 in pipelines of ten.
func BenchmarkLoad(b *testing.B) {
	server := redistest.Start(b)
	c, r := open(b, server.URL()), bare(b, server.Addr)
	scores := shape.NewSortedSet(c, "big", shape.SortedSetConfig[int, int]{Stream: func(context.Context, int) iter.Seq2[shape.Scored[int], error] {
		return func(yield func(shape.Scored[int], error) bool) {
			for i := range many {
				if !yield(shape.Scored[int]{Member: i, Score: float64(i * 7919 % many)}, nil) {
					return
				}
			}
		}
	}})
	b.Run("bare", func(b *testing.B) {
		for b.Loop() {
			var cmds rueidis.Commands
			for i := 0; i < many; i += 500 {
				add := r.B().Zadd().Key("bare").ScoreMember()
				for j := i; j < i+500; j++ {
					add = add.ScoreMember(float64(j*7919%many), strconv.Itoa(j))
				}
				if cmds = append(cmds, add.Build()); len(cmds) == 10 {
					for _, res := range r.DoMulti(b.Context(), cmds...) {
						if res.Error() != nil {
							b.Fatal(res.Error())
						}
					}
					cmds = nil
				}
			}
			b.StopTimer()
			r.Do(b.Context(), r.B().Del().Key("bare").Build())
			b.StartTimer()
		}
	})
	b.Run("shape", func(b *testing.B) {
		for b.Loop() {
			if n, err := scores.Len(b.Context(), 1); n != many || err != nil {
				b.Fatal(n, err)
			}
			b.StopTimer()
			scores.Invalidate(b.Context(), 1)
			freed(b, r)
			b.StartTimer()
		}
	})
}

// freed waits until Redis has freed what was unlinked, which it does in a thread of its own, beside what is measured next.
func freed(b *testing.B, r rueidis.Client) {
	for {
		info, err := r.Do(b.Context(), r.B().Info().Section("memory").Build()).ToString()
		if err != nil {
			b.Fatal(err)
		}
		if strings.Contains(info, "lazyfree_pending_objects:0\r") {
			return
		}
		time.Sleep(time.Millisecond)
	}
}

// The top ten of 100,000, beside ZREVRANGE; and on the memory store, with the rank.
func BenchmarkTop(b *testing.B) {
	server := redistest.Start(b)
	r := bare(b, server.Addr)
	load := func(context.Context, int) (out []shape.Scored[int], err error) {
		for i := range many {
			out = append(out, shape.Scored[int]{Member: i, Score: float64(i)})
		}
		return out, nil
	}
	redis := shape.NewSortedSet(open(b, server.URL()), "big", shape.SortedSetConfig[int, int]{Load: load})
	memory := shape.NewSortedSet(open(b, "memory:"), "big", shape.SortedSetConfig[int, int]{Load: load})
	redis.Len(b.Context(), 1)
	memory.Len(b.Context(), 1)
	for name, f := range map[string]func() error{
		"bare": func() error {
			_, err := r.Do(b.Context(), r.B().Zrevrange().Key("big:1").Start(0).Stop(9).Withscores().Build()).AsZScores()
			return err
		},
		"shape":       func() error { return second(redis.Top(b.Context(), 1, 10)) },
		"memory":      func() error { return second(memory.Top(b.Context(), 1, 10)) },
		"memory-rank": func() error { return second(memory.Rank(b.Context(), 1, 4711)) },
	} {
		for _, callers := range []int{1, 64} {
			b.Run(name+"/"+strconv.Itoa(callers), func(b *testing.B) {
				b.ReportAllocs()
				var left atomic.Int64
				left.Store(int64(b.N))
				var all sync.WaitGroup
				for range callers {
					all.Go(func() {
						for left.Add(-1) >= 0 {
							if err := f(); err != nil {
								b.Error(err)
							}
						}
					})
				}
				all.Wait()
			})
		}
	}
}

// A leaderboard of 5,000 members and a TTL of 1.5 s under 16 writers and 4 readers, the members by Zipf: how often all of it is
// loaded, which the TTL alone does 0.67 times a second at most.
func BenchmarkBusyLeaderboard(b *testing.B) {
	server := redistest.Start(b)
	c, db := open(b, server.URL()), newTable(5000)
	s := shape.NewSortedSet(c, "leaderboard", shape.SortedSetConfig[string, int]{
		Load: db.load, LoadOne: db.one, TTL: 1500 * time.Millisecond, Jitter: -1,
	})
	length := 6 * time.Second
	ctx, cancel := context.WithTimeout(b.Context(), length)
	defer cancel()
	var reads, writes atomic.Int64
	var all sync.WaitGroup
	for i := range 16 {
		all.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			zipf := rand.NewZipf(rng, 1.2, 1, 4999)
			for ctx.Err() == nil {
				m := int(zipf.Uint64())
				s.Update(b.Context(), "chess", m, func(context.Context) (float64, error) {
					v := db.add("chess", m, 1)
					time.Sleep(time.Millisecond)
					return v, nil
				})
				writes.Add(1)
			}
		})
	}
	for range 4 {
		all.Go(func() {
			for ctx.Err() == nil {
				if err := second(s.Top(b.Context(), "chess", 10)); err != nil {
					b.Error(err)
				}
				reads.Add(1)
			}
		})
	}
	all.Wait()
	st := s.Stats()
	sec := length.Seconds()
	b.ReportMetric(float64(st.Loads)/sec, "loads/s")
	b.ReportMetric(float64(writes.Load())/sec, "updates/s")
	b.ReportMetric(float64(reads.Load())/sec, "reads/s")
	b.ReportMetric(100*float64(st.Store)/float64(reads.Load()), "%store")
	b.ReportMetric(float64(st.Dropped), "drops")
	b.ReportMetric(float64(st.Reread), "rereads")
}
