package source

import (
	"context"
	"regexp"
	"slices"
	"strings"
)

// compared says how a statement uses a parameter.
type compared struct {
	column string // the column it is compared with, as it is written; empty: something else is done with it
	probe  string // the statement that selects this column as p in place of all others; empty: it cannot be written

	alone bool // a row is only found if this comparison says so: it is no branch of an OR or of a UNION
}

const identifier = `(?:[A-Za-z_\x80-\xff][A-Za-z0-9_$\x80-\xff]*|"[^"]+"|` + "`[^`]+`" + `|\[[^\]]+\])`

var (
	// What stands in front of a parameter that is compared with a column and nothing else.
	beforeOne  = regexp.MustCompile(`(?is)(?:^|[\s()])(?:WHERE|AND|OR|ON)[\s(]+(` + identifier + `(?:\s*\.\s*` + identifier + `)*)\s*=\s*$`)
	beforeMany = regexp.MustCompile(`(?is)(?:^|[\s()])(?:WHERE|AND|OR|ON)[\s(]+(` + identifier + `(?:\s*\.\s*` + identifier + `)*)\s+IN\s*\(\s*$`)
	// And behind it.
	afterOne  = regexp.MustCompile(`(?is)^\s*(?:$|;|\)|(?:AND|OR|ORDER|GROUP|HAVING|LIMIT|OFFSET|FETCH|FOR|WINDOW|UNION|INTERSECT|EXCEPT|LEFT|RIGHT|INNER|JOIN|CROSS|WHERE)\b)`)
	afterMany = regexp.MustCompile(`(?is)^\s*\)\s*(?:$|;|\)|(?:AND|OR|ORDER|GROUP|HAVING|LIMIT|OFFSET|FETCH|FOR|WINDOW|UNION|INTERSECT|EXCEPT|LEFT|RIGHT|INNER|JOIN|CROSS|WHERE)\b)`)
)

// compares finds what a parameter is compared with. It reads the form that nearly all statements have, WHERE column = {name}
// or column IN ({name...}), and knows nothing of any other: a wrong answer would be wrong data.
func (s statement) compares(name string, lex lexis) (c compared) {
	at := -1
	for i, n := range s.names {
		if n == name {
			if at >= 0 {
				return c // twice: either may be what it is compared with
			}
			at = i
		}
	}
	if at < 0 {
		return c
	}
	before, after := beforeOne, afterOne
	if at == s.list {
		before, after = beforeMany, afterMany
	}
	m := before.FindStringSubmatch(s.text[at])
	if m == nil || !after.MatchString(s.text[at+1]) {
		return c
	}
	const null = "NULL"
	text := s.with(func(int) string { return null })
	place := 0 // of the parameter in text
	for i := range at {
		place += len(s.text[i]) + len(null)
	}
	place += len(s.text[at])
	level := lex.depth(text[:place])
	if at == s.list {
		level--
	}

	c = compared{column: m[1], alone: true}
	words := lex.words(text)
	home, from, to := -1, -1, len(text) // the one SELECT outside of all brackets, its FROM, and the end of its WHERE
	var open []int                      // how deep the SELECTs stand whose brackets are open at the comparison
	for _, w := range words {
		switch {
		case w.text == "SELECT" && w.depth == 0 && home >= 0:
			home = len(text) // another one: a UNION
		case w.text == "SELECT" && w.depth == 0:
			home = w.at
		case w.text == "FROM" && w.depth == 0 && home >= 0 && from < 0:
			from = w.at
		case slices.Contains(endOfWhere, w.text) && w.depth == 0 && w.at > place:
			to = min(to, w.at)
		case slices.Contains(branches, w.text) && w.depth <= level && (home < 0 || from >= 0): // not in the list of columns
			c.alone = false
		}
		if w.at < place {
			open = slices.DeleteFunc(open, func(depth int) bool { return depth > w.depth })
			if w.text == "SELECT" {
				open = append(open, w.depth)
			}
		}
	}
	if home >= 0 && home < from && from < place && slices.Max(append(open, 0)) == 0 {
		c.probe = text[:home] + "SELECT " + c.column + " AS p " + text[from:to]
	}
	return c
}

