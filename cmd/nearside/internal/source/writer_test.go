package source_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

const people = "CREATE TABLE people (id INTEGER PRIMARY KEY, name TEXT NOT NULL, age INTEGER, score REAL, ok BOOLEAN, doc JSON, data BLOB, " +
	"born DATE, updates INTEGER NOT NULL DEFAULT 0)"

func TestWrite(t *testing.T) {
	db := open(t, people, "INSERT INTO people (id, name) VALUES (1, 'Ada'), (2, 'Grace')")
	l := prepare(t, db, source.Query{SQL: "SELECT * FROM people WHERE id = {id}", Params: id})
	w, err := db.PrepareWrite(t.Context(), "UPDATE people SET name = {name}, age = {age}, score = {score}, ok = {ok}, doc = {doc}, "+
		"data = {data}, born = {born}, updates = updates + 1 WHERE id = {id}", l)
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
	const row = `{"id":1,"name":"Ada \"L\" 日本","age":36,"score":1.5,"ok":true,"doc":{"a":[1,null]},"data":"AP8Q","born":"1815-12-10","updates":1}`
	got, err := write("1", `{"name":"Ada \"L\" 日本","age":36,"score":1.5,"ok":true,"doc":{"a":[1,null]},"data":"AP8Q","born":"1815-12-10"}`)
	if got != row || err != nil {
		t.Errorf("got  %s, %v\nwant %s", got, err, row)
	}
	if again, err := l.Load(t.Context(), []string{"1"}); string(again) != row || err != nil {
		t.Errorf("read again: %s, %v", again, err)
	}
	// What a client has read it can write again, whatever it does not write.
	if got, err := write("1", row); got != strings.Replace(row, `"updates":1`, `"updates":2`, 1) || err != nil {
		t.Errorf("written again: %s, %v", got, err)
	}

	all := func(name, value string) string {
		o := map[string]string{"name": `"x"`, "age": "1", "score": "1", "ok": "true", "doc": "null", "data": "null", "born": "null"}
		if o[name] = value; value == "" {
			delete(o, name)
		}
		var fields []string
		for n, v := range o {
			fields = append(fields, `"`+n+`":`+v)
		}
		return "{" + strings.Join(fields, ",") + "}"
	}
	for _, c := range []struct{ value, want string }{
		{`{"name":"x"`, "expected a JSON object"},
		{`[1]`, "found array, expected a JSON object"},
		{all("id", `"1"`), `the field "id": found a string, 1, expected a number`},
		{all("age", `1.5`), `the field "age": found 1.5, expected a whole number`},
		{`null`, "expected one JSON object"},
		{all("name", `"x"`) + "{}", "nothing behind it"},
		{all("id", "2"), `the field "id" is 2, and the key says 1`},
		{all("nick", `"x"`), `the field "nick" is no column of the row`},
		{all("age", ""), `the field "age" is missing`},
		{all("age", `"old"`), `the field "age": found a string, old, expected a number`},
		{all("age", `[1]`), `the field "age": found an array, expected a number`},
		{all("name", `7`), `the field "name": found a number, 7, expected a string`},
		{all("ok", `"yes"`), `the field "ok": found a string, yes, expected a boolean`},
		{all("score", `1e999`), `the number 1e999 is too large`},
		{all("data", `"?"`), `the field "data": found a string, ?, expected a string of base64`},
	} {
		if _, err := write("1", c.value); !errors.Is(err, source.ErrBadValue) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s:\n got  %v\n want %s", c.value, err, c.want)
		}
	}
	if _, err := write("3", all("id", "3")); !errors.Is(err, source.ErrNotFound) || !strings.Contains(err.Error(), "no row matched") {
		t.Errorf("no such row: %v", err)
	}
	if _, err := write("1", all("name", "null")); err == nil || !strings.Contains(err.Error(), "NOT NULL") {
		t.Errorf("a constraint: %v", err)
	}
	if got, err := l.Load(t.Context(), []string{"2"}); !strings.Contains(string(got), `"name":"Grace"`) || err != nil {
		t.Errorf("after the errors: %s, %v", got, err)
	}
}

func TestWriteIsRefusedAtTheStart(t *testing.T) {
	path := filepath.Join(t.TempDir(), "test.db")
	w, err := source.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{people, "CREATE VIEW half AS SELECT id, name FROM people"} {
		if _, err := w.Exec(s); err != nil {
			t.Fatal(err)
		}
	}
	w.Close()
	db, err := source.Open(t.Context(), "sqlite:"+path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	l := prepare(t, db, source.Query{SQL: "SELECT id, name FROM people WHERE id = {id}", Params: id})
	for text, want := range map[string]string{
		"UPDATE people SET name = {nick} WHERE id = {id}":  "{nick} is neither in the key nor a column of 'load'",
		"UPDATE persons SET name = {name} WHERE id = {id}": "no such table: persons",
		"UPDATE half SET name = {name} WHERE id = {id}":    "cannot modify half because it is a view",
	} {
		if _, err := db.PrepareWrite(t.Context(), text, l); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got  %v\n want %s", text, err, want)
		}
	}
	if os.Getuid() == 0 {
		return // root may write what is read-only
	}
	os.Chmod(path, 0o400)
	ro, err := source.Open(t.Context(), "sqlite:"+path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer ro.Close()
	if _, err := ro.PrepareWrite(t.Context(), "UPDATE people SET name = {name} WHERE id = {id}", l); err == nil || !strings.Contains(err.Error(), "cannot be written") {
		t.Errorf("a read-only file: %v", err)
	}
}

// A load cannot write, although writing is open.
func TestLoadIsReadOnly(t *testing.T) {
	db := open(t, people)
	l := prepare(t, db, source.Query{SQL: "SELECT id, name FROM people WHERE id = {id}", Params: id})
	if _, err := db.PrepareWrite(t.Context(), "INSERT INTO people (id, name) VALUES ({id}, {name}) ON CONFLICT DO UPDATE SET name = {name}", l); err != nil {
		t.Fatal(err)
	}
	if _, err := db.Prepare(t.Context(), source.Query{SQL: "DELETE FROM people RETURNING id", Rows: source.Many, MaxRows: 1}); err == nil {
		t.Error("a load that deletes was prepared")
	}
}
