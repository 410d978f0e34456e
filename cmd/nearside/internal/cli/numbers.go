package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
)

// ago is a time that has passed, or a window, in words short enough for a table.
func ago(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	case d < 2*time.Hour:
		return fmt.Sprintf("%dm", d/time.Minute)
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", d/time.Hour)
	}
	return fmt.Sprintf("%dd", d/(24*time.Hour))
}

var bars = []rune("▁▂▃▄▅▆▇█")

// spark is a curve from zero to the highest value, of as many values as there is room for, the newest last.
func spark(values []float64, room int) string {
	values = values[max(len(values)-room, 0):]
	most := 0.0
	for _, v := range values {
		most = max(most, v)
	}
	var b strings.Builder
	for _, v := range values {
		i := 0
		if most > 0 {
			i = int(v / most * float64(len(bars)-1))
			if v > 0 {
				i = max(i, 1)
			}
		}
		b.WriteRune(bars[i])
	}
	return b.String()
}

// alive counts the processes that report, of a cache, or all.
func alive(v *fleet.View, cache string) (n int) {
	for i := range v.Members {
		if _, has := v.Members[i].Caches[cache]; v.Members[i].Alive(v.At) && (has || cache == "") {
			n++
		}
	}
	return n
}