var (
	branches   = []string{"OR", "XOR", "UNION", "INTERSECT", "EXCEPT", "MINUS"}
	endOfWhere = []string{"GROUP", "HAVING", "ORDER", "LIMIT", "OFFSET", "FETCH", "FOR", "WINDOW", "PROCEDURE", "LOCK"}
)

// shows reports whether the statement selects the column that is compared, under a name.
func (s statement) shows(c compared, name string, lex lexis) bool {
	text := s.with(func(int) string { return "NULL" })
	for _, w := range lex.words(text) {
		if w.text == "FROM" && w.depth == 0 {
			text = text[:w.at] // the list of columns
			break
		}
	}
	quoted := "[\"`\\[]?" + name + "[\"`\\]]?"
	aliased := regexp.MustCompile(`(?is)(\S+)\s+AS\s+`+quoted+`\s*(?:,|$)`).FindAllStringSubmatch(text, -1)
	qualified := regexp.MustCompile(`(?is)(`+identifier+`\s*\.\s*`+quoted+`)\s*(?:,|$)`).FindAllStringSubmatch(text, -1)
	for _, m := range slices.Concat(aliased, qualified) {
		if !c.is(strings.TrimLeft(m[1], ",(")) {
			return false
		}
	}
	if regexp.MustCompile(`(?is)\)\s+` + quoted + `\s*(?:,|$)`).MatchString(text) { // lower(x) name
		return false
	}
	return len(aliased) > 0 || c.is(name)
}

// is reports whether a name as it is written in the statement is that of the column that is compared.
func (c compared) is(written string) bool {
	a, b := parts(c.column), parts(written)
	n := min(len(a), len(b)) // without its table it would be ambiguous if it were another one
	return slices.EqualFunc(a[len(a)-n:], b[len(b)-n:], strings.EqualFold)
}

func parts(column string) []string {
	out := strings.Split(column, ".")
	for i := range out {
		out[i] = strings.Trim(strings.TrimSpace(out[i]), "\"`[]")
	}
	return out
}

// word is a word of a SQL text outside of quotes and comments, in capitals.
type word struct {
	text  string
	at    int
	depth int // in how many brackets it stands
}

// words returns the words of a text.
func (x lexis) words(sql string) (out []word) {
	depth := 0
	for i := 0; i < len(sql); {
		if n := x.opaque(sql[i:]); n > 0 {
			i += n
			continue
		}
		switch b := sql[i]; {
		case b == '(':
			depth++
		case b == ')':
			depth--
		case b == '|' && x.backslashes && strings.HasPrefix(sql[i:], "||"): // MySQL's other OR
			out = append(out, word{"OR", i, depth})
			i++
		case isWord(b):
			n := i
			for n < len(sql) && isWord(sql[n]) {
				n++
			}
			out = append(out, word{strings.ToUpper(sql[i:n]), i, depth})
			i = n
			continue
		}
		i++
	}
	return out
}

// depth returns how many brackets are open at the end of a text.
func (x lexis) depth(sql string) int {
	words := x.words(sql + " x")
	return words[len(words)-1].depth
}

// outside reports whether a word stands in a text outside of all brackets.
func (x lexis) outside(sql, name string) bool {
	return slices.ContainsFunc(x.words(sql), func(w word) bool { return w.text == name && w.depth == 0 })
}

// typeOf asks the database what the column is that a parameter is compared with; nil: it cannot be asked.
func (d *DB) typeOf(ctx context.Context, c compared) *column {
	if c.probe == "" {
		return nil
	}
	cols, err := d.b.columns(ctx, c.probe, 0)
	if err != nil || len(cols) != 1 {
		return nil // it says more than is understood here
	}
	return &cols[0]
}
