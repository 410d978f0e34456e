package shop

import (
	"context"
	"database/sql"
	"fmt"
	"net/url"
	"path/filepath"
	"runtime"
	"strings"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	_ "modernc.org/sqlite"             // the driver "sqlite", without cgo

	"github.com/nearside/nearside/internal/demo"
)

// Open opens a database, postgres://... or sqlite:path, and fills it with the demo shop if it has no users.
func Open(ctx context.Context, rawURL string) (*Database, error) {
	scheme, rest, _ := strings.Cut(rawURL, ":")
	var db *sql.DB
	var err error
	fill := demo.Fill
	switch scheme {
	case "sqlite":
		db, err = openSQLite(strings.TrimPrefix(rest, "//"))
	case "postgres", "postgresql":
		fill = demo.FillPostgres
		if db, err = sql.Open("pgx", rawURL); err == nil {
			db.SetMaxOpenConns(20)
			db.SetMaxIdleConns(20)
		}
	default:
		err = fmt.Errorf("the scheme is %.20q, expected sqlite:path or postgres://...", scheme)
	}
	if err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	d := &Database{&counted{DB: db}}
	if err := d.prepare(ctx, fill); err != nil {
		_ = d.Close()
		return nil, fmt.Errorf("open the database: %w", err)
	}
	return d, nil
}

func openSQLite(path string) (*sql.DB, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	// Readers do not wait for a writer (wal), and writers wait for each other rather than fail (immediate).
	dsn := url.URL{Scheme: "file", Path: path, RawQuery: "_txlock=immediate&_pragma=busy_timeout(5000)&_pragma=journal_mode(wal)&_pragma=synchronous(normal)"}
	db, err := sql.Open("sqlite", dsn.String())
	if err == nil {
		n := max(4, 2*runtime.GOMAXPROCS(0)) // it computes in this process
		db.SetMaxOpenConns(n)
		db.SetMaxIdleConns(n)
	}
	return db, err
}

// Close closes the connections.
func (d *Database) Close() error { return d.db.Close() }

// prepare fills an empty database.
func (d *Database) prepare(ctx context.Context, fill func(context.Context, *sql.DB, func(done, all int)) error) error {
	if err := d.db.PingContext(ctx); err != nil {
		return err
	}
	var n int
	if d.db.QueryRowContext(ctx, `SELECT count(*) FROM users WHERE id = 1`).Scan(&n) == nil && n == 1 {
		return nil
	}
	if err := fill(ctx, d.db.DB, nil); err != nil {
		return err
	}
	if _, err := d.db.ExecContext(ctx, `CREATE UNIQUE INDEX scores_player ON scores (game, player)`); err != nil {
		return err
	}
	return d.circle(ctx)
}

// Circle is how many users know each other, play every game and have done something of late: of them there is more to see.
const Circle = 60

func (d *Database) circle(ctx context.Context) error {
	ids := make([]int64, Circle)
	for i := range ids {
		ids[i] = int64(i + 1)
	}
	users, err := d.Users(ctx, ids)
	if err != nil {
		return err
	}
	tx, err := d.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	run := func(text string, args ...any) {
		if err == nil {
			_, err = tx.ExecContext(ctx, text, args...)
		}
	}
	for _, id := range ids {
		for _, step := range []int64{1, 2, 3, 5, 8, 13} {
			run(`INSERT INTO friendships (user_id, friend_id) VALUES ($1, $2)`, id, (id-1+step)%Circle+1)
		}
		for i, deed := range []string{"viewed", "liked", "bought", "rated", "shared"} {
			run(`INSERT INTO actions (user_id, at, action) VALUES ($1, $2, $3)`,
				id, fmt.Sprintf("2026-01-%02d %02d:%02d:00", 1+i, 8+id%12, id%60), fmt.Sprintf("%s product %d", deed, 1+(id*31+int64(i)*7)%demo.Products))
		}
		for i, game := range Games {
			run(`INSERT INTO scores (game, player, points) VALUES ($1, $2, $3)`, game, users[id].Player(), 100+(id*997+int64(i)*3331)%10_000)
		}
	}
	if err != nil {
		return err
	}
	return tx.Commit()
}
