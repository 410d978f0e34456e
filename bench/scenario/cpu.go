package scenario

import (
	"runtime"
	"runtime/metrics"
	"syscall"
	"time"
)

// busy is how long processors were busy for this process.
func busy() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// collected is how long processors were busy with the collector. The runtime counts at the end of each collection, so that one is
// made first.
func collected() time.Duration {
	runtime.GC()
	sample := []metrics.Sample{{Name: "/cpu/classes/gc/total:cpu-seconds"}}
	metrics.Read(sample)
	return time.Duration(sample[0].Value.Float64() * 1e9)
}

// collectorShare is the collector's part of what processors did for this process while f ran.
func collectorShare(f func() error) (float64, error) {
	before, began := collected(), busy()
	if err := f(); err != nil {
		return 0, err
	}
	took := busy() - began
	after := collected()
	last := collected() - after // what the one costs that was made to count
	return max(0, (after-before-last).Seconds()) / took.Seconds(), nil
}
