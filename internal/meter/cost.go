package meter

import (
	"math"
	"math/rand/v2"
	"sync/atomic"
	"time"
)

// cost is the moving mean of how long a load takes, in nanoseconds; zero before the first.
type cost struct{ mean atomic.Int64 }

// add counts a load. Two at once may count as one: it is an estimate.
func (c *cost) add(d time.Duration) {
	old := c.mean.Load()
	if old == 0 {
		c.mean.Store(max(int64(d), 1))
		return
	}
	c.mean.Store(max(old+(int64(d)-old)/8, 1))
}

// due decides whether a value that is fresh for left is loaded anew now. By the rule of XFetch (Vattani, Chierichetti,
// Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015) it is if cost x eagerness x -ln(random) reaches
// left: rarely when much is left, nearly always at the end, and the earlier the more a load costs, so that of many readers
// one begins before the value is stale.
func (c *cost) due(left time.Duration, eagerness float64) bool {
	mean := float64(c.mean.Load()) * eagerness
	if mean == 0 || float64(left) > 40*mean { // -ln of the smallest random number is 37
		return false
	}
	return mean*-math.Log(rand.Float64()) >= float64(left)
}
