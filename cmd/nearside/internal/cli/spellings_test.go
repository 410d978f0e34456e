package cli

import (
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/store/redis"

	"github.com/nearside/nearside/cmd/nearside/internal/config"
	"github.com/nearside/nearside/cmd/nearside/internal/serve"
)

var (
	spellingsRounds = flag.Int("spellings.rounds", 6, "batches of each kind of key in TestSpellings")
)

// keyKind is a kind of column that keys are compared with.
type keyKind struct {
	typ    string   // its type in SQL
	where  string   // what is compared with the parameter; the column k if empty
	rows   []string // values of k as SQL; some stand there twice
	params string   // what the configuration declares
	spell  []string // spellings beside those made of rows
}

var (
	wholes   = []string{"0", "1", "2", "-1", "10", "127"}
	bigs     = append([]string{"9007199254740992", "9007199254740993", "-9223372036854775808", "9223372036854775807"}, wholes...)
	decimals = []string{"0", "1", "1.5", "-2.50", "100", "9007199254740992", "9007199254740993", "0.10"}
	names    = []string{"'ada'", "'Ada'", "'ADA'", "'bob'", "'Bob'", "'carl'", "'Zoë'", "'zoe'", "'straße'", "'strasse'", "'日本'", "'a b'", "'42'", "'042'", "'{id}'", "'x''y'"}
	uniques  = []string{"'ada'", "'Bob'", "'carl'", "'Zoë'", "'日本'", "'a b'", "'42'", "'dora '", "'eve'"}
	pair     = []string{"'eve'", "'Eve'", "'mallory'"} // two that are equal where case is ignored, and asked for together in most batches
	dates    = []string{"'2024-02-29'", "'2024-03-01'", "'1999-12-31'"}
	uuids    = []string{"'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'", "'00000000-0000-0000-0000-000000000000'"}
	upper    = []string{"'A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11'", "'a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12'"}

	wholeSpellings = []string{"9223372036854775808", "18446744073709551615", "18446744073709551616", "-9223372036854775809", "1abc", "1e0", "0x1", "1.0", "-0", "٣", "9007199254740994", "99"}
	dateSpellings  = []string{"2024-2-29", "20240229", "2024-02-30", "29.2.2024", "y", "2024-03-1", "today", "infinity", "0000-00-00", "2024-02-29 00", "24-02-29"}
	boolSpellings  = []string{"t", "T", "true", "TRUE", "f", "false", "0", "1", "2", "yes", "on", "off", "y"}
	uuidSpellings  = []string{"a0eebc999c0b4ef8bb6d6bb9bd380a11", "{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "A0eebc99-9c0b-4ef8-bb6d-6bb9bd380a12", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1", "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a13"}
	textSpellings  = []string{"ａｄａ", "ada\u00a0", "ada\t", "zoë", "zoé", "ZOE", "STRASSE", "日", "ada\u200b", "BOB ", "eVe", "dora", "dora  ", "DORA ", "b"}
)

