package fleetstats

import (
	"fmt"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/tally"
)

// busy is what a cache counts in ten seconds: most kinds of counts, and some buckets of each latency.
func (p *process) busy(cache string, round uint64, buckets int) {
	p.count(cache, func(c *Local) {
		for i := range tally.Counts {
			if i%3 != 2 {
				c.Counts[i] += 10_000 + uint64(i)*round
			}
		}
		for tier := range c.Latency {
			for b := range buckets {
				c.Latency[tier][20*(tier+1)+b] += 1 + uint64(b*b)*round
			}
		}
		c.Hot = func(n int) (hot []hotkeys.Key) {
			for i := range n {
				hot = append(hot, hotkeys.Key{Key: fmt.Sprintf("%s:%d", cache, 1000+i), Reads: uint64(100 - i)})
			}
			return hot
		}
	})
}

// withinAMinute waits for the next minute if this one ends soon: what follows belongs to one.
func withinAMinute() {
	if left := time.Until(time.Now().Truncate(time.Minute).Add(time.Minute)); left < 20*time.Second {
		time.Sleep(left)
	}
}

// A minute of a busy cache is below 1 KB in Redis.
func TestAMinuteIsSmall(t *testing.T) {
	srv := redistest.Shared(t)
	srv.FlushAll(t)
	p := join(t, open(t, srv.URL()))
	withinAMinute()
	for round := range uint64(6) {
		p.busy("user", round, 20)
		p.flush(false)
	}
	key := minuteKey("user", minuteOf(time.Now()))
	size, _ := srv.Do(t, "MEMORY", "USAGE", key).AsInt64()
	text, _ := srv.Do(t, "GET", key).ToString()
	if t.Logf("%s takes %d bytes", key, size); size > 1024 || len(text) < 400 {
		t.Errorf("a minute of %d bytes takes %d, want 1024 at most", len(text), size)
	}
	for _, key := range []string{cachesKey, membersKey, memberKey(p.me.ID), hotKey("user", minuteOf(time.Now()))} {
		size, _ := srv.Do(t, "MEMORY", "USAGE", key).AsInt64()
		t.Logf("%s takes %d bytes", key, size)
	}
}

// A flush costs this process and the server so much of a processor; the time it takes is that of the server, and a trip.
func BenchmarkFlush(b *testing.B) {
	for _, caches := range []int{1, 20, 200} {
		for _, buckets := range []int{10, 20} {
			b.Run(fmt.Sprintf("caches=%d/buckets=%d", caches, buckets), func(b *testing.B) {
				srv := redistest.Shared(b)
				srv.FlushAll(b)
				p := join(b, open(b, srv.URL()))
				round, best := uint64(0), time.Hour
				var server, own float64
				for b.Loop() {
					b.StopTimer()
					round++
					for i := range caches {
						p.busy(fmt.Sprint("cache", i), round, buckets)
					}
					s, o := cpuOf(b, srv), cpuOfOurs()
					began := time.Now()
					b.StartTimer()
					p.flush(false)
					b.StopTimer()
					best = min(best, time.Since(began))
					server, own = server+cpuOf(b, srv)-s, own+cpuOfOurs()-o
					b.StartTimer()
				}
				b.ReportMetric(server/float64(round), "server-µs")
				b.ReportMetric(own/float64(round), "own-µs")
				b.ReportMetric(float64(best.Microseconds()), "best-µs")
			})
		}
	}
}

// cpuOf is how long the server has computed, in microseconds.
func cpuOf(b *testing.B, srv *redistest.Server) (us float64) {
	info, _ := srv.Do(b, "INFO", "cpu").ToString()
	for line := range strings.Lines(info) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ":")
		if name == "used_cpu_user_main_thread" || name == "used_cpu_sys_main_thread" {
			s, _ := strconv.ParseFloat(value, 64)
			us += s * 1e6
		}
	}
	return us
}

func cpuOfOurs() float64 {
	var r syscall.Rusage
	syscall.Getrusage(syscall.RUSAGE_SELF, &r)
	return float64(r.Utime.Nano()+r.Stime.Nano()) / 1e3
}

func BenchmarkRead(b *testing.B) {
	srv := redistest.Shared(b)
	srv.FlushAll(b)
	p := join(b, open(b, srv.URL()))
	for i := range 20 {
		p.busy(fmt.Sprint("cache", i), 1, 20)
	}
	p.flush(false)
	now := minuteOf(time.Now())
	for i := range 20 {
		for m := now - aDay; m < now; m++ {
			srv.Do(b, "COPY", minuteKey(fmt.Sprint("cache", i), now), minuteKey(fmt.Sprint("cache", i), m))
		}
	}
	s := open(b, srv.URL())
	for name, back := range map[string]time.Duration{"minute": time.Minute, "hour": time.Hour, "day": 24 * time.Hour} {
		b.Run(name+"/first", func(b *testing.B) {
			began, n := cpuOf(b, srv), 0.0
			for b.Loop() {
				read(b, NewReader(s), fleet.Query{Back: back})
				n++
			}
			b.ReportMetric((cpuOf(b, srv)-began)/n, "server-µs")
		})
		b.Run(name+"/again", func(b *testing.B) {
			r := NewReader(s)
			read(b, r, fleet.Query{Back: back})
			for b.Loop() {
				read(b, r, fleet.Query{Back: back})
			}
		})
	}
}
