// Package pattern is the form of a cache's keys: user:{id}. It finds the cache of a key and the parameters in it.
package pattern

import (
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nearside/nearside/internal/human"
)

// Type is what a parameter may be.
type Type string

const (
	Text Type = "text" // UTF-8 without NUL, at most maxText bytes
	Int  Type = "int"  // 0 or -?[1-9][0-9]* from -2^63 to 2^64-1, so that no row has two keys
	UUID Type = "uuid" // in lower case
)

// maxText is the length in bytes of the longest text parameter.
const maxText = 512

// Pattern is a parsed form of keys: text, then parameters with text between and behind them.
type Pattern struct {
	text   string
	first  string   // before the first parameter
	after  []string // behind each parameter; what follows a parameter begins with ':' or is the end
	params []string
	types  []Type
}

// ParamForm is the regular expression of a parameter's name.
const ParamForm = `[a-z_][a-z0-9_]*`

var paramName = regexp.MustCompile(`^` + ParamForm + `$`)

// CheckParam returns an error if a parameter cannot have this name.
func CheckParam(name string) error {
	if !paramName.MatchString(name) {
		return fmt.Errorf("the parameter {%s}: expected a name of a-z, 0-9 and '_'", name)
	}
	return nil
}

// Parse reads a pattern. {name} stands for one or more bytes other than ':', {{ and }} for literal braces. types says
// what a parameter may be; text if it is not there.
func Parse(text string, types map[string]Type) (*Pattern, error) {
	p := &Pattern{text: text}
	var lit strings.Builder
	flush := func() {
		if len(p.params) == 0 {
			p.first = lit.String()
		} else {
			p.after = append(p.after, lit.String())
		}
		lit.Reset()
	}
	for rest := text; rest != ""; {
		switch {
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			lit.WriteByte(rest[0])
			rest = rest[2:]
		case rest[0] == '}':
			return nil, errors.New("a '}' without its '{': a literal brace is written '}}'")
		case rest[0] == '{':
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				return nil, errors.New("a '{' without its '}': a literal brace is written '{{'")
			}
			name := rest[1:end]
			if err := CheckParam(name); err != nil {
				return nil, err
			}
			for _, other := range p.params {
				if other == name {
					return nil, fmt.Errorf("the parameter {%s} stands there twice", name)
				}
			}
			flush()
			t, ok := types[name]
			if !ok {
				t = Text
			}
			p.params, p.types = append(p.params, name), append(p.types, t)
			rest = rest[end+1:]
		default:
			lit.WriteByte(rest[0])
			rest = rest[1:]
		}
	}
	flush()
	return p, p.check()
}

func (p *Pattern) check() error {
	switch {
	case p.first == "":
		return errors.New("it must begin with text, such as user:{id}")
	case strings.HasPrefix(p.first, "~"), strings.HasPrefix(p.first, "nearside:"):
		return errors.New("keys that begin with '~' or 'nearside:' are the layer's own")
	}
	for i, lit := range p.after {
		if last := i == len(p.after)-1; lit == "" && last {
			continue
		}
		if !strings.HasPrefix(lit, ":") {
			return fmt.Errorf("behind {%s} a ':' or the end is expected, so that a key has one reading", p.params[i])
		}
	}
	if n := len(p.text); n >= 3 && p.text[n-3:n-1] == ":~" {
		return fmt.Errorf("keys that end in %q are the layer's own", p.text[n-3:])
	}
	return nil
}

// String returns the pattern as it was written.
func (p *Pattern) String() string { return p.text }

// Params returns the names of the parameters in their order.
func (p *Pattern) Params() []string { return p.params }

// Types returns what the parameters may be, in their order.
func (p *Pattern) Types() []Type { return p.types }

// Fit says how a key relates to a pattern.
type Fit int

const (
	None   Fit = iota // it has another form
	Misfit            // it has the form, and a parameter that cannot be: user:abc for a number
	Match
)

