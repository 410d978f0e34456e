package source

import (
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"modernc.org/sqlite" // without cgo

	"github.com/nearside/nearside"
)

const busyTimeout = 5 * time.Second

var sqliteDialect = dialect{
	name: "SQLite", lex: lexis{brackets: true, marks: true, names: true}, place: func(int) string { return "?" }, open: openSQLite, away: sqliteAway,
	check: func(rawURL string) error { _, err := sqlitePath(rawURL); return err },
}

func sqlitePath(rawURL string) (string, error) {
	_, path, _ := strings.Cut(rawURL, ":")
	if path = strings.TrimPrefix(path, "//"); path == "" {
		return "", errors.New("expected a path behind sqlite:")
	}
	return path, nil
}

// sqliteDB is a SQLite file. It computes in this process: more connections than cores would only queue for those.
type sqliteDB struct {
	path  string
	reads *sql.DB

	mu     sync.Mutex // guards writes
	writes *sql.DB    // nil until a statement writes
}

func openSQLite(ctx context.Context, rawURL string, _ time.Duration) (backend, error) {
	path, err := sqlitePath(rawURL)
	if err != nil {
		return nil, err
	}
	if info, err := os.Stat(path); err != nil {
		return nil, err
	} else if info.IsDir() {
		return nil, fmt.Errorf("%s is a folder, expected a SQLite file", path)
	}
	// query_only forbids a load to write whatever its SQL says.
	db, err := sqliteFile(path, "mode=ro", "query_only(1)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(max(4, 2*runtime.GOMAXPROCS(0)))
	db.SetMaxIdleConns(max(4, 2*runtime.GOMAXPROCS(0)))
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
		db.Close()
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return &sqliteDB{path: path, reads: db}, nil
}

// Create makes a new SQLite file to be filled. Its pragmas are those of a file that nobody needs after a crash.
func Create(path string) (*sql.DB, error) {
	db, err := sqliteFile(path, "", "journal_mode(off)", "synchronous(off)", "locking_mode(exclusive)")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func sqliteFile(path, mode string, pragmas ...string) (*sql.DB, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return nil, err
	}
	q := url.Values{"_pragma": append([]string{"busy_timeout(" + strconv.FormatInt(busyTimeout.Milliseconds(), 10) + ")"}, pragmas...)}
	dsn := url.URL{Scheme: "file", Path: abs, RawQuery: q.Encode()}
	if mode != "" {
		dsn.RawQuery += "&" + mode
	}
	return sql.Open("sqlite", dsn.String())
}

func (d *sqliteDB) close() {
	if d.writes != nil {
		d.writes.Close()
	}
	d.reads.Close()
}

// ofValues: not where the file could not be read: https://www.sqlite.org/rescode.html
func (d *sqliteDB) ofValues(err error) bool {
	var e *sqlite.Error
	const generic, tooBig, mismatch, rangeOf = 1, 18, 20, 25
	return errors.As(err, &e) && slices.Contains([]int{generic, tooBig, mismatch, rangeOf}, e.Code()&0xff)
}

func (d *sqliteDB) typed() bool { return false }

func (d *sqliteDB) spelled(string, string) string { return "" }

// sqliteAway: another program has locked the file.
func sqliteAway(err error) bool {
	var e *sqlite.Error
	const busy, locked = 5, 6 // SQLITE_BUSY and SQLITE_LOCKED, https://www.sqlite.org/rescode.html
	return errors.As(err, &e) && (e.Code()&0xff == busy || e.Code()&0xff == locked)
}

func (d *sqliteDB) columns(ctx context.Context, text string, n int) ([]column, error) {
	alone := func() error { // the driver compiles when it runs
		rows, err := d.reads.QueryContext(ctx, "EXPLAIN "+text, make([]any, n)...)
		if err == nil {
			rows.Close()
		}
		return err
	}
	return describe(ctx, d.reads, text, n, alone, func(rows *sql.Rows) ([]column, error) {
		types, err := rows.ColumnTypes()
		cols := make([]column, len(types))
		for i, t := range types {
			declared := strings.ToUpper(t.DatabaseTypeName())
			cols[i] = newColumn(t.Name(), sqliteKind(declared))
			cols[i].whole = cols[i].kind == number && strings.Contains(declared, "INT")
			cols[i].integer = cols[i].whole
			cols[i].rounds = cols[i].kind == number && !cols[i].whole && floats.MatchString(declared)
		}
		return cols, err
	})
}

var floats = regexp.MustCompile("REAL|FLOA|DOUB")

// sqliteKind is what a declared type asks for. What a cell holds is known by the cell: SQLite stores anything anywhere.
func sqliteKind(t string) kind {
	switch {
	case t == "JSON", t == "JSONB":
		return document
	case strings.HasPrefix(t, "BOOL"):
		return flag
	case t == "DATE":
		return date
	case strings.HasPrefix(t, "DATETIME"), strings.HasPrefix(t, "TIMESTAMP"):
		return moment
	case strings.Contains(t, "CHAR"), strings.Contains(t, "TEXT"), strings.Contains(t, "CLOB"):
		return text
	case t == "BLOB":
		return binary
	case strings.Contains(t, "INT"), strings.Contains(t, "REAL"), strings.Contains(t, "FLOA"), strings.Contains(t, "DOUB"),
		strings.Contains(t, "NUMERIC"), strings.Contains(t, "DECIMAL"):
		return number
	}
	return anything
}

func (d *sqliteDB) params(context.Context, string) ([]string, error) { return nil, nil }

func (d *sqliteDB) prepare(ctx context.Context, text string, cols []column) (stmt, error) {
	text = untyped(text, cols)
	st, err := d.reads.PrepareContext(ctx, text)
	return &sqlStmt{Stmt: st, text: text, like: cols}, err
}

// untyped hides the declared types of dates and timestamps from the driver, which would parse their text and forget
// whether it had a zone. The order of the rows stays: SQLite keeps it through a subquery that is selected from alone.
func untyped(text string, cols []column) string {
	times := false
	list := make([]string, len(cols))
	for i, c := range cols {
		name := `"` + strings.ReplaceAll(c.name, `"`, `""`) + `"`
		if list[i] = name; c.kind == date || c.kind == moment {
			times = true
			list[i] = fmt.Sprintf("CASE typeof(%s) WHEN 'text' THEN %s || '' ELSE %s END AS %s", name, name, name, name)
		}
	}
	if !times {
		return text
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM (" + text + "\n)"
}

// writer returns the connection for writing. One writes to a SQLite file at a time; that they queue here, and not for its
// lock, is faster and fair.
func (d *sqliteDB) writer(ctx context.Context) (*sql.DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writes != nil {
		return d.writes, nil
	}
	db, err := sqliteFile(d.path, "mode=rw&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil) // takes the lock: a file that may not be written is found here
	if err == nil {
		err = tx.Rollback()
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("the database cannot be written: %w", err)
	}
	d.writes = db
	return db, nil
}

func (d *sqliteDB) checkWrite(ctx context.Context, text string, _ int) error {
	db, err := d.writer(ctx)
	if err != nil {
		return err
	}
	st, err := db.PrepareContext(ctx, text)
	if err == nil {
		err = st.Close()
	}
	return err
}

func (d *sqliteDB) write(ctx context.Context, text string, args []any, query stmt, queryArgs []any, read func(cursor) error) error {
	db, err := d.writer(ctx)
	if err != nil {
		return nearside.NotCommitted(err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nearside.NotCommitted(err)
	}
	// COMMIT is a call in this process, and always answered: a file that another program has locked for longer than busyTimeout is
	// an error, after which the driver rolls back.
	c := &commit{answered: func(error) bool { return true }}
	return transact(ctx, conn, c, text, args, query.(*sqlStmt), queryArgs, read)
}

// isFloat reports whether a number is that float, in its shortest form.
func isFloat(v string, f float64) bool {
	if len(v) > 400 || f == 0 { // such digits are too many for a float, or a zero, or too small for one
		return f == 0 && !strings.ContainsAny(strings.FieldsFunc(v, func(r rune) bool { return r == 'e' || r == 'E' })[0], "123456789")
	}
	a, ok := new(big.Rat).SetString(v)
	b, good := new(big.Rat).SetString(strconv.FormatFloat(f, 'g', -1, 64))
	return ok && good && a.Cmp(b) == 0
}

func (d *sqliteDB) bind(c *column, v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		f, err := v.Float64()
		switch {
		case err != nil:
			return nil, fmt.Errorf("the number %.40s is too large", v)
		case c.whole:
			return nil, fmt.Errorf("the number %.40s is too large: SQLite has whole numbers from -2^63 to 2^63-1", v)
		case !c.rounds && !isFloat(v.String(), f):
			return nil, fmt.Errorf("the number %.40s has more digits than SQLite keeps: it would become %v", v, f)
		}
		return f, nil
	case string:
		if c.kind == binary {
			return base64.StdEncoding.DecodeString(v)
		}
	}
	return v, nil
}
