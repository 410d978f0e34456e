package scenario

import "runtime/metrics"

// processors is how many seconds of processors this process has spent: on the collector, and in all.
type processors struct{ collector, busy float64 }

func cpuTime() processors {
	samples := []metrics.Sample{
		{Name: "/cpu/classes/gc/total:cpu-seconds"}, {Name: "/cpu/classes/total:cpu-seconds"}, {Name: "/cpu/classes/idle:cpu-seconds"},
		{Name: "/cpu/classes/gc/mark/idle:cpu-seconds"}, // of processors that had nothing else to do
	}
	metrics.Read(samples)
	v := func(i int) float64 { return samples[i].Value.Float64() }
	return processors{v(0) - v(3), v(1) - v(2) - v(3)}
}
