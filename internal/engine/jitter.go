package engine

import (
	"math"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/nearside/nearside/internal/store"
)

// jittered shortens ttl by up to its share jitter. How much is a function of the key alone, so that every process knows
// the life of every value.
func jittered(ttl time.Duration, jitter float64, key string) time.Duration {
	ttl = store.Bounded(ttl) // the largest ones would be another number as a float64
	if jitter <= 0 {
		return ttl
	}
	h := float64(xxh3.HashString(key)) / math.MaxUint64
	return max(time.Duration(float64(ttl)*(1-jitter*h)), time.Millisecond)
}
