package source_test

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver of dbtest
	"go.uber.org/goleak"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/internal/dbtest"
)

func TestMain(m *testing.M) {
	status := m.Run()
	dbtest.Stop()
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// database is one kind of database in a test of all.
type database struct {
	name string
	url  string
	exec func(t testing.TB, statements ...string)
}

// databases runs a test on a real server of each kind.
func databases(t *testing.T, test func(t *testing.T, d database)) {
	t.Run("postgres", func(t *testing.T) { s := dbtest.Postgres(t); test(t, database{"postgres", s.URL, s.Exec}) })
	t.Run("mariadb", func(t *testing.T) { s := dbtest.MariaDB(t); test(t, database{"mariadb", s.URL, s.Exec}) })
}

func (d database) open(t testing.TB) *source.DB {
	t.Helper()
	db, err := source.Open(t.Context(), d.url, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

const planes = "aé日\U0001F600\U00020000\"\\\n\t\x01"

// The types of each server, value by value.
func TestServerTypes(t *testing.T) {
	type value struct{ sql, want string }
	values := map[string][]value{
		"postgres": {
			{"9223372036854775807::bigint", "9223372036854775807"}, {"(-32768)::smallint", "-32768"}, {"7::int", "7"},
			{"123456789012345678901234567890.123456789::numeric", "123456789012345678901234567890.123456789"}, {"1.50::numeric(10,2)", "1.50"}, {"'-0.0000001'::numeric", "-0.0000001"},
			{"0.1::float4", "0.1"}, {"0.1::float8", "0.1"}, {"1e100::float8", "1e+100"}, {"1.5e-9::float8", "1.5e-09"}, {"3::float8", "3"},
			{"'NaN'::float8", "error: NaN has no form in JSON"}, {"'NaN'::numeric", "error: NaN has no form in JSON"}, {"'-Infinity'::float4", "error: -Inf has no form in JSON"},
			{"true", "true"}, {"false", "false"}, {"NULL::bool", "null"},
			{"'plain'::text", `"plain"`}, {"'x'::varchar(3)", `"x"`}, {"'ab'::char(4)", `"ab  "`}, {`'\x00ff10'::bytea`, `"AP8Q"`}, {`''::bytea`, `""`},
			{"'2024-02-29'::date", `"2024-02-29"`}, {"'infinity'::date", "error: infinity has no form in JSON"}, {"'0044-03-15 BC'::date", "error: 0044-03-15 BC has no form"},
			{"'2024-02-29 13:14:15.120'::timestamp", `"2024-02-29 13:14:15.12"`}, {"'2024-02-29 13:14:15'::timestamp", `"2024-02-29 13:14:15"`},
			{"'2024-02-29 13:14:15.123456+02'::timestamptz", `"2024-02-29T11:14:15.123456Z"`}, {"'2024-02-29 13:14:15+05:30'::timestamptz", `"2024-02-29T07:44:15Z"`},
			{"'13:14:15.5'::time", `"13:14:15.5"`}, {"'1 day'::interval", `"1 day"`},
			{`'{"a": [1, null]}'::json`, `{"a": [1, null]}`}, {`'{"b":1,"a":"x"}'::jsonb`, `{"a": "x", "b": 1}`}, {"'null'::jsonb", "null"},
			{"ARRAY[1,NULL,3]", "[1,null,3]"}, {"ARRAY[[1,2],[3,4]]", "[[1,2],[3,4]]"}, {"'{}'::int[]", "[]"}, {`ARRAY['a','b"c','NULL',NULL,'{1}','','d\e']`, `["a","b\"c","NULL",null,"{1}","","d\\e"]`},
			{"ARRAY[true,false]", "[true,false]"}, {"ARRAY[1.50,2]::numeric[]", "[1.50,2]"}, {"ARRAY['2024-01-02 03:04:05+00'::timestamptz]", `["2024-01-02T03:04:05Z"]`}, {"'[0:1]={1,2}'::int[]", "[1,2]"},
			{`ARRAY['{"a":1}'::jsonb]`, `[{"a": 1}]`}, {`ARRAY['\x00ff10'::bytea]`, `["AP8Q"]`},
			{"ARRAY['(1,1),(0,0)','(3,3),(2,2)']::box[]", `["(1,1),(0,0)","(3,3),(2,2)"]`}, {"'1 2'::int2vector", `"1 2"`}, {"ARRAY['1 2']::int2vector[]", `["1 2"]`},
			{"'{sad,happy,NULL}'::mood[]", `["sad","happy",null]`}, {"'{}'::mood[]", "[]"}, {"'{{sad},{happy}}'::mood[]", `[["sad"],["happy"]]`},
			{"7::small", "7"}, {"'{1,2}'::small[]", "[1,2]"}, {"'{1.5,2}'::cents[]", "[1.5,2]"}, {"'{3,4}'::pair", "[3,4]"}, {"'{a,\"b c\"}'::email[]", `["a","b c"]`}, {`ARRAY['{"a":1}'::doc]`, `[{"a": 1}]`},
			{"'A'::citext", `"A"`}, {"'{A,b}'::citext[]", `["A","b"]`}, {"'a.b'::ltree", `"a.b"`}, {"'{a.b,c}'::ltree[]", `["a.b","c"]`},
			{"'a=>1'::hstore", `"\"a\"=>\"1\""`}, {"ARRAY['a=>1'::hstore]", `["\"a\"=>\"1\""]`}, {"(1,'a')::point3", `"(1,a)"`}, {"ARRAY[(1,'a')::point3]", `["(1,a)"]`},
			{"'[1,3)'::int4range", `"[1,3)"`}, {"ARRAY['[1,3)'::int4range]", `["[1,3)"]`}, {"'{[1,3)}'::int4multirange", `"{[1,3)}"`}, {"'{1,2}'::tiny[]", "[1,2]"},
			{"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'::uuid", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`}, {"'happy'::mood", `"happy"`}, {"'127.0.0.1'::inet", `"127.0.0.1"`},
		},
		"mariadb": {
			{"CAST(9223372036854775807 AS SIGNED)", "9223372036854775807"}, {"CAST(18446744073709551615 AS UNSIGNED)", "18446744073709551615"}, {"t.tiny", "-7"}, {"t.year", "2024"},
			{"t.dec", "123456789012345678901234567890.123456789"}, {"CAST(1.5 AS DECIMAL(10,2))", "1.50"},
			{"t.f", "0.1"}, {"t.d", "0.1"}, {"t.d + 1e100", "1e+100"},
			{"t.flag", "true"}, {"NULL", "null"}, {"t.txt", `"plain"`}, {"t.ch", `"ab"`}, {"t.bin", `"AP8Q"`}, {"t.blb", `"AP8Q"`},
			{"t.day", `"2024-02-29"`}, {"t.dt", `"2024-02-29 13:14:15.12"`}, {"t.dt0", `"2024-02-29 13:14:15"`}, {"t.ts", `"2024-02-29T11:14:15.123456Z"`}, {"t.tm", `"13:14:15"`},
			{"t.doc", `{"a": [1, null]}`}, {"t.en", `"happy"`}, {"t.st", `"a,c"`}, {"t.id", `"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"`},
		},
	}
	from := map[string]string{"postgres": "", "mariadb": " FROM types t"}
	databases(t, func(t *testing.T, d database) {
		if d.name == "postgres" {
			d.exec(t, "CREATE TYPE mood AS ENUM ('sad', 'happy')", "CREATE DOMAIN small AS int CHECK (VALUE < 10)", "CREATE DOMAIN cents AS numeric", "CREATE DOMAIN tiny AS small",
				"CREATE DOMAIN pair AS int[]", "CREATE DOMAIN email AS text", "CREATE DOMAIN doc AS jsonb", "CREATE TYPE point3 AS (n int, t text)",
				"CREATE EXTENSION citext", "CREATE EXTENSION ltree", "CREATE EXTENSION hstore")
		} else {
			d.exec(t, "CREATE TABLE types (tiny TINYINT, year YEAR, `dec` DECIMAL(40,9), f FLOAT, d DOUBLE, flag BOOLEAN, txt TEXT, ch CHAR(4), bin BINARY(3), "+
				"blb BLOB, day DATE, dt DATETIME(3), dt0 DATETIME, ts TIMESTAMP(6) NULL, tm TIME, doc JSON, en ENUM('sad','happy'), st SET('a','b','c'), id UUID)",
				"SET time_zone = '+00:00'; INSERT INTO types VALUES (-7, 2024, 123456789012345678901234567890.123456789, 0.1, 0.1, TRUE, 'plain', 'ab', x'00ff10', "+
					"x'00ff10', '2024-02-29', '2024-02-29 13:14:15.120', '2024-02-29 13:14:15', '2024-02-29 11:14:15.123456', '13:14:15', '{\"a\": [1, null]}', "+
					"'happy', 'a,c', 'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11')")
		}
		db := d.open(t)
		for _, v := range values[d.name] {
			name := "x"
			if n, ok := strings.CutPrefix(v.sql, "t."); ok && !strings.Contains(n, " ") {
				name = n // a boolean and a document are known by the column's name
			}
			l, err := db.Prepare(t.Context(), source.Query{SQL: "SELECT " + v.sql + " AS `" + name + "`" + from[d.name], Rows: source.One})
			if d.name == "postgres" {
				l, err = db.Prepare(t.Context(), source.Query{SQL: "SELECT " + v.sql + " AS x", Rows: source.One})
			}
			if err != nil {
				t.Errorf("%s: %v", v.sql, err)
				continue
			}
			got, err := l.Load(t.Context(), nil)
			want := `{"` + name + `":` + v.want + `}`
			if text, isErr := strings.CutPrefix(v.want, "error: "); isErr {
				if err == nil || !strings.Contains(err.Error(), text) {
					t.Errorf("%s: got %s, %v, want the error %s", v.sql, got, err, text)
				}
			} else if err != nil || string(got) != want {
				t.Errorf("%s: got %s, %v, want %s", v.sql, got, err, want)
			}
		}
	})
}

// A column that becomes an array of a type that was not seen before: loads and writes go on, and have it as an array.
func TestServerTypesAltered(t *testing.T) {
	s := dbtest.Postgres(t)
	s.Exec(t, "CREATE TYPE colour AS ENUM ('red', 'blue')", "CREATE TABLE altered (id INT PRIMARY KEY, tags TEXT, n INT)", "INSERT INTO altered VALUES (1, '{red}', 0)")
	db := database{"postgres", s.URL, s.Exec}.open(t)
	l := prepare(t, db, source.Query{SQL: "SELECT id, tags, n FROM altered WHERE id = {id}", Params: id})
	w, err := db.PrepareWrite(t.Context(), "UPDATE altered SET n = {n} WHERE id = {id}", l)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := l.Load(t.Context(), []string{"1"}); string(got) != `{"id":1,"tags":"{red}","n":0}` || err != nil {
		t.Errorf("got %s, %v", got, err)
	}
	s.Exec(t, "ALTER TABLE altered ALTER tags TYPE colour[] USING tags::colour[]")
	c, err := w.Check([]string{"1"}, []byte(`{"n":1}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"id":1,"tags":["red"],"n":1}`
	if got, err := c.Run(t.Context()); string(got) != want || err != nil {
		t.Errorf("a write: %s, %v, want %s", got, err, want)
	}
	s.Exec(t, "CREATE DOMAIN hue AS colour", "ALTER TABLE altered ALTER tags TYPE hue[] USING tags::text[]::hue[]")
	for range 2 {
		if got, err := l.Load(t.Context(), []string{"1"}); string(got) != want || err != nil {
			t.Errorf("a load: %s, %v, want %s", got, err, want)
		}
	}
}

// The same row gives the same JSON from all.
func TestSameRow(t *testing.T) {
	const query = "SELECT id, name, price, ratio, ok, born, at, doc, data, none FROM goods WHERE id = {id}"
	const want = `{"id":42,"name":"aé日` + "\U0001F600\U00020000" + `\"\\\n\t\u0001","price":12.25,"ratio":0.1,"ok":true,"born":"2024-02-29",` +
		`"at":"2024-02-29 13:14:15.5","doc":{"a": [1, null, "x"]},"data":"AP8Q","none":null}`
	table := "CREATE TABLE goods (id BIGINT PRIMARY KEY, name TEXT, price DECIMAL(10,2), ratio DOUBLE PRECISION, ok BOOLEAN, born DATE, at %s, doc JSON, data %s, none TEXT)"
	insert := "INSERT INTO goods VALUES (42, %s, 12.25, 0.1, TRUE, '2024-02-29', '2024-02-29 13:14:15.5', '{\"a\": [1, null, \"x\"]}', %s, NULL)"
	quote := strings.NewReplacer("'", "''").Replace(planes)
	check := func(t *testing.T, db *source.DB) {
		t.Helper()
		l := prepare(t, db, source.Query{SQL: query, Params: id})
		if got, err := l.Load(t.Context(), []string{"42"}); string(got) != want || err != nil {
			t.Errorf("got  %s, %v\nwant %s", got, err, want)
		}
		if _, err := l.Load(t.Context(), []string{"43"}); !errors.Is(err, source.ErrNotFound) {
			t.Errorf("no such row: %v", err)
		}
	}
	t.Run("sqlite", func(t *testing.T) {
		check(t, open(t, fmt.Sprintf(table, "TIMESTAMP", "BLOB"), fmt.Sprintf(insert, "'"+quote+"'", "x'00ff10'")))
	})
	databases(t, func(t *testing.T, d database) {
		if d.name == "postgres" {
			d.exec(t, fmt.Sprintf(table, "TIMESTAMP", "BYTEA"), fmt.Sprintf(insert, "'"+quote+"'", `'\x00ff10'`))
		} else {
			d.exec(t, fmt.Sprintf(table, "DATETIME(6)", "BLOB"), fmt.Sprintf(insert, "'"+strings.ReplaceAll(quote, `\`, `\\`)+"'", "x'00ff10'"))
		}
		check(t, d.open(t))
	})
}

// What goes wrong has a clear error without the password, and the next request works.
func TestServerErrors(t *testing.T) {
	databases(t, func(t *testing.T, d database) {
		d.exec(t, "CREATE TABLE errs (id INT PRIMARY KEY, name VARCHAR(20))", "INSERT INTO errs VALUES (1, 'one'), (2, 'two')",
			"CREATE VIEW errview AS SELECT id, name FROM errs")
		for url, want := range map[string]string{
			strings.Replace(d.url, "s3cret", "wr0ng", 1): "check the user and the password in the URL",
			d.url + "x": "check the name behind the host in the URL",
			d.url + map[string]string{"postgres": "?sslmode=require", "mariadb": "?foo=bar"}[d.name]: map[string]string{
				"postgres": "server refused TLS connection: it has none, and sslmode in the URL asks for it", "mariadb": `unexpected parameter "foo"`}[d.name],
		} {
			db, err := source.Open(t.Context(), url, time.Minute)
			if err == nil {
				db.Close()
			}
			if err == nil || !strings.Contains(err.Error(), want) || source.Away(err) || strings.Contains(err.Error(), "\n") || strings.Contains(err.Error(), "wr0ng") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("%s: got %v, want %q", url, err, want)
			}
		}
		db := d.open(t)
		for text, want := range map[string]string{
			"SELECT id FROM nowhere WHERE id = {id}":     "nowhere",
			"SELECT id, id FROM errs WHERE id = {id}":    "id",
			"UPDATE errs SET name = 'x' WHERE id = {id}": "",
		} {
			if _, err := db.Prepare(t.Context(), source.Query{SQL: text, Params: id, Rows: source.One}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s: %v", text, err)
			}
		}
		l := prepare(t, db, source.Query{SQL: "SELECT id, name FROM errview WHERE id = {id}", Params: id})
		load := func(arg, want string) {
			t.Helper()
			got, err := l.Load(t.Context(), []string{arg})
			if string(got) != want || err != nil {
				t.Errorf("%s: got %s, %v, want %s", arg, got, err, want)
			}
		}
		if l.Types["id"] != "int" {
			t.Errorf("the parameter's type: %q, want int", l.Types["id"])
		}
		load("1", `{"id":1,"name":"one"}`)
		if _, err := l.Load(t.Context(), []string{"9223372036854775807"}); !errors.Is(err, source.ErrNotFound) {
			t.Errorf("a number that fits no INT: %v", err)
		}
		d.exec(t, "DROP VIEW errview")
		if _, err := l.Load(t.Context(), []string{"1"}); err == nil || !strings.Contains(err.Error(), "errview") {
			t.Errorf("a view that is gone: %v", err)
		}
		d.exec(t, alter[d.name], "CREATE VIEW errview AS SELECT id, name FROM errs")
		load("1", `{"id":1,"name":17}`) // a number now, and known as one

		slow := prepare(t, db, source.Query{SQL: sleep[d.name], Timeout: 100 * time.Millisecond})
		begin := time.Now()
		if _, err := slow.Load(t.Context(), nil); err == nil || time.Since(begin) > 5*time.Second {
			t.Errorf("a slow statement: %v after %v", err, time.Since(begin))
		}
		// They are given up when they are too many: to read all, 2 GB, would take longer than the limit.
		endless := prepare(t, db, source.Query{SQL: endlessRows[d.name], Rows: source.Many, MaxRows: 1000, Timeout: time.Second})
		begin = time.Now()
		if _, err := endless.Load(t.Context(), nil); err == nil || !strings.Contains(err.Error(), "more than 1000 rows (max_rows)") {
			t.Errorf("10,000,000 rows: %v", err)
		}
		t.Logf("10,000,000 rows were given up after %v", time.Since(begin))
		load("2", `{"id":2,"name":17}`)

		all := prepare(t, db, source.Query{SQL: "SELECT * FROM errs WHERE id = {id}", Params: id})
		d.exec(t, "ALTER TABLE errs ADD COLUMN more INT")
		if _, err := all.Load(t.Context(), []string{"1"}); err == nil || !strings.Contains(err.Error(), "the query has 3 columns, and had 2 at the start: restart") {
			t.Errorf("a table with one more column: %v", err)
		}
		load("2", `{"id":2,"name":17}`)
	})
}

var (
	alter = map[string]string{
		"postgres": "ALTER TABLE errs ALTER COLUMN name TYPE INT USING 17",
		"mariadb":  "UPDATE errs SET name = '17'; ALTER TABLE errs MODIFY name INT",
	}
	sleep       = map[string]string{"postgres": "SELECT pg_sleep(20)::text AS s", "mariadb": "SELECT sleep(20) AS s FROM errs LIMIT 1"}
	endlessRows = map[string]string{"postgres": "SELECT generate_series(1, 10000000) AS n, repeat('x', 200) AS t", "mariadb": "SELECT seq AS n, repeat('x', 200) AS t FROM seq_1_to_10000000"}
)

// A server that is restarted: the loads after it work.
func TestServerRestart(t *testing.T) {
	for name, server := range map[string]func(testing.TB) *dbtest.Server{"postgres": dbtest.Postgres, "mariadb": dbtest.MariaDB} {
		t.Run(name, func(t *testing.T) {
			s := server(t)
			s.Exec(t, "CREATE TABLE restarts (id INT PRIMARY KEY)", "INSERT INTO restarts VALUES (1)")
			db, err := source.Open(t.Context(), s.URL, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			defer db.Close()
			l := prepare(t, db, source.Query{SQL: "SELECT id FROM restarts WHERE id = {id}", Params: id})
			var wg sync.WaitGroup
			stop := make(chan struct{})
			var failed, good atomic.Int64
			for range 8 {
				wg.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if _, err := l.Load(t.Context(), []string{"1"}); err != nil {
							failed.Add(1)
							time.Sleep(time.Millisecond)
						} else {
							good.Add(1)
						}
					}
				})
			}
			time.Sleep(200 * time.Millisecond)
			s.Stop()
			if _, err := l.Load(t.Context(), []string{"1"}); err == nil || !strings.HasPrefix(err.Error(), "connect to ") || strings.ContainsAny(err.Error(), "\n\t") || strings.Contains(err.Error(), "s3cret") {
				t.Errorf("without a server: %v", err)
			}
			if _, err := source.Open(t.Context(), s.URL, time.Second); err == nil || !source.Away(err) {
				t.Errorf("open without a server: %v", err)
			}
			if err := s.Start(); err != nil {
				t.Fatal(err)
			}
			close(stop)
			wg.Wait()
			for n := range 20 {
				if got, err := l.Load(t.Context(), []string{"1"}); string(got) != `{"id":1}` || err != nil {
					t.Errorf("load %d after the restart: %s, %v", n, got, err)
				}
			}
			t.Logf("%d loads before it and around it, %d failed", good.Load(), failed.Load())
		})
	}
}

// Writing, and what is refused, on the servers.
func TestServerWrite(t *testing.T) {
	databases(t, func(t *testing.T, d database) {
		types := map[string]string{"postgres": "BYTEA", "mariadb": "BLOB"}
		d.exec(t, "CREATE TABLE folk (id INT PRIMARY KEY, name VARCHAR(20) NOT NULL, balance DECIMAL(40,9), ok BOOLEAN, doc JSON, data "+types[d.name]+", born DATE, n INT NOT NULL DEFAULT 0)",
			"INSERT INTO folk (id, name) VALUES (1, 'Ada')", roles[d.name])
		db := d.open(t)
		l := prepare(t, db, source.Query{SQL: "SELECT * FROM folk WHERE id = {id}", Params: id})
		const update = "UPDATE folk SET name = {name}, balance = {balance}, ok = {ok}, doc = {doc}, data = {data}, born = {born} WHERE id = {id}"
		w, err := db.PrepareWrite(t.Context(), update, l)
		if err != nil {
			t.Fatal(err)
		}
		write := func(id, value string) (string, error) {
			c, err := w.Check([]string{id}, []byte(value))
			if err != nil {
				return "", err
			}
			row, err := c.Run(t.Context())
			return string(row), err
		}
		const row = `{"id":1,"name":"Ada 日","balance":123456789012345678901234567890.123456789,"ok":true,"doc":{"a":[1,null]},"data":"AP8Q","born":"1815-12-10","n":0}`
		for range 2 { // an UPDATE that changes nothing has found its row all the same
			if got, err := write("1", row); got != row || err != nil {
				t.Errorf("got  %s, %v\nwant %s", got, err, row)
			}
		}
		bad := strings.Replace(row, `"Ada 日"`, "null", 1)
		if _, err := write("1", bad); err == nil {
			t.Error("NULL in a NOT NULL column was written")
		}
		if _, err := write("1", strings.Replace(row, `"1815-12-10"`, `"soon"`, 1)); err == nil {
			t.Error("a date that is none was written")
		}
		if _, err := write("2", strings.Replace(row, `"id":1`, `"id":2`, 1)); !errors.Is(err, source.ErrNotFound) {
			t.Errorf("no such row: %v", err)
		}
		if got, err := l.Load(t.Context(), []string{"1"}); string(got) != row || err != nil {
			t.Errorf("after the errors: %s, %v", got, err)
		}
		reader, err := source.Open(t.Context(), strings.Replace(d.url, "app:s3cret", "reader:s3cret", 1), time.Minute)
		if err != nil {
			t.Fatal(err)
		}
		defer reader.Close()
		rl := prepare(t, reader, source.Query{SQL: "SELECT * FROM folk WHERE id = {id}", Params: id})
		if _, err := reader.PrepareWrite(t.Context(), update, rl); err == nil || !strings.Contains(err.Error(), "denied") || !strings.Contains(err.Error(), "GRANT") || !strings.Contains(err.Error(), "UPDATE") {
			t.Errorf("a role that may only read: %v", err)
		}
		if _, err := write("1", strings.Replace(row, `"n":0`, `"n":0.5`, 1)); err != nil {
			t.Errorf("a field that is not written: %v", err)
		}
		wn, err := db.PrepareWrite(t.Context(), "UPDATE folk SET n = {n} WHERE id = {id}", l)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := wn.Check([]string{"1"}, []byte(`{"n":1.5}`)); !errors.Is(err, source.ErrBadValue) {
			t.Errorf("a fraction for an INT: %v", err) // MySQL would round it
		}
		many, err := db.PrepareMany(t.Context(), "SELECT * FROM folk WHERE id IN ({id...})", l)
		if err != nil {
			t.Fatal(err)
		}
		if found, err := many.Load(t.Context(), []string{"1", "2", "3"}); string(found["1"]) != row || len(found) != 1 || err != nil {
			t.Errorf("load_many: %s, %v", found, err)
		}
		// The column's type changes behind the prepared statements.
		d.exec(t, "ALTER TABLE folk "+map[string]string{"postgres": "ALTER COLUMN n TYPE BIGINT", "mariadb": "MODIFY n BIGINT NOT NULL"}[d.name])
		if got, err := write("1", row); got != row || err != nil {
			t.Errorf("after the column was altered: %s, %v", got, err)
		}
	})
}

var roles = map[string]string{
	"postgres": "CREATE ROLE reader LOGIN PASSWORD 's3cret'; GRANT SELECT ON folk TO reader",
	"mariadb":  "CREATE USER reader@'127.0.0.1' IDENTIFIED BY 's3cret'; GRANT SELECT ON shop.* TO reader@'127.0.0.1'",
}

// What is a parameter, in the SQL of each database.
func TestNamesByDialect(t *testing.T) {
	for _, c := range []struct{ url, sql, want string }{
		{"postgres://h/d", `SELECT $$ {1} $$, $x$ it's {2} $x$, E'\' {1}', a[1], b::text FROM t WHERE id = {id}`, "id"},
		{"postgres://h/d", "SELECT /* a /* {b} */ {c} */ 1 WHERE x = {id}", "id"},
		{"postgres://h/d", "SELECT a[{n}] FROM t WHERE x = {id} -- {z}", "n id"},
		{"mysql://h/d", "SELECT 'it\\'s', \"\\\"\", `{`, 1 # {a}\n FROM t WHERE id = {id}", "id"},
		{"sqlite:x", "SELECT [{], '\\' FROM t WHERE id = {id}", "id"},
	} {
		names, err := source.Names(c.url, c.sql)
		if got := strings.Join(names, " "); got != c.want || err != nil {
			t.Errorf("%s: %s: got %q, %v, want %q", c.url, c.sql, got, err, c.want)
		}
	}
}
