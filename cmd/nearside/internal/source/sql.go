package source

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
)

// statement is a SQL text cut at its parameters: text[0], names[0], text[1], ...
type statement struct {
	text  []string
	names []string
	list  int // which of names is a list, {name...}; -1: none is

	quoted []string // what stands inside quotes like a parameter, {name}
}

// Names returns the parameters {name} of a SQL text in the order in which they stand there, a name perhaps twice. It
// fails on what Prepare would refuse without asking the database of the URL.
//
// params are the parameters of the key: one of them inside quotes is an error.
func Names(rawURL, sql string, params ...string) ([]string, error) {
	lex := sqliteDialect.lex // of the demo shop
	if d, err := dialectOf(rawURL); err == nil {
		lex = d.lex
	}
	s, err := single(sql, lex)
	if err == nil {
		err = s.unquoted(func(name string) bool { return slices.Contains(params, name) })
	}
	return s.names, err
}

// single is split for a text without lists.
func single(sql string, lex lexis) (s statement, err error) {
	if s, err = split(sql, lex); err == nil && s.list >= 0 {
		err = fmt.Errorf("{%s...} is a list: it is for 'load_many' alone", s.names[s.list])
	}
	return s, err
}

// split finds the parameters of a SQL text. It knows what is no place for one: strings, quoted names and comments. A
// parameter is always bound, never pasted, so one inside quotes would mean something else than was written: unquoted refuses it.
// The forms that drivers have for parameters are refused by name, since they would be bound to nothing.
func split(sql string, lex lexis) (s statement, err error) {
	s.list = -1
	var lit strings.Builder
	brackets := 0 // open ones: a[1:n] is a slice, and n no parameter
	for i := 0; i < len(sql); {
		rest := sql[i:]
		n := lex.opaque(rest)
		switch {
		case n < 0:
			return s, fmt.Errorf("%.20q is not closed", rest)
		case n > 0:
			if rest[0] != '-' && rest[0] != '/' && rest[0] != '#' {
				s.quoted = append(s.quoted, parameter.FindAllString(rest[:n], -1)...)
			}
			lit.WriteString(rest[:n])
			i += n
		case strings.HasPrefix(rest, "{{"), strings.HasPrefix(rest, "}}"):
			lit.WriteByte(rest[0])
			i += 2
		case rest[0] == '{':
			end := strings.IndexByte(rest, '}')
			if end < 0 {
				return s, errors.New("a '{' without its '}': a literal brace is written '{{'")
			}
			name, list := strings.CutSuffix(rest[1:end], "...")
			if list {
				if s.list >= 0 {
					return s, errors.New("there are two lists, expected one {name...}")
				}
				s.list = len(s.names)
			}
			if err := pattern.CheckParam(name); err != nil {
				return s, err
			}
			s.text, s.names = append(s.text, lit.String()), append(s.names, name)
			lit.Reset()
			i += end + 1
		case rest[0] == '}':
			return s, errors.New("a '}' without its '{': a literal brace is written '}}'")
		case rest[0] == ';':
			if strings.TrimSpace(rest[1:]) != "" {
				return s, errors.New("a second statement after ';': one is expected")
			}
			i = len(sql)
		default:
			if form := lex.foreign(sql, i, brackets > 0); form != "" {
				return s, fmt.Errorf("found the parameter %.40s of another form: write the name of a parameter in braces, such as {id}", form)
			}
			switch rest[0] {
			case '[':
				brackets++
			case ']':
				brackets--
			}
			lit.WriteByte(rest[0])
			i++
		}
	}
	s.text = append(s.text, lit.String())
	if strings.TrimSpace(strings.Join(s.text, "")) == "" {
		return s, errEmpty
	}
	return s, nil
}

var errEmpty = errors.New("it is empty: one statement is expected")

