package source_test

import (
	"path/filepath"
	"testing"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
	"github.com/nearside/nearside/internal/demo"
)

// The demo shop is the same at every start, and everybody in it has an order, a friend and an action.
func TestDemo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "demo.db")
	w, err := source.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	begin, told := time.Now(), 0
	if err := demo.Fill(t.Context(), w, func(done, all int) {
		if told = done; done > all {
			t.Errorf("%d of %d rows", done, all)
		}
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("%d rows in %v", told, time.Since(begin))
	w.Close()
	db, err := source.Open(t.Context(), "sqlite:"+path, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	for _, c := range []struct{ sql, want string }{
		{"SELECT id, name, email, city FROM users WHERE id = 42", `{"id":42,"name":"Margaret Hamilton","email":"margaret.hamilton42@example.com","city":"Lima"}`},
		{"SELECT count(*) AS n FROM users", `{"n":100000}`},
		{"SELECT count(*) AS n FROM products", `{"n":2000}`},
		{"SELECT count(DISTINCT user_id) AS n FROM orders", `{"n":100000}`},
		{"SELECT count(DISTINCT user_id) AS n FROM friendships", `{"n":100000}`},
		{"SELECT count(*) AS n FROM friendships WHERE user_id = friend_id OR friend_id NOT BETWEEN 1 AND 100000", `{"n":0}`},
		{"SELECT count(DISTINCT user_id) AS n FROM actions", `{"n":100000}`},
		{"SELECT count(DISTINCT game) AS games, min(n) > 1000 AS enough FROM (SELECT game, count(*) AS n FROM scores GROUP BY game)", `{"games":3,"enough":1}`},
	} {
		got, err := prepare(t, db, source.Query{SQL: c.sql}).Load(t.Context(), nil)
		if string(got) != c.want || err != nil {
			t.Errorf("%s: got %s, %v, want %s", c.sql, got, err, c.want)
		}
	}
}
