package fleetstats

import (
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/tally"
)

// On the store in memory a day's numbers are kept in the process.
func TestADayInMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := join(t, nil)
		began := time.Now()
		var reads atomic.Uint64
		p.count("user", func(c *Local) {
			c.Config, c.NearEntries = "aaaa", 7
			c.Hot = func(int) []hotkeys.Key { return []hotkeys.Key{{Key: "hot", Reads: reads.Swap(0)}} }
		})
		for range 25 * 60 * 2 { // 25 h
			p.count("user", func(c *Local) {
				c.Counts[tally.Near] += 27
				c.Counts[tally.Load] += 3
				c.Counts[tally.LoadOK] += 3
				c.Counts[tally.SavedMicros] += 15_000_000
				c.Latency[tally.NearTier][4] += 27
			})
			reads.Add(30)
			time.Sleep(30 * time.Second)
		}
		time.Sleep(5 * time.Second) // into the next minute
		v := read(t, p.Reader(), fleet.Query{})
		c := cacheOf(t, v, "user")
		for name, w := range map[string]*fleet.Window{"now": &c.Now, "hour": &c.Hour, "day": &c.Day, "all": &v.Day} {
			if rate := w.Rate(w.Reads()); rate < 0.7 || rate > 1.3 {
				t.Errorf("%s: %v reads/s in %v, want 1", name, rate, w.Span)
			}
			if saved := w.SavedPerSecond(); saved < 0.35 || saved > 0.65 {
				t.Errorf("%s: %v s saved each second, want 0.5", name, saved)
			}
			if w.HitRatio() != 0.9 || w.Share(w.Near) != 0.9 {
				t.Errorf("%s: the hit ratio is %v, want 0.9", name, w.HitRatio())
			}
		}
		if len(c.Minutes) != 60 || len(c.Tens) != 144 || c.Minutes[30].Near < 45 || c.Tens[7].NearLatency.P99 == 0 {
			t.Errorf("%d and %d points: %+v", len(c.Minutes), len(c.Tens), c.Minutes[30])
		}
		if len(p.Reporter.caches["user"].minutes) > 60 || len(p.Reporter.caches["user"].tens) > 145 {
			t.Error("old minutes are kept")
		}
		if len(c.Hot) != 1 || c.Hot[0].PerSecond < 0.7 || c.Hot[0].PerSecond > 1.6 || c.NearEntries != 7 || c.Drifts() {
			t.Errorf("hot %+v, near %d, settings %v", c.Hot, c.NearEntries, c.Configs)
		}
		if len(v.Members) != 1 || !v.Members[0].Alive(v.At) || !v.Since.Equal(began) {
			t.Errorf("the members are %+v, since %v", v.Members, v.Since)
		}
		p.Close()
		if v = read(t, p.Reader(), fleet.Query{}); v.Members[0].Alive(v.At) {
			t.Error("a process that is closed is alive")
		}
	})
}