// selects refuses a statement that is no query, by its first word: the errors of databases speak of what follows that word.
// Whatever else is wrong with it the database finds.
func (s statement) selects(lex lexis) error {
	const expected = "a load is one SELECT (or begins with WITH, VALUES or TABLE)"
	switch first := lex.first(s.text[0]); strings.ToUpper(first) {
	case "SELECT", "WITH", "VALUES", "TABLE":
		return nil
	case "":
		if len(s.names) == 0 && lex.first(s.text[0]+"\nx") == "x" {
			return errEmpty
		}
		return errors.New(expected)
	case "INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE":
		return fmt.Errorf("found %s: %s and may not write, not even with RETURNING; a statement that writes belongs under 'store'", first, expected)
	case "CALL", "EXEC", "EXECUTE", "DO":
		return fmt.Errorf("found %s: %s; a procedure cannot be called, a function can be selected from", first, expected)
	default:
		return fmt.Errorf("found %.40q: %s", first, expected)
	}
}

// writes refuses a statement that writes no row, by its first word. A SELECT may call a function that writes.
func (s statement) writes(lex lexis) error {
	first := lex.first(s.text[0])
	if slices.Contains([]string{"INSERT", "UPDATE", "DELETE", "MERGE", "REPLACE", "WITH", "SELECT"}, strings.ToUpper(first)) {
		return nil
	}
	if first == "" {
		first = strings.TrimSpace(s.text[0])
	}
	return fmt.Errorf("found %.40q: a statement that writes a row begins with INSERT, UPDATE, DELETE, MERGE, REPLACE or WITH, or with the SELECT of a function", first)
}

// first returns the first word of a text, after comments and opening brackets; "" if something else comes first.
func (x lexis) first(sql string) string {
	for sql != "" {
		if strings.ContainsRune(" \t\r\n\v\f(", rune(sql[0])) {
			sql = sql[1:]
			continue
		}
		n := 0
		if strings.HasPrefix(sql, "--") || strings.HasPrefix(sql, "/*") || sql[0] == '#' {
			n = x.opaque(sql)
		}
		if n > 0 {
			sql = sql[n:]
			continue
		}
		for n = 0; n < len(sql) && isWord(sql[n]); n++ {
		}
		return sql[:n]
	}
	return ""
}

// places are how PostgreSQL writes the parameters.
var places = regexp.MustCompile(`\$[0-9]+`)

// shown returns an error of the database with the parameters named as they are in the statement.
func (s statement) shown(err error) error {
	if err == nil {
		return nil
	}
	text := places.ReplaceAllStringFunc(err.Error(), func(place string) string {
		if n, err := strconv.Atoi(place[1:]); err == nil && n >= 1 && n <= len(s.names) {
			return "{" + s.names[n-1] + "}"
		}
		return place
	})
	return shownError{err, text}
}

type shownError struct {
	error
	text string
}

func (e shownError) Error() string { return e.text }
func (e shownError) Unwrap() error { return e.error }

var parameter = regexp.MustCompile(`\{` + pattern.ParamForm + `(\.\.\.)?\}`)

// unquoted refuses what stands inside quotes and is a parameter.
func (s statement) unquoted(isParam func(name string) bool) error {
	for _, q := range s.quoted {
		name := strings.TrimSuffix(strings.Trim(q, "{}"), "...")
		if isParam(name) {
			return fmt.Errorf("%s stands inside quotes, where it would be text: write the parameter without quotes; "+
				"if an array or a path of that name is meant, write '{\"%s\"}'", q, name)
		}
	}
	return nil
}

var foreignForms = []*regexp.Regexp{
	regexp.MustCompile(`^\$[0-9]+`),                    // of PostgreSQL
	regexp.MustCompile(`^[:@$][A-Za-z_][A-Za-z0-9_]*`), // of SQLite and of many drivers
	regexp.MustCompile(`^\?[0-9]*`),
}

