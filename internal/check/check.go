// Package check examines Redis servers as caches: what is wrong with them, why it matters, and the command that mends it.
package check

import "fmt"

// Level says how a check ended.
type Level string

const (
	OK      Level = "ok"
	Warn    Level = "warn"
	Fail    Level = "fail"
	Skipped Level = "skipped" // it could not be looked at, which is no finding
)

// Finding is what one check found.
type Finding struct {
	Check string `json:"check"`
	Level Level  `json:"level"`
	Text  string `json:"text"`
	Why   string `json:"why,omitempty"` // it matters
	Fix   string `json:"fix,omitempty"` // the command that mends it, or what to do
}

// Bad reports whether there is something to mend.
func (f Finding) Bad() bool { return f.Level == Warn || f.Level == Fail }

// One returns a single finding.
func One(check string, l Level, text, why, fix string) []Finding {
	return []Finding{{Check: check, Level: l, Text: text, Why: why, Fix: fix}}
}

// Passed returns the finding of a check that found nothing to mend.
func Passed(check, format string, args ...any) []Finding {
	return One(check, OK, fmt.Sprintf(format, args...), "", "")
}
