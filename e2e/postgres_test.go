package e2e

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver
)

// postgres is a truth whose rows stand in a real PostgreSQL. What was acknowledged is remembered elsewhere, since that is
// no business of the database.
type postgres struct {
	*sql.DB
	acks truth
}

// writeLimit is how long a commit may take.
const writeLimit = 4 * time.Second

const connections = 16 // of a pool

// errDatabase is a statement that failed.
type errDatabase struct {
	at    time.Time
	cause error
}

func (e *errDatabase) Error() string { return fmt.Sprintf("the database: %v", e.cause) }
func (e *errDatabase) Unwrap() error { return e.cause }

// brokenSince reports whether an error is the database's, and no older than what it is the answer to: an error must not be
// remembered. A call that is over is still joined for a moment.
func brokenSince(err error, began time.Time) bool {
	const moment = time.Second
	var e *errDatabase
	return errors.As(err, &e) && e.at.After(began.Add(-moment))
}

// openPostgres opens the database at a URL.
func openPostgres(url string, acks truth) (*postgres, error) {
	db, err := sql.Open("pgx", url)
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(connections) // kept: to log in takes longer than a thousand queries
	db.SetMaxIdleConns(connections)
	return &postgres{db, acks}, nil
}

// prepare makes the table anew, with a row of version 0 for each key.
func (p *postgres) prepare(t testing.TB, keys []string) {
	t.Helper()
	for _, text := range []string{"DROP TABLE IF EXISTS rows", "CREATE TABLE rows (key text PRIMARY KEY, version int NOT NULL)"} {
		if _, err := p.Exec(text); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Exec("INSERT INTO rows SELECT unnest($1::text[]), 0", keys); err != nil {
		t.Fatal(err)
	}
}

func (p *postgres) read(ctx context.Context, key string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit*3/4) // before the layer gives the load up: the error is to be ours
	defer cancel()
	return p.one(ctx, "SELECT version FROM rows WHERE key = $1", key)
}

func (p *postgres) commit(ctx context.Context, key string) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, writeLimit)
	defer cancel()
	return p.one(ctx, "UPDATE rows SET version = version + 1 WHERE key = $1 RETURNING version", key)
}

func (p *postgres) one(ctx context.Context, query, key string) (v int, err error) {
	if err = p.QueryRowContext(ctx, query, key).Scan(&v); err != nil {
		return 0, &errDatabase{time.Now(), err}
	}
	return v, nil
}

func (p *postgres) ack(key string, v int) { p.acks.ack(key, v) }
func (p *postgres) floor(key string) int  { return p.acks.floor(key) }
