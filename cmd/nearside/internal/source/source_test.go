package source_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

// open returns a database made of these statements.
func open(t testing.TB, statements ...string) *source.DB {
	t.Helper()
	path := filepath.Join(t.TempDir(), "test.db")
	w, err := source.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range statements {
		if _, err := w.Exec(s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	db, err := source.Open(t.Context(), "sqlite:"+path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func prepare(t testing.TB, db *source.DB, q source.Query) *source.Loader {
	t.Helper()
	if q.Rows == "" {
		q.Rows = source.One
	}
	if q.MaxRows == 0 {
		q.MaxRows = 100
	}
	l, err := db.Prepare(t.Context(), q)
	if err != nil {
		t.Fatalf("%s: %v", q.SQL, err)
	}
	return l
}

var id = []source.Param{{Name: "id", Int: true}}

func TestTypes(t *testing.T) {
	db := open(t, "CREATE TABLE v (i INTEGER, r REAL, t TEXT, b BLOB, yes BOOLEAN, d DATE, ts TIMESTAMP, dt DATETIME, j JSON, n NUMERIC)")
	for _, c := range []struct{ sql, want string }{
		{"SELECT 9223372036854775807 AS x", `9223372036854775807`},
		{"SELECT -9223372036854775808 AS x", `-9223372036854775808`},
		{"SELECT 0.1 AS x", `0.1`}, {"SELECT 1e100 AS x", `1e+100`}, {"SELECT 12345678.25 AS x", `12345678.25`}, {"SELECT 1.5e-9 AS x", `1.5e-09`},
		{"SELECT 3.0 AS x", `3`}, {"SELECT 0.0 AS x", `0`},
		{"SELECT NULL AS x", `null`},
		{"SELECT 'a\"\\' || char(10, 13, 9, 1, 127) AS x", `"a\"\\\n\r\t\u0001` + "\x7f" + `"`},
		{"SELECT 'grüße 日本 \U0001F600 <&>' AS x", `"grüße 日本 ` + "\U0001F600" + ` <&>"`},
		{"SELECT x'00ff10' AS x", `"AP8Q"`},
		{"SELECT x'' AS x", `""`},
	} {
		got, err := prepare(t, db, source.Query{SQL: c.sql}).Load(t.Context(), nil)
		if want := `{"x":` + c.want + `}`; err != nil || string(got) != want {
			t.Errorf("%s: got %s, %v, want %s", c.sql, got, err, want)
		}
		if err == nil && !json.Valid(got) {
			t.Errorf("%s: %s is no JSON", c.sql, got)
		}
	}
}

func TestDeclaredTypes(t *testing.T) {
	for _, c := range []struct{ typ, value, want string }{
		{"BOOLEAN", "1", "true"}, {"BOOLEAN", "0", "false"}, {"BOOLEAN", "NULL", "null"},
		{"DATE", "'2024-02-29'", `"2024-02-29"`},
		{"TIMESTAMP", "'2024-02-29T13:14:15Z'", `"2024-02-29T13:14:15Z"`},
		{"TIMESTAMP", "'2024-02-29T13:14:15+02:00'", `"2024-02-29T11:14:15Z"`},
		{"TIMESTAMP", "'2024-02-29 13:14:15'", `"2024-02-29 13:14:15"`},
		{"DATETIME", "'2024-02-29 13:14:15.25'", `"2024-02-29 13:14:15.25"`},
		{"DATETIME", "'soon'", `"soon"`},
		{"JSON", `'{"a": [1, 2]}'`, `{"a": [1, 2]}`},
		{"DECIMAL(10,2)", "12.50", "12.5"}, {"NUMERIC", "'12345678901234567890123'", `1.2345678901234568e+22`},
		{"VARCHAR(10)", "'x'", `"x"`}, {"TEXT", "'2024-02-29 13:14:15'", `"2024-02-29 13:14:15"`},
	} {
		db := open(t, "CREATE TABLE v (x "+c.typ+")", "INSERT INTO v VALUES ("+c.value+")")
		got, err := prepare(t, db, source.Query{SQL: "SELECT x FROM v"}).Load(t.Context(), nil)
		if want := `{"x":` + c.want + `}`; err != nil || string(got) != want {
			t.Errorf("%s %s: got %s, %v, want %s", c.typ, c.value, got, err, want)
		}
	}
}

func TestRows(t *testing.T) {
	db := open(t, "CREATE TABLE u (id INTEGER, name TEXT)", "INSERT INTO u VALUES (1, 'Ada'), (2, 'Bob'), (2, 'Cyd')")
	one := prepare(t, db, source.Query{SQL: "SELECT id, name FROM u WHERE id = {id} AND {id} > 0", Params: id})
	if got, err := one.Load(t.Context(), []string{"1"}); string(got) != `{"id":1,"name":"Ada"}` || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if _, err := one.Load(t.Context(), []string{"9"}); !errors.Is(err, source.ErrNotFound) {
		t.Errorf("no row: %v", err)
	}
	if _, err := one.Load(t.Context(), []string{"2"}); err == nil || !strings.Contains(err.Error(), "two rows") {
		t.Errorf("two rows: %v", err)
	}
	many := prepare(t, db, source.Query{SQL: "SELECT name FROM u WHERE id = {id} ORDER BY name;", Params: []source.Param{{Name: "id"}}, Rows: source.Many, MaxRows: 2})
	if got, err := many.Load(t.Context(), []string{"2"}); string(got) != `[{"name":"Bob"},{"name":"Cyd"}]` || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	if got, err := many.Load(t.Context(), []string{"9"}); string(got) != `[]` || err != nil {
		t.Errorf("none: %s, %v", got, err)
	}
	if got, err := many.Load(t.Context(), []string{"1' OR '1'='1"}); string(got) != `[]` || err != nil {
		t.Errorf("a parameter is text, never SQL: %s, %v", got, err)
	}
	ordered := open(t, "CREATE TABLE o (at TIMESTAMP, n INTEGER)", "INSERT INTO o VALUES ('2024-01-01', 1), ('2024-01-03', 3), ('2024-01-02', 2)")
	for _, order := range []string{"at DESC", "n DESC", "at DESC LIMIT 5", "-n"} {
		l := prepare(t, ordered, source.Query{SQL: "SELECT at, n FROM o ORDER BY " + order + " -- newest first", Rows: source.Many})
		want := `[{"at":"2024-01-03","n":3},{"at":"2024-01-02","n":2},{"at":"2024-01-01","n":1}]`
		if got, err := l.Load(t.Context(), nil); string(got) != want || err != nil {
			t.Errorf("ORDER BY %s: got %s, %v", order, got, err)
		}
	}
	all := prepare(t, db, source.Query{SQL: "SELECT name FROM u", Rows: source.Many, MaxRows: 2})
	if _, err := all.Load(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "max_rows") {
		t.Errorf("max_rows: %v", err)
	}
}

func TestLoadErrors(t *testing.T) {
	db := open(t, "CREATE TABLE j (x JSON, f REAL)", "INSERT INTO j VALUES ('{', 9e999)")
	for sql, want := range map[string]string{
		"SELECT x FROM j":                       `column "x": it is declared as JSON`,
		"SELECT f FROM j":                       `column "f": +Inf`,
		"SELECT CAST(x'ff' AS TEXT) AS x":       "not valid UTF-8",
		"SELECT zeroblob(20000000) AS x":        "16 MiB",
		"SELECT abs(-9223372036854775808) AS x": "overflow",
	} {
		if got, err := prepare(t, db, source.Query{SQL: sql}).Load(t.Context(), nil); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %.50s, %v, want %q", sql, got, err, want)
		}
	}
	l := prepare(t, db, source.Query{SQL: "WITH RECURSIVE c(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM c) SELECT count(*) AS n FROM c", Timeout: 50 * time.Millisecond})
	begin := time.Now()
	if _, err := l.Load(t.Context(), nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if d := time.Since(begin); d > 5*time.Second {
		t.Errorf("a query past its timeout took %v", d)
	}
}

func TestPrepareErrors(t *testing.T) {
	db := open(t, "CREATE TABLE u (id INTEGER, name TEXT)")
	for sql, want := range map[string]string{
		"SELECT nope FROM u":           "no such column: nope",
		"SELECT * FROM nowhere":        "no such table: nowhere",
		"SELECT id, name AS id FROM u": `two columns are named "id"`,
		"SELECT '{id}' AS x":           "inside quotes",
		"SELECT {other} AS x":          "{other} is no parameter",
		"SELECT {Id} AS x":             "expected a name",
		"SELECT {id AS x":              "without its '}'",
		"SELECT id} AS x":              "without its '{'",
		"SELECT 1 AS x; DROP TABLE u":  "second statement",
		"SELECT 'x AS x":               "is not closed",
		"":                             "is empty",
		"DELETE FROM u":                "",
		"CREATE TABLE x (y)":           "",
	} {
		if l, err := db.Prepare(t.Context(), source.Query{SQL: sql, Params: id, Rows: source.One}); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: got %v, %v, want %q", sql, l, err, want)
		}
	}
}

func TestOpenErrors(t *testing.T) {
	garbage := filepath.Join(t.TempDir(), "x.db")
	if err := os.WriteFile(garbage, []byte(strings.Repeat("this is no database", 100)), 0o600); err != nil {
		t.Fatal(err)
	}
	for url, want := range map[string]string{
		"sqlite:/nowhere/shop.db": "no such file", "sqlite:": "expected a path", "sqlite:" + t.TempDir(): "is a folder",
		"postgres://u:secret@127.0.0.1:1/d": "connection refused", "mysql://u:secret@127.0.0.1:1/d": "connection refused", "oracle:x": "unknown scheme", "shop.db": "expected sqlite:path", "sqlite:" + garbage: "not a database",
	} {
		_, err := source.Open(t.Context(), url, time.Minute)
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: got %v, want %q", url, err, want)
		}
	}
}

// A database that another program has locked is worth waiting for; one that is none is not.
func TestBusy(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.db")
	w, err := source.Create(path) // locks it, as an exclusive writer does
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	if _, err := w.Exec("CREATE TABLE t (x)"); err != nil {
		t.Fatal(err)
	}
	_, err = source.Open(t.Context(), "sqlite:"+path, time.Minute)
	if err == nil || !source.Away(err) {
		t.Errorf("got %v, want it busy", err)
	}
	if _, err := source.Open(t.Context(), "sqlite:/nowhere.db", time.Minute); err == nil || source.Away(err) {
		t.Errorf("got %v, want it not busy", err)
	}
}

func TestNames(t *testing.T) {
	for sql, want := range map[string]string{
		"SELECT {a}, {b}, {a}": "a b a", "SELECT '{{' AS x, {a} -- {b}\n, {c} /* {d} */": "a c", `SELECT "x" FROM t WHERE y = {a}`: "a", "SELECT {{}}": "",
	} {
		got, err := source.Names("", sql)
		if strings.Join(got, " ") != want || err != nil {
			t.Errorf("%q: got %q, %v, want %q", sql, got, err, want)
		}
	}
}

// A file that another program has made, read where it lies: testdata/workshop.sql has what is in it.
func TestFileOfAnotherProgram(t *testing.T) {
	path := filepath.Join("testdata", "workshop.db")
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	db, err := source.Open(t.Context(), "sqlite:"+path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, c := range []struct {
		sql, id string
		rows    source.Rows
		want    string
	}{
		{"SELECT repair_id, received, bicycle, total FROM repair WHERE repair_id = {id}", "1", source.One,
			`{"repair_id":1,"received":"2024-03-04 09:15:00","bicycle":"touring bicycle, green","total":86.5}`},
		{"SELECT * FROM customer WHERE customer_id = {id}", "3", source.One, `{"customer_id":3,"name":"Siobhán O'Neill","city":null,"since":"2021-06-30"}`},
		{"SELECT repair_id, returned, total FROM repair WHERE customer_id = {id} ORDER BY received", "1", source.Many,
			`[{"repair_id":1,"returned":"2024-03-06 17:40:00","total":86.5},{"repair_id":3,"returned":null,"total":149.95}]`},
		{"SELECT name, lines, parts, total FROM bill WHERE repair_id = {id}", "1", source.One, `{"name":"Käthe Brandt","lines":2,"parts":56.5,"total":86.5}`},
	} {
		got, err := prepare(t, db, source.Query{SQL: c.sql, Params: id, Rows: c.rows}).Load(t.Context(), []string{c.id})
		if err != nil || string(got) != c.want {
			t.Errorf("%s\ngot  %s, %v\nwant %s", c.sql, got, err, c.want)
		}
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was written: %v", err)
	}
	if beside, _ := filepath.Glob(path + "?*"); len(beside) > 0 {
		t.Errorf("files are left: %v", beside)
	}
}

func FuzzNames(f *testing.F) {
	f.Add("SELECT {a} FROM t WHERE x = '{{' -- {b}\n AND y = {c};")
	f.Fuzz(func(t *testing.T, sql string) {
		names, err := source.Names("", sql)
		if err == nil && strings.Count(sql, "{") < len(names) {
			t.Errorf("%q has the names %q", sql, names)
		}
	})
}

func BenchmarkLoad(b *testing.B) {
	db := open(b, "CREATE TABLE u (id INTEGER PRIMARY KEY, name TEXT, email TEXT, city TEXT)", "INSERT INTO u VALUES (1, 'Ada', 'ada@example.com', 'London')")
	l := prepare(b, db, source.Query{SQL: "SELECT id, name, email, city FROM u WHERE id = {id}", Params: id})
	b.ReportAllocs()
	for b.Loop() {
		if _, err := l.Load(b.Context(), []string{"1"}); err != nil {
			b.Fatal(err)
		}
	}
}
