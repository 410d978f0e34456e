package source_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/internal/dbtest"
)

// What a column holds is read as it is, or not at all: never as another value that could be written back.
func TestNothingIsReadAsAnotherValue(t *testing.T) {
	type value struct{ typ, sql, want string }
	values := map[string][]value{
		"sqlite": {
			{"BOOLEAN", "5", "error: 5 is neither 0 nor 1"}, {"BOOLEAN", "1.5", "error: 1.5 is neither 0 nor 1"}, {"BOOLEAN", "'t'", `"t"`}, {"BOOLEAN", "'true'", `"true"`}, {"BOOLEAN", "1", "true"},
			{"DATE", "'2024-02-29 13:14:15'", `"2024-02-29 13:14:15"`}, {"DATE", "'2024-02-29 00:00:00'", `"2024-02-29"`}, {"DATE", "1709164800", "1709164800"},
			{"BLOB", "'AP8Q'", "error: it holds text, and its column is declared as bytes"}, {"BLOB", `'\x00ff10'`, "error: it holds text"}, {"BLOB", "x'00ff10'", `"AP8Q"`},
			{"TEXT", "x'00ff10'", "error: it holds bytes, and its column is declared as text"}, {"VARCHAR(9)", "x''", "error: it holds bytes"},
			{"INTEGER", "9223372036854775807", "9223372036854775807"}, {"INTEGER", "'12a'", `"12a"`}, {"DATETIME", "0", "0"},
		},
		"postgres": {
			{"BYTEA", `'\x00ff10'`, `"AP8Q"`}, {"BYTEA[]", `ARRAY['\x00ff10'::bytea]`, `["AP8Q"]`}, {"TEXT", `'\x00ff10'`, `"\\x00ff10"`}, {"BOOLEAN", "'t'", "true"},
			{"BIT(3)", "B'101'", `"101"`}, {"NUMERIC", "1.10", "1.10"}, {"DATE", "'10000-01-01'", `"10000-01-01"`}, {"OID", "4294967295", "4294967295"}, {"FLOAT4", "16777216", "16777216"},
		},
		"mariadb": {
			{"TINYINT(1)", "5", "error: 5 is neither 0 nor 1"}, {"TINYINT(1)", "-1", "error: -1 is neither 0 nor 1"}, {"TINYINT(1)", "0", "false"}, {"TINYINT(1)", "1", "true"},
			{"TINYINT(1) UNSIGNED", "200", "200"}, {"TINYINT", "1", "1"}, {"BIGINT UNSIGNED", "18446744073709551615", "18446744073709551615"}, {"BIGINT UNSIGNED ZEROFILL", "7", "7"},
			{"BIT(3)", "b'101'", `"BQ=="`}, {"YEAR", "0", "0"}, {"FLOAT", "16777216", "16777216"}, {"DECIMAL(65,30)", "0.000000000000000000000000000001", "0.000000000000000000000000000001"},
			{"DATE", "'0000-00-00'", `"0000-00-00"`}, {"DATETIME", "'0000-00-00 00:00:00'", `"0000-00-00 00:00:00"`}, {"TIMESTAMP NULL", "'0000-00-00 00:00:00'", "error: 0000-00-00 00:00:00 has no form in JSON"},
			{"TIME(6)", "'-838:59:59.5'", `"-838:59:59.5"`}, {"JSON", "'123'", "123"}, {"VARCHAR(9)", "'123'", `"123"`}, {"BINARY(4)", "'ab'", `"YWIAAA=="`},
		},
	}
	check := func(t *testing.T, name string, db func(statements ...string) *source.DB, zero string) {
		for i, v := range values[name] {
			table := fmt.Sprintf("t%d", i)
			d := db(fmt.Sprintf("CREATE TABLE %s (c%d %s)", table, i, v.typ), zero+fmt.Sprintf("INSERT INTO %s VALUES (%s)", table, v.sql))
			l := prepare(t, d, source.Query{SQL: fmt.Sprintf("SELECT c%d FROM %s", i, table)})
			got, err := l.Load(t.Context(), nil)
			if text, isErr := strings.CutPrefix(v.want, "error: "); isErr {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("%s %s: got %s, %v, want the error %s", v.typ, v.sql, got, err, text)
				}
			} else if want := fmt.Sprintf(`{"c%d":%s}`, i, v.want); string(got) != want || err != nil {
				t.Errorf("%s %s: got %s, %v, want %s", v.typ, v.sql, got, err, want)
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		check(t, "sqlite", func(s ...string) *source.DB { return open(t, s...) }, "")
	})
	databases(t, func(t *testing.T, d database) {
		zero := map[string]string{"mariadb": "SET sql_mode = ''; "}[d.name]
		check(t, d.name, func(s ...string) *source.DB {
			s[0] = strings.Replace(s[0], "CREATE TABLE", "CREATE TABLE IF NOT EXISTS", 1)
			d.exec(t, s...)
			return d.open(t)
		}, zero)
	})
}