// fit compares without allocating; found, if not nil, gets each parameter.
func (p *Pattern) fit(key []byte, found func(i int, arg []byte)) Fit {
	rest, ok := cutPrefix(key, p.first)
	if !ok {
		return None
	}
	fit := Match
	for i, lit := range p.after {
		n := len(rest)
		for j, b := range rest {
			if b == ':' {
				n = j
				break
			}
		}
		if n == 0 {
			return None
		}
		arg := rest[:n]
		if rest, ok = cutPrefix(rest[n:], lit); !ok {
			return None
		}
		if !fits(p.types[i], arg) {
			fit = Misfit
		}
		if found != nil {
			found(i, arg)
		}
	}
	if len(rest) > 0 {
		return None
	}
	return fit
}

func cutPrefix(b []byte, prefix string) ([]byte, bool) {
	if len(b) < len(prefix) || string(b[:len(prefix)]) != prefix {
		return nil, false
	}
	return b[len(prefix):], true
}

// Match returns the parameters of a key.
func (p *Pattern) Match(key []byte) (args []string, ok bool) {
	args = make([]string, len(p.params))
	ok = p.fit(key, func(i int, arg []byte) { args[i] = string(arg) }) == Match
	return args, ok
}

// Key returns the key with these parameters.
func (p *Pattern) Key(args ...string) (string, error) {
	if len(args) != len(p.params) {
		return "", fmt.Errorf("%s has %s (%s), found %d", p.text, human.Several(len(p.params), "parameter", "parameters"), strings.Join(p.params, ", "), len(args))
	}
	var b strings.Builder
	b.WriteString(p.first)
	for i, arg := range args {
		if arg == "" || strings.Contains(arg, ":") || !fits(p.types[i], []byte(arg)) {
			return "", fmt.Errorf("%s: {%s} cannot be %.100q: expected %s", p.text, p.params[i], arg, p.types[i])
		}
		b.WriteString(arg)
		b.WriteString(p.after[i])
	}
	return b.String(), nil
}

// Glob returns the pattern as Redis writes one: user:*. Braces stand for themselves.
func (p *Pattern) Glob() string {
	var b strings.Builder
	literal := strings.NewReplacer(`*`, `\*`, `?`, `\?`, `[`, `\[`, `\`, `\\`)
	b.WriteString(literal.Replace(p.first))
	for _, text := range p.after {
		b.WriteByte('*')
		b.WriteString(literal.Replace(text))
	}
	return b.String()
}

func fits(t Type, arg []byte) bool {
	switch t {
	case Int:
		return isInt(arg)
	case UUID:
		return isUUID(arg)
	}
	if len(arg) > maxText || !utf8.Valid(arg) {
		return false
	}
	for _, b := range arg {
		if b == 0 {
			return false
		}
	}
	return true
}

func isInt(arg []byte) bool {
	digits := arg
	if len(arg) > 0 && arg[0] == '-' {
		digits = arg[1:]
	}
	if len(digits) == 0 || len(digits) > 20 {
		return false
	}
	for _, b := range digits {
		if b < '0' || b > '9' {
			return false
		}
	}
	if digits[0] == '0' {
		return len(arg) == 1
	}
	if len(digits) < 19 {
		return true
	}
	var err error
	if arg[0] == '-' {
		_, err = strconv.ParseInt(string(arg), 10, 64)
	} else {
		_, err = strconv.ParseUint(string(arg), 10, 64) // a BIGINT UNSIGNED
	}
	return err == nil
}

func isUUID(arg []byte) bool {
	if len(arg) != 36 {
		return false
	}
	for i, b := range arg {
		switch i {
		case 8, 13, 18, 23:
			if b != '-' {
				return false
			}
		default:
			if (b < '0' || b > '9') && (b < 'a' || b > 'f') {
				return false
			}
		}
	}
	return true
}
