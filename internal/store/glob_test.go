package store_test

import (
	"strings"
	"testing"

	"github.com/nearside/nearside/internal/store"
)

func TestMatch(t *testing.T) {
	for _, c := range []struct {
		glob string
		yes  string // keys, by blanks
		no   string
	}{
		{"user:*", "user: user:42 user:a:b user:*", "user users:1 xuser:1"},
		{"user:*:friends", "user:1:friends user::friends user:1:friends:friends", "user:1:friend user:friends user:1:friends:x"},
		{`a\*b*`, "a*b a*bc", "ab axb"},
		{`a\[b\?\\*`, `a[b?\ a[b?\x`, "axb ab"},
		{"*", "a *", ""},
		{"*a*b", "ab aab xaxb abb", "a b ba"},
		{"{u*}:~l", "{user}:~l", "{user:~l user:~l"},
		{"", "", "a"},
	} {
		if err := store.CheckGlob(c.glob); err != nil {
			t.Error(err)
		}
		for want, keys := range map[bool]string{true: c.yes, false: c.no} {
			for key := range strings.FieldsSeq(keys) {
				if got := store.Match(c.glob, key); got != want {
					t.Errorf("Match(%q, %q) = %v", c.glob, key, got)
				}
			}
		}
	}
	for _, c := range []struct{ glob, yes, no string }{
		{"a?", "ab a?", "a abc"},
		{"[a-c]*", "a b1 c", "d 1a"},
		{"[^a-c]1", "d1 -1", "a1 d"},
		{`[\]a]`, "] a", "b"},
		{"[ab", "a b", "c ab"},
	} {
		for want, texts := range map[bool]string{true: c.yes, false: c.no} {
			for text := range strings.FieldsSeq(texts) {
				if got := store.Match(c.glob, text); got != want {
					t.Errorf("Match(%q, %q) = %v", c.glob, text, got)
				}
			}
		}
	}
	for _, glob := range []string{"a?", "[ab]", `a\`} {
		if store.CheckGlob(glob) == nil {
			t.Errorf("%q was taken", glob)
		}
	}
}