// A boolean column whose numbers are none is selected as a number, and can then be written as one.
func TestNumbersInABooleanColumn(t *testing.T) {
	check := func(t *testing.T, db *source.DB) {
		plain := prepare(t, db, source.Query{SQL: "SELECT id, stars FROM ratings WHERE id = {id}", Params: id})
		if _, err := plain.Load(t.Context(), []string{"1"}); err == nil || !strings.Contains(err.Error(), "stars + 0 AS stars") {
			t.Errorf("5 as a boolean: %v", err)
		}
		if got, err := plain.Load(t.Context(), []string{"2"}); string(got) != `{"id":2,"stars":true}` || err != nil {
			t.Errorf("1 as a boolean: %s, %v", got, err)
		}
		l := prepare(t, db, source.Query{SQL: "SELECT id, stars + 0 AS stars FROM ratings WHERE id = {id}", Params: id})
		w, err := db.PrepareWrite(t.Context(), "UPDATE ratings SET stars = {stars} WHERE id = {id}", l)
		if err != nil {
			t.Fatal(err)
		}
		row, err := l.Load(t.Context(), []string{"1"})
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.Check([]string{"1"}, row)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := c.Run(t.Context()); string(again) != `{"id":1,"stars":5}` || string(row) != string(again) || err != nil {
			t.Errorf("read %s and wrote it: %s, %v", row, again, err)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		check(t, open(t, "CREATE TABLE ratings (id INTEGER PRIMARY KEY, stars BOOLEAN)", "INSERT INTO ratings VALUES (1, 5), (2, 1)"))
	})
	t.Run("mariadb", func(t *testing.T) {
		s := dbtest.MariaDB(t)
		s.Exec(t, "CREATE TABLE ratings (id INT PRIMARY KEY, stars TINYINT(1))", "INSERT INTO ratings VALUES (1, 5), (2, 1)")
		check(t, database{"mariadb", s.URL, s.Exec}.open(t))
	})
}

// A text is a document where each table with a column of that name says so.
func TestDocumentsByName(t *testing.T) {
	s := dbtest.MariaDB(t)
	s.Exec(t, "CREATE TABLE papers (id INT PRIMARY KEY, paper JSON, only JSON)", "CREATE TABLE wraps (id INT PRIMARY KEY, paper VARCHAR(20))",
		"INSERT INTO papers VALUES (1, '123', '123')", "INSERT INTO wraps VALUES (1, '123')")
	db := database{"mariadb", s.URL, s.Exec}.open(t)
	for text, want := range map[string]string{
		"SELECT paper FROM wraps": `{"paper":"123"}`, "SELECT paper FROM papers": `{"paper":"123"}`, "SELECT only FROM papers": `{"only":123}`,
	} {
		if got, err := prepare(t, db, source.Query{SQL: text}).Load(t.Context(), nil); string(got) != want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", text, got, err, want)
		}
	}
}

