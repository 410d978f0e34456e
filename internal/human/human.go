// Package human writes numbers, durations and texts for people: on a terminal and on the web page.
package human

import (
	"fmt"
	"time"
)

// Count writes a number in five columns at most.
func Count(n float64) string {
	if n < 99_999.5 {
		return fmt.Sprintf("%.0f", n)
	}
	n, unit := scaled(n, "", 1000, "k", "M", "G", "T", "P")
	return short(n) + unit
}

// Rate writes a number per second in five columns at most.
func Rate(n float64) string {
	switch {
	case n == 0:
		return "0"
	case n < 0.01:
		return "<0.01"
	case n < 0.1:
		return fmt.Sprintf("%.2f", n)
	case n < 9.95:
		return short(n)
	}
	return Count(n)
}

// Percent writes a share as a percentage, without the sign and in four columns at most. What is not all is not shown as 100, and
// what is not nothing not as 0.
func Percent(share float64) string {
	switch {
	case share > 0 && share < 0.0005:
		return "<0.1"
	case share < 1:
		return fmt.Sprintf("%.1f", min(100*share, 99.9))
	}
	return "100"
}

// Duration writes how long something took, in five columns at most. It returns "-" if nothing was measured.
func Duration(d time.Duration) string {
	if d <= 0 {
		return "-"
	}
	n, unit := scaled(float64(d), "ns", 1000, "µs", "ms", "s")
	if unit == "ns" {
		return fmt.Sprintf("%.0f%s", n, unit)
	}
	return short(n) + unit
}

// Bytes writes a size.
func Bytes(n int64) string {
	v, unit := scaled(float64(n), "B", 1024, "KiB", "MiB", "GiB", "TiB")
	if unit == "B" {
		return fmt.Sprintf("%d B", n)
	}
	return fmt.Sprintf("%.1f %s", v, unit)
}

// Several writes a number of things: 1 cache, 2 caches.
func Several[N int | int64](n N, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// scaled divides n by base for each unit that it needs. It returns the quotient and its unit.
func scaled(n float64, unit string, base float64, units ...string) (float64, string) {
	for _, u := range units {
		if n < base-0.5 {
			break
		}
		n, unit = n/base, u
	}
	return n, unit
}

// short writes a number in three columns, below 10 with one decimal.
func short(n float64) string {
	if n < 9.95 {
		return fmt.Sprintf("%.1f", n)
	}
	return fmt.Sprintf("%.0f", n)
}
