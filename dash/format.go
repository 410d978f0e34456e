package dash

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/nearside/nearside/internal/human"
)

// none stands where there is no number.
const none = "–"

// space stands between a number and its unit, which are not torn apart.
const space = "\u00a0"

// number writes a count with all its digits: 12,345.
func number(n uint64) string {
	text := strconv.FormatUint(n, 10)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// percent writes a share.
func percent(f float64) string { return human.Percent(f) + space + "%" }

func byteSize(n int64) string { return strings.ReplaceAll(human.Bytes(n), " ", space) }

// span writes how long something took.
func span(d time.Duration) string {
	if d <= 0 {
		return none
	}
	text := human.Duration(d)
	unit := strings.LastIndexAny(text, "0123456789") + 1
	return text[:unit] + space + text[unit:]
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

// name writes a key or another text that anybody may have chosen, on one line and cut.
func name(text string) string {
	if text == "" {
		return ""
	}
	if len(text) <= longest {
		return human.Name(text)
	}
	cut := text[:longest]
	for i := 0; i < utf8.UTFMax-1 && !utf8.ValidString(cut); i++ { // of a character that was cut through
		cut = cut[:len(cut)-1]
	}
	return human.Name(cut) + "…"
}

var functions = template.FuncMap{
	"rate": human.Rate, "count": human.Count, "number": number, "percent": percent, "bytes": byteSize, "span": span, "life": life, "setting": setting, "name": name,
	"ubytes": func(n uint64) string { return byteSize(int64(min(n, math.MaxInt64))) },
	"clock":  func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 MST") },
	"iso":    func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
	"float":  func(n uint64) float64 { return float64(n) },
	"int64":  func(f float64) int64 { return int64(f) },
	"uint":   func(n int) uint64 { return uint64(max(n, 0)) },
	"mul":    func(a, b float64) float64 { return a * b },
}
