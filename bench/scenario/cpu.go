package scenario

import (
	"runtime"
	"runtime/metrics"
)

// processors is how many seconds of them this process has had, and how many of those the collector, as the runtime counts.
type processors struct{ collector, busy float64 }

// spent makes a collection first, since the runtime counts at the end of each.
func spent() processors {
	runtime.GC()
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"},
	}
	metrics.Read(samples)
	v := func(i int) float64 { return samples[i].Value.Float64() }
	return processors{v(0), v(1) - v(2)}
}

func (p processors) minus(q processors) processors {
	return processors{p.collector - q.collector, p.busy - q.busy}
}

// collectorShare is the collector's part of the processor time of this process while f ran.
func collectorShare(f func() error) (float64, error) {
	before := spent()
	if err := f(); err != nil {
		return 0, err
	}
	after := spent()
	last := spent().minus(after) // what the one costs that was made to count
	of := after.minus(before).minus(last)
	return max(0, of.collector/of.busy), nil
}
