package e2e

// What the layer promises beside the laws. Each is asserted where it is true.
const (
	// repeatsUndelivered: an invalidation that could not reach Redis is kept and sent when it is back; until then its
	// process reads the key past the cache. False: a write that returned ErrUnavailable is outside the law until its key
	// is invalidated again.
	repeatsUndelivered = true

	// breaks: beside a Redis that does not answer, reads are loaded at once after a few that have paid the budget. False:
	// each pays it.
	breaks = true
)
