package e2e

import (
	"fmt"
	"strconv"

	"github.com/nearside/nearside/internal/store/redis/topology"
)

// tagIn returns a text whose braces put a key into one of the slots first..last; of several, the nth.
func tagIn(first, last uint16, nth int) string {
	for i := 0; ; i++ {
		tag := "{" + strconv.Itoa(i) + "}"
		if slot := topology.Slot(tag); first <= slot && slot <= last {
			if nth == 0 {
				return tag
			}
			nth--
		}
	}
}

// keysOf returns n keys of one slot.
func keysOf(tag string, n int) (keys []string) {
	for i := range n {
		keys = append(keys, fmt.Sprintf("%s%d", tag, i))
	}
	return keys
}

// spread returns n keys of as many slots.
func spread(n int) (keys []string) {
	for i := range n {
		keys = append(keys, "s"+strconv.Itoa(i))
	}
	return keys
}