// foreign returns the parameter in the form of a driver that stands at an index: $1, ?, :name, @name or $name; empty if there is
// none. Not every database takes each of them for one: PostgreSQL has operators with a question mark, MySQL has variables with @.
func (x lexis) foreign(sql string, at int, bracketed bool) string {
	rest := sql[at:]
	if at > 0 && (isWord(sql[at-1]) || sql[at-1] == ':' || sql[at-1] == '@') { // part of a name, a cast or a variable of the server
		return ""
	}
	switch rest[0] {
	case '$':
		if form := foreignForms[0].FindString(rest); form != "" || !x.names {
			return form
		}
		return foreignForms[1].FindString(rest)
	case ':':
		if !bracketed {
			return foreignForms[1].FindString(rest)
		}
	case '@':
		if x.names {
			return foreignForms[1].FindString(rest)
		}
	case '?':
		if x.marks {
			return foreignForms[2].FindString(rest)
		}
	}
	return ""
}

func isWord(b byte) bool {
	return b == '_' || b == '$' || b >= '0' && b <= '9' || b >= 'a' && b <= 'z' || b >= 'A' && b <= 'Z' || b >= 0x80
}

// with returns the text with its parameters written as a database does.
func (s statement) with(place func(n int) string) string {
	var b strings.Builder
	for i := range s.names {
		b.WriteString(s.text[i])
		b.WriteString(place(i + 1))
	}
	b.WriteString(s.text[len(s.names)])
	return b.String()
}

// lexis is how a database's strings and comments differ from standard SQL.
type lexis struct {
	brackets    bool // [a name]
	backslashes bool // 'it\'s'
	hashes      bool // # a comment
	dollars     bool // $tag$ a string $tag$, and E'it\'s'
	nested      bool // /* a /* comment */ */
	marks       bool // ? is a parameter
	names       bool // @name and $name are parameters
}

// opaque returns the length of the string, quoted name or comment that sql begins with; 0 if with none, -1 if it is not
// closed.
func (x lexis) opaque(sql string) int {
	until := func(start int, end string) int {
		n := strings.Index(sql[start:], end)
		if n < 0 {
			return -1
		}
		return start + n + len(end)
	}
	switch {
	case strings.HasPrefix(sql, "--"), x.hashes && sql[0] == '#':
		if n := until(1, "\n"); n > 0 {
			return n
		}
		return len(sql)
	case strings.HasPrefix(sql, "/*") && x.nested:
		for i, depth := 2, 1; i < len(sql); i++ {
			switch {
			case strings.HasPrefix(sql[i:], "/*"):
				depth++
				i++
			case strings.HasPrefix(sql[i:], "*/"):
				i++
				if depth--; depth == 0 {
					return i + 1
				}
			}
		}
		return -1
	case strings.HasPrefix(sql, "/*"):
		return until(2, "*/")
	case x.dollars && (strings.HasPrefix(sql, "E'") || strings.HasPrefix(sql, "e'")):
		return escaped(sql, 1)
	case x.backslashes && (sql[0] == '\'' || sql[0] == '"'):
		return escaped(sql, 0)
	case sql[0] == '\'', sql[0] == '"', sql[0] == '`':
		return until(1, sql[:1]) // a doubled quote is read as two strings side by side: the same cuts
	case x.brackets && sql[0] == '[':
		return until(1, "]")
	case x.dollars && sql[0] == '$':
		if tag := dollarTag.FindString(sql); tag != "" {
			return until(len(tag), tag)
		}
	}
	return 0
}

var dollarTag = regexp.MustCompile(`^\$([A-Za-z_\x80-\xff][A-Za-z0-9_\x80-\xff]*)?\$`)

// escaped returns the length of a string with backslashes whose quote stands at an index.
func escaped(sql string, quote int) int {
	for i := quote + 1; i < len(sql); i++ {
		switch sql[i] {
		case '\\':
			i++
		case sql[quote]:
			return i + 1
		}
	}
	return -1
}
