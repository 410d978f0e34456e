package dash

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// none stands where there is no number.
const none = "–"

// space stands between a number and its unit, which are not torn apart.
const space = "\u00a0"

// short writes a number in three digits: 13.9k.
func short(f float64) string {
	switch a := math.Abs(f); {
	case a == 0:
		return "0"
	case a < 0.01:
		return "<0.01"
	case a < 0.995:
		return strconv.FormatFloat(f, 'f', 2, 64)
	case a < 9.95 && a != math.Trunc(a):
		return strconv.FormatFloat(f, 'f', 1, 64)
	case a < 999.5:
		return strconv.FormatFloat(f, 'f', 0, 64)
	case a < 999_500:
		return digits(f/1e3) + "k"
	case a < 999_500_000:
		return digits(f/1e6) + "M"
	}
	return digits(f/1e9) + "G"
}

func digits(f float64) string {
	precision := 0
	switch {
	case f < 9.995:
		precision = 2
	case f < 99.95:
		precision = 1
	}
	text := strconv.FormatFloat(f, 'f', precision, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimSuffix(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// number writes a count with all its digits: 12,345.
func number(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// percent writes a share. What is not all never reads as 100 %, and what is not nothing never as 0 %.
func percent(f float64) string {
	switch {
	case f > 0 && f < 0.001:
		return "<0.1" + space + "%"
	case f < 1 && f > 0.999:
		return ">99.9" + space + "%"
	case f == 0 || f == 1:
		return strconv.Itoa(int(100*f)) + space + "%"
	}
	return strconv.FormatFloat(100*f, 'f', 1, 64) + space + "%"
}

func byteSize(n int64) string {
	f := float64(n)
	for i, unit := range []string{"B", "KB", "MB", "GB"} {
		if f < 999.5 || i == 3 {
			return digits(f) + space + unit
		}
		f /= 1024
	}
	return ""
}

// span writes how long something took.
func span(d time.Duration) string {
	switch {
	case d <= 0:
		return none
	case d < time.Microsecond:
		return strconv.Itoa(int(d)) + space + "ns"
	case d < 999500*time.Nanosecond:
		return digits(float64(d)/1e3) + space + "µs"
	case d < 999500*time.Microsecond:
		return digits(float64(d)/1e6) + space + "ms"
	}
	return digits(d.Seconds()) + space + "s"
}

// life writes a TTL or an age, in its two greatest units: 1 h 30 min.
func life(d time.Duration) string {
	if d < time.Second {
		return span(d)
	}
	d = d.Round(time.Second)
	var parts []string
	for _, u := range []struct {
		size time.Duration
		name string
	}{{24 * time.Hour, "d"}, {time.Hour, "h"}, {time.Minute, "min"}, {time.Second, "s"}} {
		if n := d / u.size; n > 0 {
			parts = append(parts, fmt.Sprintf("%d%s%s", n, space, u.name))
			d -= n * u.size
		} else if len(parts) > 0 {
			break
		}
	}
	return strings.Join(parts[:min(len(parts), 2)], " ")
}

// setting writes a duration that zero switches off.
func setting(d time.Duration) string {
	if d <= 0 {
		return "off"
	}
	return life(d)
}

const longest = 160 // bytes of a key that are shown

// name writes a key or another text that anybody may have chosen, on one line: as it is if one can see all of it, else as a
// Go string.
func name(text string) string {
	cut := text
	if len(cut) > longest {
		cut = cut[:longest]
		for i := 0; i < utf8.UTFMax-1 && !utf8.ValidString(cut); i++ { // of a character that was cut through
			cut = cut[:len(cut)-1]
		}
	}
	plain := utf8.ValidString(cut)
	for _, r := range cut {
		plain = plain && unicode.IsPrint(r)
	}
	if !plain {
		cut = strconv.Quote(cut)
	}
	if len(text) > longest {
		cut += "…"
	}
	return cut
}

var functions = template.FuncMap{
	"short": short, "number": number, "percent": percent, "bytes": byteSize, "span": span, "life": life, "setting": setting, "name": name,
	"ubytes": func(n uint64) string { return byteSize(int64(min(n, math.MaxInt64))) },
	"clock":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") },
	"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"float":  func(n uint64) float64 { return float64(n) },
	"int64":  func(f float64) int64 { return int64(f) },
	"uint":   func(n int) uint64 { return uint64(max(n, 0)) },
	"mul":    func(a, b float64) float64 { return a * b },
}
