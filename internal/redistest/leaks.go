package redistest

import "go.uber.org/goleak"

// Delayed are the goroutines of the Redis client that outlive it by some seconds, and end by themselves: those that close the
// connections to nodes that have left, and those that wait for the next look at a cluster.
func Delayed() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
	}
}
