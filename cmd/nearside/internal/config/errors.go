package config

import (
	"cmp"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Error is something wrong in one place.
type Error struct {
	Where string // file:line, --flag or VARIABLE
	Text  string
	line  int
}

// Errors is everything that is wrong. Its text is a line for each, in the order of the file.
type Errors []Error

func (es Errors) Error() string {
	lines := make([]string, len(es))
	for i, e := range es {
		lines[i] = e.Where + ": " + e.Text
	}
	return strings.Join(lines, "\n")
}

func (es Errors) sorted() Errors {
	slices.SortStableFunc(es, func(a, b Error) int { return cmp.Compare(a.line, b.line) })
	return es
}

// userinfo is all that may be a user and a password in what is no URL: up to the last @, but for a scheme in front.
var userinfo = regexp.MustCompile(`(?s)^([a-zA-Z][a-zA-Z0-9+.-]*:(?://)?|[a-zA-Z][a-zA-Z0-9+.-]*//)?.*@`)

// Redact returns a URL without its password, also one that cannot be parsed.
func Redact(rawURL string) string {
	u, err := url.Parse(rawURL)
	if err == nil && u.Host != "" {
		if u.User != nil {
			if _, ok := u.User.Password(); !ok {
				u.User = url.User("xxxxx") // redis://secret@host
			}
		}
		for name := range u.Query() {
			if strings.Contains(strings.ToLower(name), "pass") {
				u.RawQuery = "xxxxx"
			}
		}
		return u.Redacted()
	}
	before, query, _ := strings.Cut(rawURL, "?")
	if strings.Contains(strings.ToLower(query), "pass") {
		rawURL = before + "?xxxxx"
	}
	return userinfo.ReplaceAllString(rawURL, "${1}xxxxx@")
}
