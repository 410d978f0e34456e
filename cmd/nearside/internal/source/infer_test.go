package source_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/store"
)

// An error of the data is an error, for one row, for many and for a collection. A parameter that cannot be has no rows, and harms
// no other key.
func TestDataErrorsAreNoAbsence(t *testing.T) {
	s := dbtest.Postgres(t)
	s.Exec(t, "CREATE TYPE spirits AS ENUM ('low', 'high')", "CREATE DOMAIN tens AS INT CHECK (VALUE % 10 = 0)",
		"CREATE TABLE raws (id INT, raw TEXT, big BIGINT, day DATE, mood spirits, ten tens, code UUID, ratio NUMERIC, at TIMESTAMPTZ)",
		"INSERT INTO raws VALUES (1, '11', 5, '2024-02-29', 'low', 10, 'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11', 1.5), (2, 'twelve', 9223372036854775807, '2024-03-01', 'high', 20, NULL, 0)",
		"CREATE VIEW rawview AS SELECT id, big * 10 AS n FROM raws")
	db := database{"postgres", s.URL, s.Exec}.open(t)
	for _, c := range []struct{ sql, want string }{
		{"SELECT raw::int AS n FROM raws WHERE id = {id}", `invalid input syntax for type integer: "twelve"`},
		{"SELECT n FROM rawview WHERE id = {id}", "bigint out of range"},
		{"SELECT 1 / (id - 2) AS n FROM raws WHERE id = {id}", "division by zero"},
		{"SELECT raw::date AS n FROM raws WHERE id = {id} AND id = 2", "invalid input syntax for type date"},
		{"SELECT to_date(raw, 'YYYY') AS n FROM raws WHERE id = {id} AND id = 2", "invalid value"},
		{"SELECT (big::text || id::text)::int AS n FROM raws WHERE id = {id}", "out of range"},
		{"SELECT 9::tens AS n FROM raws WHERE id = {id} AND id = 2", "violates check constraint"},
		{"SELECT (SELECT id FROM raws) AS n FROM raws WHERE id = {id}", "more than one row"},
	} {
		for _, rows := range []source.Rows{source.One, source.Many} {
			l := prepare(t, db, source.Query{SQL: c.sql, Params: id, Rows: rows})
			if got, err := l.Load(t.Context(), []string{"2"}); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s, rows: %s: got %s, %v, want %s", c.sql, rows, got, err, c.want)
			}
		}
		l := prepare(t, db, source.Query{SQL: c.sql, Params: id})
		e, err := l.Elements(store.List)
		if err != nil {
			t.Fatal(err)
		}
		if err := e.Load(t.Context(), []string{"2"}, func(store.Element) error { return nil }); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, shape: %v, want %s", c.sql, err, c.want)
		}
	}
	for _, c := range []struct {
		column, param string
		bad           []string
		good          string
	}{
		{"id", "id", []string{"2147483648", "9223372036854775808", "abc", "1.0", ""}, "1"}, {"day", "day", []string{"y", "2024-02-30", "2024-13-01"}, "2024-02-29"}, {"mood", "mood", []string{"nosuch", "Low"}, "low"},
		{"code", "code", []string{"junk", "a0eebc99"}, "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"}, {"ratio", "ratio", []string{"x", "1e9999999"}, "1.5"}, {"at", "at", []string{"never"}, ""},
	} {
		p := []source.Param{{Name: c.param}}
		text := "SELECT " + c.column + ", big FROM raws WHERE " + c.column + " = {" + c.param + "}"
		one, many := prepare(t, db, source.Query{SQL: text, Params: p}), prepare(t, db, source.Query{SQL: text, Params: p, Rows: source.Many})
		batch, err := db.PrepareMany(t.Context(), strings.Replace(text, "= {"+c.param+"}", "IN ({"+c.param+"...})", 1), one)
		if err != nil {
			t.Fatal(err)
		}
		for _, bad := range c.bad {
			if got, err := one.Load(t.Context(), []string{bad}); !errors.Is(err, source.ErrNotFound) {
				t.Errorf("%s = %q: got %s, %v, want no row", c.column, bad, got, err)
			}
			if got, err := many.Load(t.Context(), []string{bad}); string(got) != "[]" || err != nil {
				t.Errorf("%s = %q: got %s, %v, want no rows", c.column, bad, got, err)
			}
			if c.good == "" {
				continue
			}
			if found, err := batch.Load(t.Context(), []string{c.good, bad}); len(found) != 1 || found[c.good] == nil || err != nil {
				t.Errorf("%s: %q and %q together: %s, %v", c.column, c.good, bad, found, err)
			}
		}
	}
	// One row that cannot be computed fails its own key.
	one := prepare(t, db, source.Query{SQL: "SELECT id, raw::int AS n FROM raws WHERE id = {id}", Params: id})
	batch, err := db.PrepareMany(t.Context(), "SELECT id, raw::int AS n FROM raws WHERE id IN ({id...})", one)
	if err != nil {
		t.Fatal(err)
	}
	found, err := batch.Load(t.Context(), []string{"1", "2", "3"})
	if failed, ok := errors.AsType[source.BatchError](err); !ok || len(failed) != 1 || failed["2"] == nil || string(found["1"]) != `{"id":1,"n":11}` || len(found) != 1 {
		t.Errorf("got %s, %v", found, err)
	}
}

