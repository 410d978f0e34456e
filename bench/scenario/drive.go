package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// drive is what a number of callers do at once, for a while.
type drive struct {
	callers int
	each    time.Duration
	ids     []int // what they ask for, each from a place of his own; nil where the operation knows
	silent  bool  // without latencies: two looks at the clock cost more than a hit in the process
}

// driven is what came of it.
type driven struct {
	n           int
	perSecond   float64
	allocations float64
	p50, p99    time.Duration
}

// caller is one of them.
type caller struct {
	ids []int
	at  int
}

// next returns what he asks for next.
func (c *caller) next() int {
	if c.at++; c.at >= len(c.ids) {
		c.at = 0
	}
	return c.ids[c.at]
}

// zipf returns many ids below n of which few are asked for often: the first a tenth of the time.
func zipf(n int) []int {
	z := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), 1.01, 1, uint64(n-1))
	ids := make([]int, min(max(2*n, 1<<16), 1<<21))
	for i := range ids {
		ids[i] = int(z.Uint64())
	}
	return ids
}

// run drives op until the time is over. The first error ends it.
func (d drive) run(op func(ctx context.Context, c *caller) error) (driven, error) {
	var (
		stop    atomic.Bool
		first   atomic.Pointer[error]
		wg      sync.WaitGroup
		ns      = make([]int, d.callers*16) // apart from each other, for the caches of the processors
		latency = make([]*hdrhistogram.Histogram, d.callers)
		ctx, no = context.WithCancel(context.Background())
	)
	defer no()
	for i := range d.callers {
		if !d.silent {
			latency[i] = hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 2)
		}
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	began := time.Now()
	for i := range d.callers {
		wg.Go(func() {
			own, cancel := context.WithCancel(ctx) // as the requests of a server have
			defer cancel()
			c := &caller{ids: d.ids}
			if len(d.ids) > 0 {
				c.at = rand.IntN(len(d.ids))
			}
			err := caught(func() error {
				for !stop.Load() {
					var at time.Time
					if !d.silent {
						at = time.Now()
					}
					if err := op(own, c); err != nil {
						return err
					}
					if !d.silent {
						_ = latency[i].RecordValue(max(1, time.Since(at).Microseconds()))
					}
					ns[i*16]++
				}
				return nil
			})
			if err != nil {
				first.CompareAndSwap(nil, &err)
				stop.Store(true)
			}
		})
	}
	done := make(chan struct{})
	go func() { wg.Wait(); close(done) }()
	select {
	case <-done:
	case <-time.After(d.each):
	}
	stop.Store(true)
	select {
	case <-done:
	case <-time.After(patience):
		return driven{}, fmt.Errorf("not all of %d callers were answered within %v", d.callers, patience)
	}
	took := time.Since(began)
	runtime.ReadMemStats(&after)
	if err := first.Load(); err != nil {
		return driven{}, *err
	}
	var out driven
	all := hdrhistogram.New(1, int64(time.Minute/time.Microsecond), 2)
	for i := range d.callers {
		out.n += ns[i*16]
		if !d.silent {
			all.Merge(latency[i])
		}
	}
	if out.n == 0 {
		return out, fmt.Errorf("no operation came to its end in %v", took)
	}
	out.perSecond = float64(out.n) / took.Seconds()
	out.allocations = float64(after.Mallocs-before.Mallocs) / float64(out.n)
	out.p50 = time.Duration(all.ValueAtQuantile(50)) * time.Microsecond
	out.p99 = time.Duration(all.ValueAtQuantile(99)) * time.Microsecond
	return out, nil
}
