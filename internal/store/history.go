package store

import "context"

// Historic is a Store whose data set can go back in time: a server is started from an old snapshot, a replica that is far
// behind is promoted, a backup is restored. A store in this process cannot.
//
// The store notices that, and tells a Keeper which caches must not be read, and which must be emptied first.
type Historic interface {
	// Keep names who is told. It must be called before Register.
	Keep(k Keeper)
	// Register adds a cache by the glob of its keys. If it is not known that the store holds nothing of an older data set
	// there, it calls Bar before it returns.
	Register(glob string)
	// Empty is Sweep, as fast as the server bears it: nothing is read meanwhile.
	Empty(ctx context.Context, glob string, ours func(key string) bool) error
	// Emptied says that the cache was swept as a whole after Keeper.Empty was called with this number.
	Emptied(glob string, number uint64)
}

// Keeper is told what of a Historic store may be read. The caches are named by the globs of Register. No method may wait for
// anything, or call the store.
type Keeper interface {
	// Bar forbids to read caches until Free, and to use the answers to reads that are under way.
	Bar(globs []string)
	// Free ends Bar.
	Free(globs []string)
	// Empty says that caches may hold values that are older than what was invalidated: they must be swept before they are
	// read, and Emptied called then. Bar does not matter to that.
	Empty(globs []string, number uint64)
	// Spare ends Empty, if it was called with this number last: another process has swept the caches.
	Spare(globs []string, number uint64)
}