// The type of a parameter is that of the column which load compares it with, selected or not; where that is not known it is said.
func TestInferredTypes(t *testing.T) {
	tables := []string{"CREATE TABLE infers (id BIGINT PRIMARY KEY, code VARCHAR(20), born DATE, other INTEGER)", "INSERT INTO infers VALUES (1, 'x1', NULL, 7), (2, '2', NULL, 8)"}
	lite := open(t, tables...)
	for _, c := range []struct{ sql, want, warn string }{
		{"SELECT id, code FROM infers WHERE id = {p}", "int", ""}, {"SELECT code FROM infers i WHERE (i.id = {p}) ORDER BY 1", "int", ""},
		{"SELECT id AS p, code FROM infers WHERE code = {p}", "", ""}, {"SELECT code AS id FROM infers WHERE born = {p}", "", ""},
		{"SELECT (SELECT max(id) FROM infers) AS m, code FROM infers WHERE other = {p} LIMIT 1", "int", ""},
		{"WITH c AS (SELECT id AS x, code FROM infers) SELECT code FROM c WHERE x = {p}", "int", ""},
		{"SELECT a.code FROM infers a JOIN infers b ON a.id = b.other WHERE a.other = 7 AND b.id = {p}", "int", ""},
		{"SELECT code FROM infers WHERE code = 'x' OR id = {p}", "int", ""},
		{"SELECT code FROM infers WHERE id + 0 = {p}", "", "does not tell what {p} is compared with"},
		{"SELECT code FROM infers WHERE code IN (SELECT id FROM infers WHERE code = {p})", "", "does not tell what"},
		{"SELECT code FROM infers WHERE NOT id = {p}", "", "does not tell what"},
		{"SELECT code FROM infers WHERE id = {p} OR other = {p}", "", "does not tell what"},
		{"SELECT code FROM infers WHERE id = {p} UNION SELECT code FROM infers", "", "does not tell what"},
		{"SELECT code FROM infers WHERE id = {p} + 1", "", "does not tell what"},
		{"SELECT {p} AS p", "", "does not tell what"},
	} {
		l := prepare(t, lite, source.Query{SQL: c.sql, Params: []source.Param{{Name: "p"}}, Rows: source.Many})
		if got := strings.Join(l.Warn, "; "); l.Types["p"] != c.want || (c.warn == "") != (got == "") || !strings.Contains(got, c.warn) {
			t.Errorf("%s: got %q, %q, want %q, %q", c.sql, l.Types["p"], got, c.want, c.warn)
		}
		l = prepare(t, lite, source.Query{SQL: c.sql, Params: []source.Param{{Name: "p", Declared: true}}, Rows: source.Many})
		if got := strings.Join(l.Warn, "; "); (c.want == "int") != strings.Contains(got, "is declared as text and compared with whole numbers") {
			t.Errorf("%s, declared as text: %q", c.sql, got)
		}
	}
	m := dbtest.MariaDB(t)
	m.Exec(t, tables...)
	db := database{"mariadb", m.URL, m.Exec}.open(t)
	for sql, want := range map[string]string{"SELECT code FROM infers WHERE id = {p}": "int", "SELECT code FROM `infers` AS i WHERE i.`other` = {p}": "int", "SELECT id FROM infers WHERE code = {p}": ""} {
		if l := prepare(t, db, source.Query{SQL: sql, Params: []source.Param{{Name: "p"}}}); l.Types["p"] != want || len(l.Warn) > 0 {
			t.Errorf("%s: got %q, %q, want %q", sql, l.Types["p"], l.Warn, want)
		}
	}
	// A number of the parameter's name that is spelled otherwise in the key may be a second name of the row.
	l := prepare(t, db, source.Query{SQL: "SELECT id, code FROM infers WHERE id + 0 = {id}", Params: []source.Param{{Name: "id"}}})
	if got, err := l.Load(t.Context(), []string{"1"}); string(got) != `{"id":1,"code":"x1"}` || err != nil {
		t.Errorf("1: %s, %v", got, err)
	}
	for _, key := range []string{"01", " 1", "1abc", "1.0"} {
		if got, err := l.Load(t.Context(), []string{key}); err == nil || !strings.Contains(err.Error(), "declare the parameter's type under 'params'") {
			t.Errorf("%s: %s, %v", key, got, err)
		}
	}
}

