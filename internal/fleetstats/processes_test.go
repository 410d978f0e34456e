package fleetstats

import (
	"cmp"
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store/redis"
	"github.com/nearside/nearside/internal/tally"
)

const (
	childURL  = "NEARSIDE_FLEET_TEST_URL"
	childSeed = "NEARSIDE_FLEET_TEST_SEED"
	measured  = 50_000 // durations of each process
	routines  = 4
)

// durations are those of one goroutine of one process: each has another middle.
func durations(seed, routine int) []time.Duration {
	rng := rand.New(rand.NewPCG(uint64(seed), uint64(routine)))
	out := make([]time.Duration, measured/routines)
	for i := range out {
		out[i] = time.Duration(float64(seed+1) * 100_000 * math.Exp(rng.NormFloat64()*1.5))
	}
	return out
}

// child is a process that measures, reports and ends.
func child() int {
	seed, _ := strconv.Atoi(os.Getenv(childSeed))
	s, err := redis.Open(context.Background(), os.Getenv(childURL), redis.Options{Require: true, Budget: eventually.Limit})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer s.Close()
	var rec tally.Recorder
	r := Start(Config{Redis: s, Caches: func() map[string]Local {
		var l Local
		l.Latency[tally.StoreTier] = rec.Histogram()
		l.Counts[tally.Store] = l.Latency[tally.StoreTier].N()
		return map[string]Local{"user": l}
	}})
	var all sync.WaitGroup
	for g := range routines {
		all.Go(func() {
			for i, d := range durations(seed, g) {
				rec.Record(d)
				if i%5000 == 0 {
					r.flush(false)
				}
			}
		})
	}
	all.Wait()
	r.Close()
	return 0
}

// The quantiles of several processes together are within 9 % of the exact ones.
func TestQuantilesOfManyProcesses(t *testing.T) {
	srv := redistest.Shared(t)
	srv.FlushAll(t)
	const processes = 3
	var running sync.WaitGroup
	var exact []time.Duration
	for seed := range processes {
		cmd := exec.Command(os.Args[0])
		cmd.Env = append(os.Environ(), childURL+"="+srv.URL(), childSeed+"="+strconv.Itoa(seed))
		running.Go(func() {
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("process %d: %v\n%s", seed, err, out)
			}
		})
		for g := range routines {
			exact = append(exact, durations(seed, g)...)
		}
	}
	running.Wait()
	slices.SortFunc(exact, cmp.Compare)
	v := read(t, NewReader(open(t, srv.URL())), fleet.Query{})
	c := cacheOf(t, v, "user")
	if n := c.Hour.Store; n != processes*measured || len(v.Members) != processes {
		t.Errorf("%d reads of %d processes, want %d of %d", n, len(v.Members), processes*measured, processes)
	}
	for _, q := range []float64{0.5, 0.9, 0.99, 0.999} {
		want, got := exact[int(math.Ceil(q*float64(len(exact))))-1], c.Hour.StoreLatency.Quantile(q)
		off := float64(got)/float64(want) - 1
		if math.Abs(off) > 0.09+0.002 { // a bucket is 2^¼ wide: half of it is 9.05 %
			t.Errorf("the quantile %v is %v, and exactly %v", q, got, want)
		}
		t.Logf("the quantile %v is %v, exactly %v: %+.1f %%", q, got, want, off*100)
	}
	srv.Invariants(t)
}
