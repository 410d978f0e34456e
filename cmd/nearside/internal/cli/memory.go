package cli

import (
	"runtime/debug"
)

// The memory that a serving process is to need for more than its store.
const (
	clientBytes = 256 << 20 // of clients: what waits for slow readers, unfinished and queued commands, replies under way
	nearBytes   = 256 << 20 // of values that are in the process by 'near', of all caches together
	ownBytes    = 256 << 20 // of the program itself, and of what is not collected yet
)

// limitMemory has the garbage collector work harder before the process needs more than what is counted: what clients have
// sent and were sent is garbage a moment later, and the heap would else grow to twice what was ever in use at once. GOMEMLIMIT in
// the environment has the last word.
func limitMemory(lookup func(string) string, store int64, near bool) {
	if lookup("GOMEMLIMIT") != "" {
		return
	}
	limit := clientBytes + ownBytes + store
	if near {
		limit += nearBytes
	}
	debug.SetMemoryLimit(limit)
}
