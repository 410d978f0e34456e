package cli

import (
	"net"
	"runtime"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// leaveACore gives Redis a core of its own where it runs on this machine. Two programs that hand each other small messages
// lose more by taking turns on all cores than one of them loses by having one less: with two cores and flushDelay, hits
// through serve went from 0.71 to 0.88 of Redis alone. GOMAXPROCS in the environment has the last word: it
// is the way to switch this off. left is false if nothing was changed.
func leaveACore(to redisurl.Target, lookup func(string) string) (cores int, left bool) {
	cores = max(1, runtime.NumCPU()-1)
	if lookup("GOMAXPROCS") != "" || !here(to) || runtime.GOMAXPROCS(0) <= cores {
		return runtime.GOMAXPROCS(0), false
	}
	runtime.GOMAXPROCS(cores)
	return cores, true
}

// here reports whether a single Redis runs on this machine.
func here(to redisurl.Target) bool {
	if to.Mode != redisurl.Single {
		return false
	}
	host, _, _ := net.SplitHostPort(to.Addresses[0])
	ip := net.ParseIP(host)
	return to.Network == "unix" || host == "localhost" || ip != nil && ip.IsLoopback()
}
