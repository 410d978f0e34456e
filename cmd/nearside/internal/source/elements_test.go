package source_test

import (
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/internal/store"
)

func elements(t testing.TB, db *source.DB, kind store.Kind, q source.Query) *source.Elements {
	t.Helper()
	e, err := prepare(t, db, q).Elements(kind)
	if err != nil {
		t.Fatalf("%s: %v", q.SQL, err)
	}
	return e
}

func gathered(t testing.TB, e *source.Elements, args ...string) (out []store.Element, err error) {
	t.Helper()
	err = e.Load(t.Context(), args, func(el store.Element) error { out = append(out, el); return nil })
	return out, err
}

// A row's values as text are those of its JSON, without quotes; from all databases the same.
func TestElementsOfAll(t *testing.T) {
	const table = "CREATE TABLE wares (id BIGINT PRIMARY KEY, name VARCHAR(40), price DECIMAL(10,2), ratio DOUBLE PRECISION, ok BOOLEAN, born DATE, at %s, doc JSON, data %s, none VARCHAR(9))"
	const rows = "INSERT INTO wares VALUES (9007199254740993, %s, 12.25, 0.1, TRUE, '2024-02-29', '2024-02-29 13:14:15.5', '{\"a\": [1, null]}', %s, NULL), (2, 'two', NULL, -3, FALSE, NULL, NULL, NULL, NULL, NULL)"
	check := func(t *testing.T, db *source.DB) {
		t.Helper()
		for _, c := range []struct {
			kind store.Kind
			sql  string
			want []store.Element
		}{
			{store.Hash, "SELECT * FROM wares WHERE id = 9007199254740993", []store.Element{
				{Member: "id", Value: "9007199254740993"}, {Member: "name", Value: "a\"é\n"}, {Member: "price", Value: "12.25"}, {Member: "ratio", Value: "0.1"},
				{Member: "ok", Value: "true"}, {Member: "born", Value: "2024-02-29"}, {Member: "at", Value: "2024-02-29 13:14:15.5"},
				{Member: "doc", Value: `{"a": [1, null]}`}, {Member: "data", Value: "AP8Q"}}},
			{store.Set, "SELECT name FROM wares", []store.Element{{Member: "two"}, {Member: "a\"é\n"}}},
			{store.List, "SELECT id FROM wares ORDER BY id DESC", []store.Element{{Member: "9007199254740993"}, {Member: "2"}}},
			{store.SortedSet, "SELECT ratio AS score, name AS member FROM wares", []store.Element{{Member: "two", Score: -3}, {Member: "a\"é\n", Score: 0.1}}},
			{store.SortedSet, "SELECT name AS member, price AS score FROM wares WHERE id > 2", []store.Element{{Member: "a\"é\n", Score: 12.25}}},
		} {
			got, err := gathered(t, elements(t, db, c.kind, source.Query{SQL: c.sql}))
			if c.kind == store.Set || c.kind == store.SortedSet {
				if len(got) == 2 && got[0].Member != "two" {
					got[0], got[1] = got[1], got[0]
				}
			}
			if d := cmp.Diff(c.want, got); d != "" || err != nil {
				t.Errorf("%s: %v\n%s", c.sql, err, d)
			}
		}
		for sql, want := range map[string]string{
			"SELECT none FROM wares": `row 1: column "none": NULL is no element`,
			"SELECT name AS member, price AS score FROM wares ORDER BY id DESC": `row 2: column "score" of the member "two": NULL is no score`,
			"SELECT none AS member, ratio AS score FROM wares":                  `row 1: column "member": NULL is no element`,
		} {
			kind := store.Set
			if strings.Contains(sql, "score") {
				kind = store.SortedSet
			}
			if got, err := gathered(t, elements(t, db, kind, source.Query{SQL: sql})); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: got %v, %v, want %q", sql, got, err, want)
			}
		}
		if got, err := gathered(t, elements(t, db, store.Hash, source.Query{SQL: "SELECT * FROM wares WHERE id = {id}", Params: id}), "77"); !errors.Is(err, source.ErrNotFound) {
			t.Errorf("no row: %v, %v", got, err)
		}
		if got, err := gathered(t, elements(t, db, store.Hash, source.Query{SQL: "SELECT * FROM wares"})); err == nil || !strings.Contains(err.Error(), "two rows or more, and a hash is one") {
			t.Errorf("two rows: %v, %v", got, err)
		}
		stop := errors.New("enough")
		if err := elements(t, db, store.List, source.Query{SQL: "SELECT id FROM wares"}).Load(t.Context(), nil, func(store.Element) error { return stop }); !errors.Is(err, stop) {
			t.Errorf("an error of emit: %v", err)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		check(t, open(t, fmt.Sprintf(table, "TIMESTAMP", "BLOB"), fmt.Sprintf(rows, "'a\"é' || char(10)", "x'00ff10'")))
	})
	databases(t, func(t *testing.T, d database) {
		if d.name == "postgres" {
			d.exec(t, fmt.Sprintf(table, "TIMESTAMP", "BYTEA"), fmt.Sprintf(rows, "'a\"é' || chr(10)", `'\x00ff10'`))
		} else {
			d.exec(t, fmt.Sprintf(table, "DATETIME(6)", "BLOB"), fmt.Sprintf(rows, `'a"é\n'`, "x'00ff10'"))
		}
		db := d.open(t)
		check(t, db)
		if d.name == "postgres" { // the others have no such numbers
			for text, want := range map[string]string{"'-Infinity'::float8": "-Inf", "1e300::numeric": "1e+300", "'NaN'::float8": "NaN is no score", "'NaN'::numeric": "NaN is no score"} {
				got, err := gathered(t, elements(t, db, store.SortedSet, source.Query{SQL: "SELECT 'm' AS member, " + text + " AS score"}))
				if err == nil && fmt.Sprint(got[0].Score) != want || err != nil && !strings.Contains(err.Error(), want) {
					t.Errorf("%s: got %v, %v, want %s", text, got, err, want)
				}
			}
		}
		// They are given up when they are too many: to read all would take longer than the limit.
		many := elements(t, db, store.Set, source.Query{SQL: strings.Replace(endlessRows[d.name], ", repeat('x', 200) AS t", "", 1), MaxRows: 1000, Timeout: time.Second})
		if got, err := gathered(t, many); err == nil || !strings.Contains(err.Error(), "more than 1000 rows (max_rows)") || len(got) != 1000 {
			t.Errorf("10,000,000 rows: %d, %v", len(got), err)
		}
	})
}

