package source_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

const shopTables = "CREATE TABLE people (id INTEGER PRIMARY KEY, nick TEXT COLLATE NOCASE, x REAL)"

func TestLoadMany(t *testing.T) {
	statements := []string{shopTables}
	for i := 1; i <= 1500; i++ {
		statements = append(statements, fmt.Sprintf("INSERT INTO people VALUES (%d, 'nick%d', %d.5)", i, i%300, i))
	}
	db := open(t, strings.Join(statements, ";"))
	one := prepare(t, db, source.Query{SQL: "SELECT id, nick, x FROM people WHERE id = {id}", Params: id})
	many, err := db.PrepareMany(t.Context(), "SELECT id, nick, x FROM people WHERE id IN ({id...})", one)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{1, 2, 3, 300, 513, 1600} {
		args := make([]string, n)
		for i := range args {
			args[i] = strconv.Itoa(i + 1)
		}
		found, err := many.Load(t.Context(), args)
		if want := min(n, 1500); err != nil || len(found) != want {
			t.Errorf("%d keys: %d found (%v), want %d", n, len(found), err, want)
		}
		for _, a := range args {
			single, _ := one.Load(t.Context(), []string{a})
			if string(found[a]) != string(single) {
				t.Errorf("%s: %s, and alone %s", a, found[a], single)
			}
		}
	}

	text := []source.Param{{Name: "nick"}}
	ones := prepare(t, db, source.Query{SQL: "SELECT nick, id FROM people WHERE nick = {nick} ORDER BY id DESC LIMIT 10", Rows: source.Many, Params: text})
	manys, err := db.PrepareMany(t.Context(), "SELECT nick, id FROM people WHERE nick IN ({nick...}) ORDER BY id DESC", ones)
	if err != nil {
		t.Fatal(err)
	}
	args := []string{"nick7", "NICK8", "nobody", "nick299"} // the database does not tell NICK8 from nick8
	found, err := manys.Load(t.Context(), args)
	if err != nil || string(found["nobody"]) != "[]" {
		t.Errorf("rows: many: %v, %s", err, found)
	}
	for _, a := range args {
		single, _ := ones.Load(t.Context(), []string{a})
		if string(found[a]) != string(single) {
			t.Errorf("%s: %s, and alone %s", a, found[a], single)
		}
	}
}

// One row that cannot be encoded does not take the others with it.
func TestLoadManyWithABadRow(t *testing.T) {
	db := open(t, shopTables, "INSERT INTO people VALUES (1, 'a', 1), (2, 'b', 9e999), (3, 'c', 3)")
	one := prepare(t, db, source.Query{SQL: "SELECT id, x FROM people WHERE id = {id}", Params: id})
	many, err := db.PrepareMany(t.Context(), "SELECT id, x FROM people WHERE id IN ({id...})", one)
	if err != nil {
		t.Fatal(err)
	}
	found, err := many.Load(t.Context(), []string{"1", "2", "3"})
	if err == nil || !strings.Contains(err.Error(), `2: column "x": +Inf`) || len(found) != 2 {
		t.Errorf("got %s, %v", found, err)
	}
}

func TestLoadManyIsRefused(t *testing.T) {
	db := open(t, shopTables)
	one := prepare(t, db, source.Query{SQL: "SELECT id, nick FROM people WHERE id = {id}", Params: id})
	for text, want := range map[string]string{
		"SELECT id, nick FROM people WHERE id = {id}":                          "expected the parameter {id...} once",
		"SELECT id, nick FROM people WHERE id IN ({id...}) OR id IN ({id...})": "there are two lists",
		"SELECT id, nick FROM people WHERE id IN ({id...}) OR id = {id}":       "expected the parameter {id...} once",
		"SELECT nick, id FROM people WHERE id IN ({id...})":                    "its columns are nick, id, expected those of 'load': id, nick",
		"SELECT id, nick FROM persons WHERE id IN ({id...})":                   "no such table: persons",
		"SELECT id, nick FROM people WHERE nick = '{id...}'":                   "stands inside quotes",
	} {
		if _, err := db.PrepareMany(t.Context(), text, one); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got  %v\n want %s", text, err, want)
		}
	}
	if _, err := db.Prepare(t.Context(), source.Query{SQL: "SELECT id FROM people WHERE id IN ({id...})", Params: id}); err == nil || !strings.Contains(err.Error(), "for 'load_many' alone") {
		t.Errorf("a list in load: %v", err)
	}
	nameless := prepare(t, db, source.Query{SQL: "SELECT nick FROM people WHERE id = {id}", Params: id})
	if _, err := db.PrepareMany(t.Context(), "SELECT nick FROM people WHERE id IN ({id...})", nameless); err == nil || !strings.Contains(err.Error(), `no column is named "id"`) {
		t.Errorf("without its column: %v", err)
	}
}

func BenchmarkLoad300(b *testing.B) {
	statements := []string{shopTables}
	args := make([]string, 300)
	for i := range args {
		args[i] = strconv.Itoa(i + 1)
		statements = append(statements, fmt.Sprintf("INSERT INTO people VALUES (%d, 'nick', 0.5)", i+1))
	}
	db := open(b, strings.Join(statements, ";"))
	one := prepare(b, db, source.Query{SQL: "SELECT id, nick, x FROM people WHERE id = {id}", Params: id})
	many, err := db.PrepareMany(b.Context(), "SELECT id, nick, x FROM people WHERE id IN ({id...})", one)
	if err != nil {
		b.Fatal(err)
	}
	b.Run("one by one", func(b *testing.B) {
		for b.Loop() {
			for _, a := range args {
				if _, err := one.Load(b.Context(), []string{a}); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("load_many", func(b *testing.B) {
		for b.Loop() {
			if found, err := many.Load(b.Context(), args); err != nil || len(found) != 300 {
				b.Fatal(len(found), err)
			}
		}
	})
}
