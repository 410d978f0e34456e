package main

import (
	"context"
	"database/sql"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// scs.New starts one that never ends.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/alexedwards/scs/v2/memstore.(*MemStore).startCleanup"))
}

// small returns the URL of a database with one product.
func small(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop.db")
	db, err := sql.Open("sqlite", path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	_, err = db.ExecContext(t.Context(), `CREATE TABLE users (id INTEGER PRIMARY KEY); INSERT INTO users VALUES (1);
		CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT, category TEXT, price REAL, stock INTEGER);
		INSERT INTO products VALUES (7, 'Paper teapot', 'travel', 369.46, 3)`)
	if err != nil {
		t.Fatal(err)
	}
	return "sqlite:" + path
}

func TestRun(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	err := run(ctx, flags{listen: "127.0.0.1:0", redis: "memory:", database: small(t), cache: "nearside"}, func(addr string) {
		response, err := client.Get("http://" + addr + "/products/7")
		if err != nil || response.StatusCode != http.StatusOK {
			t.Errorf("%v, %v", response, err)
		} else {
			response.Body.Close()
		}
		stop()
	})
	if err != nil {
		t.Errorf("the end of it: %v", err)
	}
}

func TestFlags(t *testing.T) {
	db := small(t)
	for want, f := range map[string]flags{
		"expected none, hand or nearside":  {redis: "memory:", database: db, cache: "some"},
		"-cache=hand needs a Redis":        {redis: "memory:", database: db, cache: "hand"},
		"no scheme":                        {redis: "localhost", database: db, cache: "none"},
		"expected sqlite:path or postgres": {redis: "memory:", database: "oracle:x", cache: "none"},
		"cannot parse":                     {redis: "memory:", database: "postgres://app:s3cret@[::1/shop", cache: "none"},
	} {
		err := run(t.Context(), f, func(string) { t.Errorf("%+v is served", f) })
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "s3cret") {
			t.Errorf("%+v: %v, want %q", f, err, want)
		}
	}
}
