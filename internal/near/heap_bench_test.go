package near_test

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/nearside/nearside/internal/near"
)

// user is a row as it is decoded: its strings are allocations of their own, about 500 bytes together.
type user struct {
	ID                       int64
	Name, Email, City, About string
	Tags                     []string
	Active                   bool
	Balance                  float64
}

func userOf(id int64) user {
	text := func(s string) string { return strings.Clone(s) }
	return user{id, text("Ada Lovelace"), "ada" + strconv.FormatInt(id, 10) + "@example.com", text("London"), strings.Repeat("notes on the engine ", 17),
		[]string{text("math"), text("engines"), text("poetry")}, true, 12.5}
}

const many = 1_000_000

// What a million entries keep on the heap, beside a bare otter with the same values, and what they cost the garbage
// collector while each hit belongs to a request that allocates 2 kB.
func BenchmarkHeap(b *testing.B) {
	clock := near.NewClock()
	for _, kind := range []struct {
		name string
		make func() (fill func(int64, user), get func(int64) bool)
	}{
		{"otter", func() (func(int64, user), func(int64) bool) {
			c := otter.Must(&otter.Options[int64, user]{MaximumSize: many})
			return func(k int64, v user) { c.Set(k, v) }, func(k int64) bool { _, ok := c.GetIfPresent(k); return ok }
		}},
		{"near", func() (func(int64, user), func(int64) bool) { return tierOf(clock, many, 0) }},
		{"near in bytes", func() (func(int64, user), func(int64) bool) { return tierOf(clock, 0, 2<<30) }},
	} {
		for _, percent := range []int{100, 400} {
			b.Run(fmt.Sprintf("%s/GOGC=%d", kind.name, percent), func(b *testing.B) {
				before := heap()
				fill, get := kind.make()
				for k := range int64(many) {
					fill(k, userOf(k))
				}
				kept := heap() - before
				defer debug.SetGCPercent(debug.SetGCPercent(percent))
				gc, user, cycles := spent()
				b.ResetTimer()
				var slowest time.Duration
				found := 0
				for range b.N {
					for range 4_000_000 {
						began := time.Now()
						garbage = make([]byte, 2048)
						if get(rand.Int64N(many)) {
							found++
						}
						slowest = max(slowest, time.Since(began))
					}
				}
				b.StopTimer()
				gc2, user2, cycles2 := spent()
				b.ReportMetric(float64(kept)/many, "B/entry")
				b.ReportMetric(float64(found)/float64(b.N)/4e4, "%hits")
				b.ReportMetric(100*(gc2-gc)/(gc2-gc+user2-user), "%gc")
				b.ReportMetric(1000*(gc2-gc)/float64(max(cycles2-cycles, 1)), "ms-gc/cycle")
				b.ReportMetric(float64(cycles2-cycles)/float64(b.N), "cycles")
				b.ReportMetric(float64(slowest.Microseconds()), "µs-slowest")
				var pauses debug.GCStats
				debug.ReadGCStats(&pauses)
				b.ReportMetric(float64(slices.Max(pauses.Pause[:max(cycles2-cycles, 1)]).Microseconds()), "µs-stopped")
				runtime.KeepAlive(get)
			})
		}
	}
}

var garbage []byte

func tierOf(clock *near.Clock, size int, bytes uint64) (func(int64, user), func(int64) bool) {
	t := near.New(near.Options[int64]{
		Size: size, Bytes: bytes, Clock: clock, Text: func(k int64) string { return fmt.Sprint("user:", k) },
		Parse: func(text string) (int64, bool) { k, err := strconv.ParseInt(text[5:], 10, 64); return k, err == nil },
	})
	return func(k int64, v user) {
			r, _ := t.Reserve(fmt.Sprint("user:", k))
			t.Fill(r, near.Entry{Value: v, Loaded: near.Unknown, Fresh: near.Unknown}, clock.Exact(), time.Hour, 530)
		}, func(k int64) bool {
			_, ok := t.Get(k)
			return ok
		}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// spent is the processor time of the collector and of all else, and how often it ran.
func spent() (gc, user float64, cycles uint64) {
	s := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/user:cpu-seconds"}, {Name: "/gc/cycles/total:gc-cycles"}}
	metrics.Read(s)
	return s[0].Value.Float64(), s[1].Value.Float64(), s[2].Value.Uint64()
}