// keyKinds are the kinds of each database. The text of PostgreSQL is that of a database with a collation that folds, and of one
// without.
var keyKinds = map[string]map[string]keyKind{
	"sqlite": {
		"int": {typ: "INTEGER", rows: bigs, spell: wholeSpellings}, "inttext": {typ: "INTEGER", rows: bigs, spell: wholeSpellings, params: "text"},
		"untyped": {typ: "", rows: append([]string{"'1'", "'ada'", "'Ada'", "1.0"}, wholes...), spell: wholeSpellings, params: "text"},
		"real":    {typ: "REAL", rows: decimals, spell: wholeSpellings}, "numeric": {typ: "NUMERIC", rows: decimals, spell: append([]string{"1.50", "01.5", "1.5e0", "-2.5"}, wholeSpellings...)},
		"text":   {typ: "TEXT", rows: names, spell: textSpellings},
		"nocase": {typ: "TEXT COLLATE NOCASE", rows: names, spell: textSpellings}, "rtrim": {typ: "TEXT COLLATE RTRIM", rows: append([]string{"'ada '"}, names...), spell: textSpellings},
		"pair": {typ: "TEXT COLLATE NOCASE", rows: pair, spell: []string{"Mallory", "eve"}}, "lowerpair": {typ: "TEXT", where: "lower(k)", rows: pair, spell: []string{"Mallory", "eve"}},
		"unique": {typ: "TEXT COLLATE NOCASE UNIQUE", rows: uniques, spell: textSpellings}, "lower": {typ: "TEXT", where: "lower(k)", rows: names, spell: textSpellings},
		"char": {typ: "CHAR(8)", rows: names, spell: textSpellings}, "date": {typ: "DATE", rows: dates, spell: dateSpellings}, "bool": {typ: "BOOLEAN", rows: []string{"0", "1"}, spell: boolSpellings},
		"uuid": {typ: "TEXT COLLATE NOCASE", rows: upper, params: "uuid", spell: uuidSpellings}, "uuidtext": {typ: "TEXT COLLATE NOCASE", rows: upper, spell: uuidSpellings},
		"abs": {typ: "INTEGER", where: "abs(k)", rows: wholes, params: "int", spell: wholeSpellings},
	},
	"postgres": {
		"int": {typ: "INT", rows: wholes, spell: wholeSpellings}, "bigint": {typ: "BIGINT", rows: bigs, spell: wholeSpellings},
		"inttext": {typ: "BIGINT", rows: bigs, spell: append([]string{" 1", "+1", "1 "}, wholeSpellings...), params: "text"},
		"numeric": {typ: "NUMERIC", rows: append([]string{"1.0", "1.00", "1.50"}, decimals...), spell: append([]string{"1.500", "01.5", "1.5e0", "NaN", "-2.5"}, wholeSpellings...)},
		"scaled":  {typ: "NUMERIC(30,2)", rows: decimals, spell: wholeSpellings}, "float": {typ: "FLOAT8", rows: decimals, spell: wholeSpellings},
		"text":   {typ: "TEXT", rows: names, spell: textSpellings},
		"citext": {typ: "CITEXT", rows: names, spell: textSpellings}, "unique": {typ: "CITEXT UNIQUE", rows: uniques, spell: textSpellings},
		"pair": {typ: "CITEXT", rows: pair, spell: []string{"Mallory", "eve"}}, "lowerpair": {typ: "TEXT", where: "lower(k)", rows: pair, spell: []string{"Mallory", "eve"}},
		"icupair": {typ: "TEXT COLLATE folding", rows: pair, spell: []string{"Mallory", "eve"}},
		"icu":     {typ: "TEXT COLLATE folding", rows: names, spell: textSpellings}, "lower": {typ: "TEXT", where: "lower(k)", rows: names, spell: textSpellings},
		"char": {typ: "CHAR(8)", rows: names, spell: append([]string{"ada     "}, textSpellings...)}, "varchar": {typ: "VARCHAR(8)", rows: append([]string{"'ada '"}, names...), spell: textSpellings},
		"date": {typ: "DATE", rows: dates, spell: dateSpellings}, "bool": {typ: "BOOLEAN", rows: []string{"true", "false"}, spell: boolSpellings},
		"uuid": {typ: "UUID", rows: uuids, spell: uuidSpellings}, "uuidtext": {typ: "UUID", rows: uuids, spell: uuidSpellings, params: "text"},
		"mood": {typ: "feeling", rows: []string{"'sad'", "'happy'"}, spell: []string{"Sad", "glad", "sad "}},
		"abs":  {typ: "INT", where: "abs(k)", rows: wholes, spell: wholeSpellings},
	},
	"mariadb": {
		"int": {typ: "INT", rows: wholes, spell: wholeSpellings}, "bigint": {typ: "BIGINT", rows: bigs, spell: wholeSpellings}, "inttext": {typ: "BIGINT", rows: bigs, spell: wholeSpellings, params: "text"},
		"unsigned": {typ: "BIGINT UNSIGNED", rows: []string{"0", "1", "9223372036854775807", "9223372036854775808", "18446744073709551615", "18446744073709551614"}, spell: wholeSpellings},
		"decimal":  {typ: "DECIMAL(30,2)", rows: decimals, spell: append([]string{"1.50", "01.5", "1.5e0", "-2.5"}, wholeSpellings...)}, "double": {typ: "DOUBLE", rows: decimals, spell: wholeSpellings},
		"text": {typ: "VARCHAR(20)", rows: names, spell: textSpellings},
		"pair": {typ: "VARCHAR(20)", rows: pair, spell: []string{"Mallory", "eve"}}, "lowerpair": {typ: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", where: "lower(k)", rows: pair, spell: []string{"Mallory", "eve"}},
		"binary": {typ: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_bin", rows: names, spell: textSpellings}, "nopad": {typ: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_nopad_bin", rows: names, spell: textSpellings},
		"unique": {typ: "VARCHAR(20) CHARACTER SET utf8mb4 COLLATE utf8mb4_unicode_ci UNIQUE", rows: uniques, spell: textSpellings}, "lower": {typ: "VARCHAR(20)", where: "lower(k)", rows: names, spell: textSpellings},
		"latin": {typ: "VARCHAR(20) CHARACTER SET latin1", rows: []string{"'ada'", "'Ada'", "'bob'", "'Zoë'", "'zoe'"}, spell: textSpellings},
		"char":  {typ: "CHAR(8)", rows: names, spell: textSpellings}, "year": {typ: "YEAR", rows: []string{"2024", "1999", "2001"}, spell: []string{"24", "99", "1", "0", "2024.0"}},
		"date": {typ: "DATE", rows: dates, spell: dateSpellings}, "bool": {typ: "BOOLEAN", rows: []string{"0", "1"}, spell: boolSpellings},
		"uuid": {typ: "UUID", rows: uuids, params: "uuid", spell: uuidSpellings}, "uuidtext": {typ: "UUID", rows: uuids, spell: uuidSpellings},
		"mood": {typ: "ENUM('sad', 'happy')", rows: []string{"'sad'", "'happy'"}, spell: []string{"Sad", "glad", "sad ", "1"}},
		"abs":  {typ: "INT", where: "abs(k)", rows: wholes, params: "int", spell: wholeSpellings},
	},
}

// A row in whose column x is 'bad' cannot be computed or has no form.
var badColumn = map[string]string{
	"sqlite":   "abs(CASE x WHEN 'bad' THEN -9223372036854775808 ELSE n END) AS y",
	"postgres": "(CASE x WHEN 'bad' THEN x ELSE '7' END)::int AS y",
	"mariadb":  "CASE x WHEN 'bad' THEN 9223372036854775807 + n ELSE n END AS y",
}

// statements makes the table of a kind: each value once or twice, and a few rows that cannot be computed.
func (k keyKind) statements(db, name string) []string {
	out := []string{fmt.Sprintf("CREATE TABLE sp_%s (k %s, n INTEGER, x VARCHAR(10))", name, k.typ)}
	for i, v := range k.rows {
		x := "good"
		if i%7 == 3 {
			x = "bad"
		}
		out = append(out, fmt.Sprintf("INSERT INTO sp_%s VALUES (%s, %d, '%s')", name, v, i+1, x))
		if i%5 == 2 && !strings.Contains(k.typ, "UNIQUE") {
			out = append(out, fmt.Sprintf("INSERT INTO sp_%s VALUES (%s, %d, 'good')", name, v, 100+i))
		}
	}
	return out
}

// caches declares a cache for one row, and one for many, of each kind.
func caches(db string) string {
	var b strings.Builder
	b.WriteString("caches:\n")
	for name, k := range keyKinds[db] {
		where, params := k.where, ""
		if where == "" {
			where = "k"
		}
		if k.params != "" {
			params = ", params: {k: " + k.params + "}"
		}
		for _, rows := range []string{"one", "many"} {
			load := fmt.Sprintf("SELECT k, n, %s FROM sp_%s WHERE %s", badColumn[db], name, where)
			fmt.Fprintf(&b, "  %s_%s: {key: \"%s_%s:{k}\"%s, rows: %s, not_found_ttl: 1h, load: \"%s = {k} ORDER BY n\", load_many: \"%s IN ({k...}) ORDER BY n\"}\n",
				rows, name, rows, name, params, rows, load, load)
		}
	}
	return b.String()
}

// spelling returns a parameter: one of the rows', or another that may be equal to it or to nothing.
func (k keyKind) spelling(r *rand.Rand) string {
	if r.IntN(3) == 0 {
		return k.spell[r.IntN(len(k.spell))]
	}
	v := strings.ReplaceAll(strings.Trim(k.rows[r.IntN(len(k.rows))], "'"), "''", "'")
	switch r.IntN(14) {
	case 0:
		return strings.ToUpper(v)
	case 1:
		return strings.ToLower(v)
	case 2:
		return strings.ToUpper(v[:1]) + v[1:]
	case 3:
		return v + " "
	case 4:
		return " " + v
	case 5:
		return "+" + v
	case 6:
		return "0" + v
	case 7:
		return v + "0"
	case 8:
		return v + ".0"
	case 9:
		return "none" + v
	case 10:
		return v + "'; --"
	}
	return v
}

// What MGET answers for a key is what GET answers for it, whatever stands beside it, in every order, from the database and from
// the store.
func TestSpellings(t *testing.T) {
	servers := map[string]func(t *testing.T, setup []string) string{
		"sqlite":   func(t *testing.T, setup []string) string { return database(t, setup...) },
		"postgres": func(t *testing.T, setup []string) string { s := dbtest.Postgres(t); s.Exec(t, setup...); return s.URL },
		"mariadb":  func(t *testing.T, setup []string) string { s := dbtest.MariaDB(t); s.Exec(t, setup...); return s.URL },
	}
	for _, db := range []string{"sqlite", "postgres", "mariadb"} {
		t.Run(db, func(t *testing.T) {
			var setup []string
			if db == "postgres" {
				setup = append(setup, "CREATE EXTENSION IF NOT EXISTS citext", "CREATE TYPE feeling AS ENUM ('sad', 'happy')",
					"CREATE COLLATION folding (provider = icu, locale = 'und-u-ks-level2', deterministic = false)")
			}
			for name, k := range keyKinds[db] {
				setup = append(setup, k.statements(db, name)...)
			}
			url := servers[db](t, setup)
			for _, kind := range []string{"memory", "redis"} {
				t.Run(kind, func(t *testing.T) { spellings(t, db, url, kind) })
			}
		})
	}
}

func spellings(t *testing.T, db, url, kind string) {
	logger := slog.New(slog.DiscardHandler)
	cfg, err := config.Parse("spellings.yaml", []byte(caches(db)), config.Inputs{Flags: map[string]string{"database": url}, Env: func(string) string { return "" }})
	if err != nil {
		t.Fatal(err)
	}
	s := &server{cfg: cfg, env: &env{out: io.Discard, err: os.Stderr, lookup: func(string) string { return "" }}, logger: logger}
	t.Cleanup(s.close)
	specs, err := s.open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var st store.Store
	if kind == "memory" {
		st = memory.New(memory.Options{})
	} else {
		srv := redistest.Shared(t)
		srv.Do(t, "FLUSHALL")
		if st, err = redis.Open(t.Context(), srv.URL(), redis.Options{Logger: logger, Budget: eventually.Limit}); err != nil {
			t.Fatal(err)
		}
	}
	s.client = new(nearside.Client)
	s.client.Inside().Open(st, client.Settings{Budget: eventually.Limit, WriteBudget: eventually.Limit, Logger: logger})
	service := serve.New(s.client, logger, specs)
	r := seed.Rand(t)
	list := make([]string, 0, len(keyKinds[db]))
	for name := range keyKinds[db] {
		list = append(list, name)
	}
	slices.Sort(list)
	for _, name := range list {
		for _, rows := range []string{"one", "many"} {
			for range *spellingsRounds {
				keys := make([]string, 1+r.IntN(8))
				for i := range keys {
					keys[i] = rows + "_" + name + ":" + keyKinds[db][name].spelling(r)
				}
				if r.IntN(8) == 0 {
					keys = append(keys, rows+"_"+name+":")
				}
				if r.IntN(2) == 0 {
					keys = append(keys, keys[r.IntN(len(keys))])
				}
				compareBatch(t, service, keys, r.IntN(len(keys)+1))
				if t.Failed() {
					t.FailNow()
				}
			}
		}
	}
}

// said is an answer as text.
func said(a serve.Answer) string {
	switch {
	case a.Err != nil:
		return "error: " + a.Err.Error()
	case a.Value == nil:
		return "nil"
	}
	return string(a.Value)
}

// compareBatch asks for keys by themselves, each on a cache that has none of them, and then together: on such a cache, and after
// the first of them were asked.
func compareBatch(t *testing.T, s *serve.Service, keys []string, first int) {
	t.Helper()
	bytes := make([][]byte, len(keys))
	for i, k := range keys {
		bytes[i] = []byte(k)
	}
	var cached [][]byte // an empty parameter is no key of the cache
	for _, k := range bytes {
		if !strings.HasSuffix(string(k), ":") {
			cached = append(cached, k)
		}
	}
	fresh := func() {
		t.Helper()
		if _, err := s.Invalidate(context.Background(), cached); err != nil {
			t.Fatal(err)
		}
	}
	want := make([]string, len(keys))
	for i := range keys {
		fresh()
		want[i] = said(s.Get(t.Context(), bytes[i:i+1])[0])
	}
	check := func(what string, got []serve.Answer) {
		t.Helper()
		for i := range keys {
			if g := said(got[i]); g != want[i] {
				t.Errorf("%s of %q: %q:\n got  %s\n want %s", what, keys, keys[i], g, want[i])
			}
		}
	}
	singles := func(keys [][]byte) (out []serve.Answer) {
		for i := range keys {
			out = append(out, s.Get(t.Context(), keys[i:i+1])...)
		}
		return out
	}
	fresh()
	check("MGET", s.Get(t.Context(), bytes))
	check("GET after MGET", singles(bytes))
	check("MGET again", s.Get(t.Context(), bytes))
	fresh()
	singles(bytes[:first])
	check(fmt.Sprintf("MGET after GET of the first %d", first), s.Get(t.Context(), bytes))
	check("GET at last", singles(bytes))
}

// Names of a number are no second keys of its row, on databases that would take them for it: they are answered without a load, and
// nothing is left under them that a DEL of the number would not reach. What cannot be known is said at the start.
func TestOneKeyPerNumber(t *testing.T) {
	tables := []string{"CREATE TABLE musers (id BIGINT PRIMARY KEY, name VARCHAR(20))", "INSERT INTO musers VALUES (1, 'Ada')"}
	for name, url := range map[string]func() string{
		"sqlite":  func() string { return database(t, tables...) },
		"mariadb": func() string { s := dbtest.MariaDB(t); s.Exec(t, tables...); return s.URL },
	} {
		t.Run(name, func(t *testing.T) {
			r := start(t, serveCmd{Config: write(t, "n.yaml", `
database: `+url()+`
caches:
  muser: {key: "muser:{id}", load: "SELECT name FROM musers WHERE id = {id}"}
  plus: {key: "plus:{id}", load: "SELECT name FROM musers WHERE id + 0 = {id}"}
  many: {key: "many:{id}", rows: many, near: 10, load: "SELECT name FROM musers WHERE id = {id}"}
  text: {key: "text:{id}", params: {id: text}, load: "SELECT name FROM musers WHERE id = {id}"}
`)}, nil)
			c := dialRaw(t, r.redis)
			if got, want := c.ask(t, "GET", "muser:1"), "$14\r\n{\"name\":\"Ada\"}\r\n"; got != want {
				t.Errorf("muser:1: got %q, want %q", got, want)
			}
			for _, key := range []string{"muser:01", "muser: 1", "muser:1abc", "muser:1.0", "muser:+1"} {
				if got := c.ask(t, "GET", key); got != "$-1\r\n" {
					t.Errorf("%s: got %q", key, got)
				}
				if got := c.ask(t, "EXISTS", key); got != ":0\r\n" {
					t.Errorf("%s is there: %q", key, got)
				}
			}
			// Of many rows there are none, by each way to ask.
			for _, arg := range []string{"7", "x", "01"} {
				for range 2 {
					if got := c.ask(t, "GET", "many:"+arg); got != "$2\r\n[]\r\n" {
						t.Errorf("many:%s: got %q", arg, got)
					}
				}
				answer, err := http.Get("http://" + r.http + "/v1/many/" + arg)
				if err != nil {
					t.Fatal(err)
				}
				body, _ := io.ReadAll(answer.Body)
				answer.Body.Close()
				if string(body) != "[]" || answer.StatusCode != http.StatusOK {
					t.Errorf("/v1/many/%s: %d %s", arg, answer.StatusCode, body)
				}
			}
			log := r.err.String()
			for _, want := range []string{"does not tell what {id} is compared with", "cache=plus", "is declared as text and compared with whole numbers", "cache=text"} {
				if !strings.Contains(log, want) {
					t.Errorf("the log lacks %q:\n%s", want, log)
				}
			}
			if strings.Contains(log, "cache=muser") {
				t.Errorf("a warning about a number that is known:\n%s", log)
			}
		})
	}
}