// What JSON cannot carry through is refused, and so is a number that the column would change.
func TestWriteChangesNoValue(t *testing.T) {
	db := open(t, "CREATE TABLE vals (id INTEGER PRIMARY KEY, name TEXT, n INTEGER, m NUMERIC, r REAL, doc JSON)", "INSERT INTO vals (id) VALUES (1)")
	l := prepare(t, db, source.Query{SQL: "SELECT * FROM vals WHERE id = {id}", Params: id})
	w, err := db.PrepareWrite(t.Context(), "UPDATE vals SET name = {name}, n = {n}, m = {m}, r = {r}, doc = {doc} WHERE id = {id}", l)
	if err != nil {
		t.Fatal(err)
	}
	value := func(name, v string) string {
		o := map[string]string{"name": `"x"`, "n": "1", "m": "1", "r": "1", "doc": "null"}
		o[name] = v
		var fields []string
		for n, v := range o {
			fields = append(fields, `"`+n+`":`+v)
		}
		return "{" + strings.Join(fields, ",") + "}"
	}
	for _, c := range []struct{ name, value, want string }{
		{"name", "\"a\xff\"", "not valid UTF-8"}, {"name", `"\ud800"`, `\ud800 is half of a character`}, {"name", `"\udc00\ud800"`, `\udc00 is half`},
		{"name", `"\ud800\ud800\udc00"`, `\ud800 is half`}, {"name", `"\\\ud83d"`, `\ud83d is half`}, {"doc", `{"a":["\uDBFFx"]}`, `\uDBFF is half`}, {"doc", `{"\ud800":1}`, `\ud800 is half`},
		{"name", `"x","name":"y"`, `the field "name" stands there twice`},
		{"n", "9223372036854775808", "is too large: SQLite has whole numbers"}, {"m", "12345678901234567890", "has more digits than SQLite keeps"}, {"m", "9223372036854775808", "has more digits"}, {"m", "0.12345678901234567890123", "has more digits"},
		{"m", "1e-400", "has more digits"}, {"m", strings.Repeat("1", 500), "too large"}, {"r", "1e400", "too large"},
	} {
		if _, err := w.Check([]string{"1"}, []byte(value(c.name, c.value))); !errors.Is(err, source.ErrBadValue) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %s:\n got  %v\n want %s", c.name, c.value, err, c.want)
		}
	}
	for _, c := range []struct{ name, value, want string }{
		{"name", `"\ud83d\ude00 \u00e9 \\ud800 日"`, `"` + "\U0001F600 é " + `\\ud800 日"`}, {"n", "-9223372036854775808", "-9223372036854775808"}, {"m", "0.1", "0.1"}, {"m", "1.10", "1.1"}, {"m", "1e2", "100"},
		{"r", "0.10000000000000000555", "0.1"}, {"doc", `{"b":1,"a":{"x":"<&>","n":12345678901234567890.10}}`, `{"b":1,"a":{"x":"<&>","n":12345678901234567890.10}}`},
	} {
		change, err := w.Check([]string{"1"}, []byte(value(c.name, c.value)))
		if err != nil {
			t.Errorf("%s: %s: %v", c.name, c.value, err)
			continue
		}
		if row, err := change.Run(t.Context()); !strings.Contains(string(row), `"`+c.name+`":`+c.want) || err != nil {
			t.Errorf("%s: %s: wrote %s, %v, want %s", c.name, c.value, row, err, c.want)
		}
	}
}

