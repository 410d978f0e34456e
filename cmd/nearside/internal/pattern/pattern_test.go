package pattern_test

import (
	"strings"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
)

func parse(t testing.TB, text string, types map[string]pattern.Type) *pattern.Pattern {
	t.Helper()
	p, err := pattern.Parse(text, types)
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return p
}

var ints = map[string]pattern.Type{"id": pattern.Int}

func TestFind(t *testing.T) {
	set := pattern.NewSet([]*pattern.Pattern{
		parse(t, "user:{id}", ints),
		parse(t, "board:{game}:top", nil),
		parse(t, "top-products", nil),
		parse(t, "doc:{id}", map[string]pattern.Type{"id": pattern.UUID}),
		parse(t, "shop{name}:x", nil),
		parse(t, "q:{{{a}:}}", nil),
	})
	for key, want := range map[string]struct {
		i   int
		fit pattern.Fit
	}{
		"user:42": {0, pattern.Match}, "user:0": {0, pattern.Match}, "user:-7": {0, pattern.Match},
		"user:9223372036854775807": {0, pattern.Match}, "user:18446744073709551616": {0, pattern.Misfit},
		"user:-9223372036854775808": {0, pattern.Match},
		"user:abc":                  {0, pattern.Misfit}, "user:042": {0, pattern.Misfit}, "user:-0": {0, pattern.Misfit},
		"user:+1": {0, pattern.Misfit}, "user:-": {0, pattern.Misfit}, "user:1e3": {0, pattern.Misfit},
		"user:": {-1, pattern.None}, "user": {-1, pattern.None}, "user:1:2": {-1, pattern.None}, "users:1": {-1, pattern.None}, "": {-1, pattern.None},
		"board:chess:top": {1, pattern.Match}, "board:chess": {-1, pattern.None}, "board::top": {-1, pattern.None},
		"board:" + strings.Repeat("x", 512) + ":top": {1, pattern.Match}, "board:" + strings.Repeat("x", 513) + ":top": {1, pattern.Misfit},
		"board:\xff:top": {1, pattern.Misfit}, "board:\x00:top": {1, pattern.Misfit},
		"top-products": {2, pattern.Match},
		"doc:123e4567-e89b-12d3-a456-426614174000": {3, pattern.Match}, "doc:123E4567-e89b-12d3-a456-426614174000": {3, pattern.Misfit},
		"shopA:x": {4, pattern.Match}, "shop:x": {-1, pattern.None},
		"q:{z:}": {5, pattern.Match},
	} {
		if i, fit := set.Find([]byte(key)); i != want.i || fit != want.fit {
			t.Errorf("%q: got %d, %d, want %d, %d", key, i, fit, want.i, want.fit)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]string{
		"": "begin with text", "{id}": "begin with text", "a:{id": "without its '}'", "a:id}": "without its '{'",
		"a:{Id}": "expected a name", "a:{}": "expected a name", "a:{id}:{id}": "twice", "a:{x}{y}": "':' or the end", "a:{x}-b": "':' or the end",
		"~l:{x}": "own", "nearside:{x}": "own", "user:{id}:~l": "own",
	} {
		if _, err := pattern.Parse(text, nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, want %q", text, err, want)
		}
	}
}

func TestKey(t *testing.T) {
	p := parse(t, "a:{id}:b:{name}", ints)
	if key, err := p.Key("42", "x"); key != "a:42:b:x" || err != nil {
		t.Errorf("got %q, %v", key, err)
	}
	for _, args := range [][]string{{"42"}, {"x", "y"}, {"42", "a:b"}, {"42", ""}, {"1", "2", "3"}} {
		if key, err := p.Key(args...); err == nil {
			t.Errorf("%q: got %q", args, key)
		}
	}
}

func TestOverlap(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want bool
	}{
		{"user:{id}", "user:{name}", true}, {"user:{id}", "users:{id}", false}, {"a:{x}:b", "a:{y}:b", true}, {"a:{x}:b", "a:{y}:c", false},
		{"user:{id}", "user:7", true}, {"user:{id}", "user:me", false}, {"user:{name}", "user:me", true}, {"a{x}", "ab{y}", true}, {"a", "a", true}, {"a", "b", false},
		{"a:{x}", "a:{x}:{y}", false},
	} {
		a, b := parse(t, c.a, ints), parse(t, c.b, ints)
		if got := pattern.Overlap(a, b); got != c.want || pattern.Overlap(b, a) != got {
			t.Errorf("%s and %s: got %v, want %v", c.a, c.b, got, c.want)
		}
	}
}

// What matches is built again from its parameters, and what overlaps is said to.
func FuzzPattern(f *testing.F) {
	f.Add("user:{id}", "user:42", "user:{name}")
	f.Add("a:{x}:b", "a:1:b", "a{x}")
	f.Add("q:{{{a}:}}", "q:{z:}", "q:{a}")
	f.Fuzz(func(t *testing.T, text, key, other string) {
		p, err := pattern.Parse(text, ints)
		if err != nil {
			return
		}
		args, ok := p.Match([]byte(key))
		if !ok {
			return
		}
		if again, err := p.Key(args...); err != nil || again != key {
			t.Errorf("%s: %q has the parameters %q, which give %q, %v", text, key, args, again, err)
		}
		if q, err := pattern.Parse(other, ints); err == nil {
			if _, both := q.Match([]byte(key)); both && !pattern.Overlap(p, q) {
				t.Errorf("%q matches %s and %s, which are said not to overlap", key, text, other)
			}
		}
	})
}

func BenchmarkFind(b *testing.B) {
	set := pattern.NewSet([]*pattern.Pattern{parse(b, "user:{id}", ints), parse(b, "orders:{id}", ints), parse(b, "board:{game}:top", nil)})
	key := []byte("orders:123456")
	b.ReportAllocs()
	for b.Loop() {
		set.Find(key)
	}
}
