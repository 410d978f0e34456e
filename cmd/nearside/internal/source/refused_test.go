package source_test

import (
	"strings"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

// What is no query, or none that only reads, is refused with what is wrong with it; and nothing of the error is of our own making,
// such as the brackets that a query is put into. What a database takes for a query goes on to work.
func TestRefusedStatements(t *testing.T) {
	const selects = "a load is one SELECT (or begins with WITH, VALUES or TABLE)"
	type want map[string]string // the text of the error for each database; "" for all others
	refusals := map[string]want{
		"CALL p({id})":                                                                 {"": "found CALL: " + selects + "; a procedure cannot be called"},
		"-- it is\n/* called */ call p({id})":                                          {"": "found call: " + selects},
		"UPDATE t SET n = 1 WHERE id = {id} RETURNING id":                              {"": "found UPDATE: " + selects + " and may not write, not even with RETURNING"},
		"INSERT INTO t VALUES ({id}, 1)":                                               {"": "found INSERT: "},
		"DELETE FROM t WHERE id = {id}":                                                {"": "found DELETE: "},
		"EXPLAIN SELECT id FROM t WHERE id = {id}":                                     {"": `found "EXPLAIN": ` + selects},
		"SELEC id FROM t WHERE id = {id}":                                              {"": `found "SELEC": ` + selects},
		"((SELEC id FROM t WHERE id = {id}))":                                          {"": `found "SELEC": ` + selects},
		"{id} + 1":                                                                     {"": selects},
		"-- SELECT id FROM t":                                                          {"": "it is empty: one statement is expected"},
		"SELECT id FROM t WHERE id = {id}; SELECT 1":                                   {"": "a second statement after ';'"},
		"SELECT id FORM t WHERE id = {id}":                                             {"sqlite": `near "t": syntax error`, "postgres": `syntax error at or near "t"`, "mariadb": "near 't WHERE id = ?' at line 1"},
		"SELECT id FROM t WHERE id = {id} AND":                                         {"sqlite": "incomplete input", "postgres": "syntax error at end of input", "mariadb": "near '' at line 1"},
		"SELECT id FROM t WHERE id {id}":                                               {"sqlite": `near "?"`, "postgres": `at or near "{id}"`, "mariadb": "near '?' at line 1"},
		"SELECT id FROM t\nWHERE id = {id}\nORDR BY id":                                {"sqlite": `near "ORDR"`, "postgres": `at or near "ORDR" (SQLSTATE 42601), in line 3`, "mariadb": "near 'ORDR BY id' at line 3"},
		"SELECT id FROM t WHERE id = {id}) AS a, (SELECT 1 AS b":                       {"sqlite": `near ")"`, "postgres": `at or near ")"`, "mariadb": "near ') AS a, (SELECT 1 AS b'"},
		"SELECT id FROM t WHERE id = {id} FOR UPDATE":                                  {"sqlite": `near "FOR"`, "": "a load may not write, nor lock rows (FOR UPDATE)"},
		"WITH x AS (UPDATE t SET n = 1 RETURNING id) SELECT id FROM x WHERE id = {id}": {"postgres": "a load is one SELECT that only reads: ERROR: WITH clause containing a data-modifying", "": "UPDATE"},
		"SELECT id FROM nowhere WHERE id = {id}":                                       {"": "nowhere"},

		"WITH q AS (SELECT id FROM t) SELECT id FROM q WHERE id = {id}": {"": "good"},
		"VALUES ({id})":                      {"": "good"},
		"TABLE t":                            {"postgres": "good", "": "TABLE"},
		"(SELECT id FROM t WHERE id = {id})": {"sqlite": `near "("`, "": "good"},
		"/* a -- b */ -- c\n  SELECT id FROM t WHERE id = {id} -- d":    {"": "good"},
		"SELECT id FROM t WHERE id = {id};":                             {"": "good"},
		"select count(*) AS n FROM t WHERE id = {id}":                   {"": "good"},
		"SELECT value AS id FROM json_each('[1]') WHERE value = {id}":   {"sqlite": "good", "": ""},
		"SELECT g AS id FROM generate_series(1, 3) AS g WHERE g = {id}": {"postgres": "good", "": ""},
		"SELECT 1 / n AS x FROM t WHERE id = {id}":                      {"": "good"},
	}
	check := func(t *testing.T, name string, db *source.DB) {
		for sql, of := range refusals {
			w, ok := of[name]
			if !ok {
				w = of[""]
			}
			_, err := db.Prepare(t.Context(), source.Query{SQL: sql, Params: id, Rows: source.One})
			switch {
			case w == "good":
				if err != nil {
					t.Errorf("%q: %v", sql, err)
				}
			case err == nil || !strings.Contains(err.Error(), w) || strings.Contains(err.Error(), "AS q"):
				t.Errorf("%q: got %v, want %s", sql, err, w)
			}
		}
		one := prepare(t, db, source.Query{SQL: "SELECT id FROM t WHERE id = {id}", Params: id})
		both := prepare(t, db, source.Query{SQL: "SELECT id, n FROM t WHERE id = {id}", Params: id})
		if _, err := db.PrepareMany(t.Context(), "SELEC id FROM t WHERE id IN ({id...})", one); err == nil || !strings.Contains(err.Error(), `found "SELEC"`) {
			t.Errorf("load_many: %v", err)
		}
		const expected = "a statement that writes a row begins with INSERT"
		for sql, w := range map[string]string{
			"CALL p({id})":                          `found "CALL": ` + expected,
			"UPDAT t SET n = {n} WHERE id = {id}":   `found "UPDAT": ` + expected,
			"CREATE TABLE x (id INT)":               `found "CREATE": ` + expected,
			"COMMIT":                                `found "COMMIT": ` + expected,
			"UPDATE t SET n = {n}; SELECT 1":        "a second statement after ';'",
			"UPDATE t SET n = 1":                    "it uses no parameter of the key",
			"UPDATE t SET n = {nn} WHERE id = {id}": "{nn} is neither in the key nor a column",
			"/* a */ DELETE FROM t WHERE id = {id}": "",
		} {
			_, err := db.PrepareWrite(t.Context(), sql, both)
			if err == nil && w != "" || err != nil && (w == "" || !strings.Contains(err.Error(), w)) {
				t.Errorf("store: %q: got %v, want %s", sql, err, w)
			}
		}
	}
	t.Run("sqlite", func(t *testing.T) { check(t, "sqlite", open(t, "CREATE TABLE t (id INTEGER, n INTEGER)")) })
	databases(t, func(t *testing.T, d database) {
		d.exec(t, "CREATE TABLE t (id INT, n INT)")
		check(t, d.name, d.open(t))
	})
}