// An error about a value shows nothing of its texts, and is short, whatever the value is.
func TestErrorsShowNoValue(t *testing.T) {
	db := open(t, "CREATE TABLE vals (id INTEGER PRIMARY KEY, n INTEGER)", "INSERT INTO vals (id) VALUES (1)")
	l := prepare(t, db, source.Query{SQL: "SELECT * FROM vals WHERE id = {id}", Params: id})
	w, err := db.PrepareWrite(t.Context(), "UPDATE vals SET n = {n} WHERE id = {id}", l)
	if err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("hunter2-secret", 1<<16)
	for _, value := range []string{
		`{"n":"` + long + `"}`, `{"n":["` + long + `"]}`, `{"n":{"a":"` + long + `"}}`, `{"id":{"a":"` + long + `"},"n":1}`, `{"id":"` + long + `","n":1}`, `{"id":["` + long + `"],"n":1}`, `"` + long + `"`,
		`["` + long + `"]`, `{"n":1,"` + strings.Repeat("x", 1<<16) + `":"` + long + `"}`, `{"n":` + strings.Repeat("1", 1<<16) + `}`, `{"n":1}` + long,
	} {
		if _, err := w.Check([]string{"1"}, []byte(value)); !errors.Is(err, source.ErrBadValue) || strings.Contains(err.Error(), "hunter2") || len(err.Error()) > 300 {
			t.Errorf("%.60s: %d bytes: %.200v", value, len(err.Error()), err)
		}
	}
	databases(t, func(t *testing.T, d database) {
		d.exec(t, "CREATE TABLE longs (id INT PRIMARY KEY, born DATE)", "INSERT INTO longs (id) VALUES (1)")
		db := d.open(t)
		l := prepare(t, db, source.Query{SQL: "SELECT * FROM longs WHERE id = {id}", Params: id})
		w, err := db.PrepareWrite(t.Context(), "UPDATE longs SET born = {born} WHERE id = {id}", l)
		if err != nil {
			t.Fatal(err)
		}
		c, err := w.Check([]string{"1"}, []byte(`{"born":"`+strings.Repeat("soon ", 1<<18)+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Run(t.Context()); err == nil || len(err.Error()) > 600 {
			t.Errorf("%s: %.100v", d.name, err)
		}
	})
}

// A number that has no room in its column is an error, also where the server is not strict.
func TestWriteIsStrict(t *testing.T) {
	s := dbtest.MariaDB(t)
	s.Exec(t, "CREATE TABLE small (id INT PRIMARY KEY, n TINYINT)", "INSERT INTO small VALUES (1, 1)", "SET GLOBAL sql_mode = ''")
	t.Cleanup(func() { s.Exec(t, "SET GLOBAL sql_mode = DEFAULT") })
	db := database{"mariadb", s.URL, s.Exec}.open(t)
	l := prepare(t, db, source.Query{SQL: "SELECT id, n FROM small WHERE id = {id}", Params: id})
	w, err := db.PrepareWrite(t.Context(), "UPDATE small SET n = {n} WHERE id = {id}", l)
	if err != nil {
		t.Fatal(err)
	}
	c, err := w.Check([]string{"1"}, []byte(`{"n":300}`))
	if err != nil {
		t.Fatal(err)
	}
	if row, err := c.Run(t.Context()); err == nil {
		t.Errorf("300 in a TINYINT was written as %s", row)
	}
}

// The forms that drivers have for parameters are refused by name; where a database gives them another meaning they are not.
func TestForeignParameters(t *testing.T) {
	for _, c := range []struct{ url, sql, want string }{
		{"postgres://h/d", "SELECT id FROM t WHERE id = $1", "$1"}, {"postgres://h/d", "SELECT id FROM t WHERE id = {id} AND n = $2", "$2"},
		{"postgres://h/d", "SELECT id FROM t WHERE id=:id", ":id"}, {"postgres://h/d", "SELECT id FROM t WHERE id IN (:id)", ":id"},
		{"mysql://h/d", "SELECT id FROM t WHERE id = ?", "?"}, {"mysql://h/d", "SELECT id FROM t WHERE id = :id", ":id"}, {"mysql://h/d", "SELECT id FROM t WHERE id = $1", "$1"},
		{"sqlite:x", "SELECT id FROM t WHERE id = ?", "?"}, {"sqlite:x", "SELECT id FROM t WHERE id = ?1", "?1"}, {"sqlite:x", "SELECT id FROM t WHERE id = :id", ":id"},
		{"sqlite:x", "SELECT id FROM t WHERE id = @id", "@id"}, {"sqlite:x", "SELECT id FROM t WHERE id = $id", "$id"}, {"sqlite:x", "SELECT id FROM t WHERE id = $1", "$1"}, {"", "SELECT id FROM t WHERE id = ?", "?"},
	} {
		if _, err := source.Names(c.url, c.sql); err == nil || !strings.Contains(err.Error(), "found the parameter "+c.want+" of another form: write the name of a parameter in braces, such as {id}") {
			t.Errorf("%s: %s: %v", c.url, c.sql, err)
		}
	}
	for _, c := range []struct{ url, sql string }{
		{"postgres://h/d", "SELECT a[1:2], b::text, c::int[], doc ? 'x', doc ?| ARRAY['a'], '$1 ? :x', $$ $1 :x $$, t$1 FROM t WHERE id = {id} -- $1 ? :x"},
		{"postgres://h/d", "SELECT a[lo:hi], a[:hi], a[1 :n], make_interval(days := 1) AS i FROM t WHERE id = {id}"},
		{"mysql://h/d", "SELECT `a?`, \"$1\", @@sql_mode AS m, doc->'$.x', t$1 FROM t WHERE id = {id} # ? $1"},
		{"sqlite:x", "SELECT [a?], \"b?\", '?', doc->>'$.x' FROM t WHERE id = {id} /* ? */"},
	} {
		if names, err := source.Names(c.url, c.sql); err != nil || !slices.Equal(names, []string{"id"}) {
			t.Errorf("%s: %s: %q, %v", c.url, c.sql, names, err)
		}
	}
	s := dbtest.Postgres(t)
	s.Exec(t, "CREATE TABLE foreigns (id INT PRIMARY KEY)")
	db := database{"postgres", s.URL, s.Exec}.open(t)
	for _, text := range []string{"SELECT id FROM foreigns WHERE id = $1", "SELECT id FROM foreigns WHERE id = {id} AND id = $2"} {
		if _, err := db.Prepare(t.Context(), source.Query{SQL: text, Params: id, Rows: source.One}); err == nil || !strings.Contains(err.Error(), "such as {id}") {
			t.Errorf("%s: %v", text, err)
		}
	}
}

// Braces inside quotes are text, unless a parameter is meant.
func TestBracesInQuotes(t *testing.T) {
	s := dbtest.Postgres(t)
	s.Exec(t, "CREATE TABLE arrays (id INT PRIMARY KEY, tags TEXT[], doc JSONB)", `INSERT INTO arrays VALUES (1, '{a}', '{"a": 7, "id": 8}')`)
	db := database{"postgres", s.URL, s.Exec}.open(t)
	l := prepare(t, db, source.Query{SQL: `SELECT doc #> '{a}' AS a, doc #> '{"id"}' AS i, '{{a}}' AS t FROM arrays WHERE id = {id} AND tags = '{a}'`, Params: id})
	if got, err := l.Load(t.Context(), []string{"1"}); string(got) != `{"a":7,"i":8,"t":"{{a}}"}` || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	for _, text := range []string{"SELECT doc #> '{id}' AS a FROM arrays WHERE id = {id}", "SELECT doc AS id FROM arrays WHERE id::text = '{id}'"} {
		if _, err := db.Prepare(t.Context(), source.Query{SQL: text, Params: id, Rows: source.One}); err == nil || !strings.Contains(err.Error(), `{id} stands inside quotes`) || !strings.Contains(err.Error(), `'{"id"}'`) {
			t.Errorf("%s: %v", text, err)
		}
	}
	if _, err := db.PrepareWrite(t.Context(), "UPDATE arrays SET tags = '{a}', doc = '{t}' WHERE id = {id}", l); err == nil || !strings.Contains(err.Error(), "{a} stands inside quotes") {
		t.Errorf("a column in quotes: %v", err)
	}
}
