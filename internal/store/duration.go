package store

import (
	"math"
	"time"
)

// Forever is the longest duration that a setting can ask for. It leaves room for sums: a value stands in the store for its TTL and
// its stale time together, and its age is told from what is left of that sum, which must therefore be exact.
const Forever = 100 * 365 * 24 * time.Hour

// Bounded returns d, or Forever if that is shorter.
func Bounded(d time.Duration) time.Duration { return min(d, Forever) }

// Sum adds durations that are not negative. The sum is the longest duration if it would wrap around.
func Sum(ds ...time.Duration) (sum time.Duration) {
	for _, d := range ds {
		if sum += d; sum < 0 {
			return math.MaxInt64
		}
	}
	return sum
}
