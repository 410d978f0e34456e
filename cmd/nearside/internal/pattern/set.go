package pattern

import (
	"bytes"
	"strings"
)

// Set finds the pattern of a key.
type Set struct {
	patterns []*Pattern
	// The patterns by the text up to the first ':' of their keys, since a literal part decides it in nearly all; those
	// in which a parameter stands before it are in every list.
	byHead map[string][]int
	rest   []int
}

// NewSet returns a set of patterns, no two of which may overlap.
func NewSet(ps []*Pattern) *Set {
	s := &Set{patterns: ps, byHead: make(map[string][]int)}
	for i, p := range ps {
		if _, ok := p.head(); !ok {
			s.rest = append(s.rest, i)
		}
	}
	for i, p := range ps {
		if head, ok := p.head(); ok {
			if s.byHead[head] == nil {
				s.byHead[head] = append([]int(nil), s.rest...)
			}
			s.byHead[head] = append(s.byHead[head], i)
		}
	}
	return s
}

// head is the text of all the pattern's keys up to their first ':'.
func (p *Pattern) head() (string, bool) {
	head, _, found := strings.Cut(p.first, ":")
	return head, found || len(p.params) == 0
}

// Find returns the pattern of a key. Misfit is returned with the pattern whose form the key has.
func (s *Set) Find(key []byte) (i int, fit Fit) {
	head := key
	if n := bytes.IndexByte(key, ':'); n >= 0 {
		head = key[:n]
	}
	list, ok := s.byHead[string(head)]
	if !ok {
		list = s.rest
	}
	found, best := -1, None
	for _, i := range list {
		switch s.patterns[i].fit(key, nil) {
		case Match:
			return i, Match
		case Misfit:
			found, best = i, Misfit
		}
	}
	return found, best
}

// Overlap reports whether one key could match both patterns. It looks at their segments between colons, and does not
// tell types apart except where a literal cannot be of a type: so it may say yes where only a strange key would match.
func Overlap(a, b *Pattern) bool {
	as, bs := a.segments(), b.segments()
	if len(as) != len(bs) {
		return false
	}
	for i := range as {
		if !as[i].meets(bs[i]) {
			return false
		}
	}
	return true
}

// segment is what stands between two colons: text, with at most one parameter behind it.
type segment struct {
	text  string
	param bool
	typ   Type
}

func (p *Pattern) segments() []segment {
	var out []segment
	parts := strings.Split(p.first, ":")
	for _, text := range parts {
		out = append(out, segment{text: text})
	}
	for i, lit := range p.after {
		last := &out[len(out)-1]
		last.param, last.typ = true, p.types[i]
		if lit != "" { // it begins with ':'
			for _, text := range strings.Split(lit[1:], ":") {
				out = append(out, segment{text: text})
			}
		}
	}
	return out
}

func (a segment) meets(b segment) bool {
	switch {
	case !a.param && !b.param:
		return a.text == b.text
	case a.param && b.param:
		if a.text == b.text {
			return !(a.typ == Int && b.typ == UUID || a.typ == UUID && b.typ == Int)
		}
		return strings.HasPrefix(a.text, b.text) || strings.HasPrefix(b.text, a.text)
	case b.param:
		a, b = b, a
	}
	arg, ok := strings.CutPrefix(b.text, a.text)
	return ok && arg != "" && fits(a.typ, []byte(arg))
}