// Where the rows of a key cannot be told, each key is loaded by itself, and it is said. A LIMIT of all keys is refused.
func TestLoadManyThatTellsNothing(t *testing.T) {
	db := open(t, "CREATE TABLE nicks (id INTEGER PRIMARY KEY, nick TEXT, vip BOOLEAN)", "INSERT INTO nicks VALUES (1, 'ada', 0), (2, 'Ada', 0), (3, 'bob', 1)")
	for _, c := range []struct{ load, many, warn string }{
		{"SELECT id, nick FROM nicks WHERE id = {id}", "SELECT id, nick FROM nicks WHERE id IN ({id...})", ""},
		{"SELECT n.id AS id, nick FROM nicks n WHERE n.id = {id}", "SELECT n.id AS id, nick FROM nicks n WHERE (n.id IN ({id...})) ORDER BY id", ""},
		{"SELECT * FROM nicks WHERE id = {id} AND (vip OR nick <> '')", "SELECT * FROM nicks WHERE id IN ({id...}) AND (vip OR nick <> '')", ""},
		{"SELECT id, nick FROM nicks WHERE id = {id} OR vip", "SELECT id, nick FROM nicks WHERE id IN ({id...}) OR vip", "loaded by itself"},
		{"SELECT id, nick FROM nicks WHERE abs(id) = {id}", "SELECT id, nick FROM nicks WHERE abs(id) IN ({id...})", "loaded by itself"},
		{"SELECT id, nick FROM nicks WHERE id = {id}", "SELECT max(id) AS id, nick FROM nicks WHERE id IN ({id...}) GROUP BY nick", "loaded by itself"},
		{"SELECT id, nick FROM nicks WHERE id = {id}", "SELECT id, nick FROM nicks WHERE id IN ({id...}) UNION SELECT 1, 'x'", "loaded by itself"},
	} {
		one := prepare(t, db, source.Query{SQL: c.load, Params: id, Rows: source.Many})
		b, err := db.PrepareMany(t.Context(), c.many, one)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(b.Warn, "; "); (got == "") != (c.warn == "") || !strings.Contains(got, c.warn) {
			t.Errorf("%s: warned %q, want %q", c.many, got, c.warn)
		}
		args := []string{"1", "2", "3", "-1", "4"}
		found, err := b.Load(t.Context(), args)
		for _, a := range args {
			single, serr := one.Load(t.Context(), []string{a})
			if string(found[a]) != string(single) || err != nil || serr != nil {
				t.Errorf("%s: %s: %s, and alone %s (%v, %v)", c.many, a, found[a], single, err, serr)
			}
		}
	}
	one := prepare(t, db, source.Query{SQL: "SELECT id, nick FROM nicks WHERE id = {id}", Params: id, Rows: source.Many})
	if _, err := db.PrepareMany(t.Context(), "SELECT id, nick FROM nicks WHERE id IN ({id...}) LIMIT 10", one); err == nil || !strings.Contains(err.Error(), "its LIMIT is one for the rows of all keys together") {
		t.Errorf("with a LIMIT: %v", err)
	}
}

// A text that a column's character set does not have is in none of its rows.
func TestTextOfAnotherCharacterSet(t *testing.T) {
	m := dbtest.MariaDB(t)
	m.Exec(t, "CREATE TABLE latins (k VARCHAR(20) CHARACTER SET latin1, n INT)", "INSERT INTO latins VALUES ('Zoë', 1)")
	db := database{"mariadb", m.URL, m.Exec}.open(t)
	p := []source.Param{{Name: "k"}}
	l := prepare(t, db, source.Query{SQL: "SELECT k, n FROM latins WHERE k = {k}", Params: p})
	if got, err := l.Load(t.Context(), []string{"Zoë"}); string(got) != `{"k":"Zoë","n":1}` || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	b, err := db.PrepareMany(t.Context(), "SELECT k, n FROM latins WHERE k IN ({k...})", l)
	if err != nil {
		t.Fatal(err)
	}
	for _, key := range []string{"日本", "ａｄａ"} {
		if got, err := l.Load(t.Context(), []string{key}); !errors.Is(err, source.ErrNotFound) {
			t.Errorf("%s: %s, %v", key, got, err)
		}
		if found, err := b.Load(t.Context(), []string{key, "Zoë", "ada"}); string(found["Zoë"]) != `{"k":"Zoë","n":1}` || len(found) != 1 || err != nil {
			t.Errorf("%s and others: %s, %v", key, found, err)
		}
	}
}
