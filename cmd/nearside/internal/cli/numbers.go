package cli

import (
	"fmt"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
)

// rate is a number per second, in five columns at most.
func rate(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 0.01:
		return "<0.01"
	case n < 0.1:
		return fmt.Sprintf("%.2f", n)
	case n < 9.95:
		return fmt.Sprintf("%.1f", n)
	}
	return count(n)
}

// count is a number in five columns at most.
func count(n float64) string {
	if n < 99_999.5 {
		return fmt.Sprintf("%.0f", n)
	}
	unit := ""
	for _, u := range []string{"k", "M", "G", "T", "P"} {
		if n < 999.5 {
			break
		}
		n, unit = n/1000, u
	}
	if n < 9.95 {
		return fmt.Sprintf("%.1f%s", n, unit)
	}
	return fmt.Sprintf("%.0f%s", n, unit)
}

// percent is a share in four columns at most. What is not all is not shown as 100, and what is not nothing not as 0.
func percent(share float64) string {
	switch {
	case share > 0 && share < 0.0005:
		return "<0.1"
	case share < 1:
		return fmt.Sprintf("%.1f", min(100*share, 99.9))
	}
	return "100"
}

// took is a duration in five columns at most; "-": nothing was measured.
func took(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	n, unit := float64(d), "ns"
	for _, u := range []string{"µs", "ms", "s"} {
		if n < 999.5 {
			break
		}
		n, unit = n/1000, u
	}
	if n < 9.95 && unit != "ns" {
		return fmt.Sprintf("%.1f%s", n, unit)
	}
	return fmt.Sprintf("%.0f%s", n, unit)
}

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

// several is a number of something.
func several(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}