func TestScores(t *testing.T) {
	db := open(t, "CREATE TABLE s (n NUMERIC, r REAL)", "INSERT INTO s VALUES (1, 9e999)")
	for expr, want := range map[string]float64{
		"9007199254740991": 9007199254740991, "-1.5": -1.5, "9e999": math.Inf(1), "-9e999": math.Inf(-1), "'-inf'": math.Inf(-1), "'12.5'": 12.5, "'1e999'": math.Inf(1),
	} {
		got, err := gathered(t, elements(t, db, store.SortedSet, source.Query{SQL: "SELECT 'm' AS member, " + expr + " AS score"}))
		if err != nil || len(got) != 1 || got[0].Score != want {
			t.Errorf("%s: got %v, %v, want %v", expr, got, err, want)
		}
	}
	for expr, want := range map[string]string{
		"'nan'": `row 1: column "score" of the member "m": NaN is no score`, "'many'": `"many" is no score`, "NULL": "NULL is no score",
	} {
		got, err := gathered(t, elements(t, db, store.SortedSet, source.Query{SQL: "SELECT 'm' AS member, " + expr + " AS score"}))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got %v, %v, want %q", expr, got, err, want)
		}
	}
}

// The columns are looked at when the query is prepared.
func TestElementsColumns(t *testing.T) {
	db := open(t, "CREATE TABLE u (id INTEGER, name TEXT)")
	for _, c := range []struct {
		kind      store.Kind
		sql, want string
	}{
		{store.List, "SELECT id, name FROM u", "found 2 columns (id, name), expected one column: the elements of a list"},
		{store.Set, "SELECT id, name FROM u", "found 2 columns (id, name), expected one column: the elements of a set"},
		{store.SortedSet, "SELECT id FROM u", "found the column id, expected the columns member and score of a sorted set: name them with AS"},
		{store.SortedSet, "SELECT name, id FROM u", "found 2 columns (name, id), expected the columns member and score of a sorted set: name them with AS"},
		{store.SortedSet, "SELECT id AS member, id AS score, name FROM u", "found 3 columns (member, score, name), expected the columns member and score of a sorted set: name them with AS"},
		{store.SortedSet, "SELECT id AS member, name AS score FROM u", "the column score holds no numbers, expected those that order the sorted set"},
	} {
		if _, err := prepare(t, db, source.Query{SQL: c.sql}).Elements(c.kind); err == nil || err.Error() != c.want {
			t.Errorf("%s: got %v, want %s", c.sql, err, c.want)
		}
	}
}
