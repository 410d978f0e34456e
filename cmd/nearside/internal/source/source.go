// Package source is the database that caches are loaded from: prepared queries whose rows become JSON.
package source

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"modernc.org/sqlite" // SQLite without cgo

	"github.com/nearside/nearside/internal/engine"
)

// ErrNotFound says that a query for one row found none.
var ErrNotFound = engine.ErrNotFound

// Rows says how many rows a query is for.
type Rows string

const (
	One  Rows = "one"  // an object; two rows are an error
	Many Rows = "many" // an array, of none too
)

const (
	maxJSON     = 16 << 20 // bytes of what one load may return
	busyTimeout = 5 * time.Second
)

// DB is an open database.
type DB struct {
	db     *sql.DB
	writes *sql.DB // nil until a statement writes
	at     string  // for errors: the path
}

// CheckURL reports what is wrong with a database's URL, without opening it.
func CheckURL(rawURL string) error {
	_, err := sqlitePath(rawURL)
	return err
}

func sqlitePath(rawURL string) (string, error) {
	scheme, path, ok := strings.Cut(rawURL, ":")
	switch {
	case !ok:
		return "", errors.New("expected sqlite:path")
	case scheme == "sqlite" && path != "":
		return strings.TrimPrefix(path, "//"), nil
	case scheme == "sqlite":
		return "", errors.New("expected a path behind sqlite:")
	case scheme == "postgres", scheme == "postgresql", scheme == "mysql":
		return "", fmt.Errorf("%s: is not supported yet, expected sqlite:path", scheme)
	}
	return "", fmt.Errorf("unknown scheme %.20q, expected sqlite:path", scheme)
}

// Open opens a database for reading. It must exist.
func Open(ctx context.Context, rawURL string) (*DB, error) {
	path, err := sqlitePath(rawURL)
	if err != nil {
		return nil, fmt.Errorf("the database: %w", err)
	}
	if info, err := os.Stat(path); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	} else if info.IsDir() {
		return nil, fmt.Errorf("open the database: %s is a folder, expected a SQLite file", path)
	}
	// query_only forbids a load to write whatever its SQL says.
	db, err := openSQLite(path, "mode=ro", "query_only(1)")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(max(4, 2*runtime.GOMAXPROCS(0))) // SQLite computes in this process: more would only queue for its cores
	db.SetMaxIdleConns(max(4, 2*runtime.GOMAXPROCS(0)))
	d := &DB{db: db, at: path}
	var n int
	if err := db.QueryRowContext(ctx, "SELECT count(*) FROM sqlite_schema").Scan(&n); err != nil {
		db.Close()
		return nil, fmt.Errorf("open the database %s: %w", path, err)
	}
	return d, nil
}

// Busy reports whether an error says that another program has locked the database: waiting may help.
func Busy(err error) bool {
	var e *sqlite.Error
	const busy, locked = 5, 6 // SQLITE_BUSY and SQLITE_LOCKED, https://www.sqlite.org/rescode.html
	return errors.As(err, &e) && (e.Code()&0xff == busy || e.Code()&0xff == locked)
}

// Create makes a new SQLite file to be filled. Its pragmas are those of a file that nobody needs after a crash.
func Create(path string) (*sql.DB, error) {
	db, err := openSQLite(path, "", "journal_mode(off)", "synchronous(off)", "locking_mode(exclusive)")
	if err == nil {
		db.SetMaxOpenConns(1)
	}
	return db, err
}

func openSQLite(path, mode string, pragmas ...string) (*sql.DB, error) {
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

// Close closes the database.
func (d *DB) Close() error {
	if d.writes != nil {
		d.writes.Close()
	}
	return d.db.Close()
}

// Param is a parameter of a query.
type Param struct {
	Name string
	Int  bool // bound as a number; else as text
}

// Query declares how a cache loads.
type Query struct {
	SQL     string
	Params  []Param // in the order in which Load is given them
	Rows    Rows
	MaxRows int           // one more is an error
	Timeout time.Duration // of one load; none if zero
}

// Loader is a prepared query.
type Loader struct {
	Query
	text  string // as the database was given it
	stmt  *sql.Stmt
	binds []int // which parameter each placeholder is
	cols  []column
}

// Prepare asks the database to check a query. The columns must have names, each another one.
func (d *DB) Prepare(ctx context.Context, q Query) (*Loader, error) {
	s, err := single(q.SQL)
	if err != nil {
		return nil, err
	}
	l := &Loader{Query: q}
	var text strings.Builder
	for i, name := range s.names {
		text.WriteString(s.text[i] + "?")
		n := -1
		for j, p := range q.Params {
			if p.Name == name {
				n = j
			}
		}
		if n < 0 {
			return nil, fmt.Errorf("{%s} is no parameter of the key", name)
		}
		l.binds = append(l.binds, n)
	}
	text.WriteString(s.text[len(s.names)])
	if err := l.columns(ctx, d.db, text.String()); err != nil {
		return nil, err
	}
	l.text = l.untyped(text.String())
	if l.stmt, err = d.db.PrepareContext(ctx, l.text); err != nil {
		return nil, err
	}
	return l, nil
}

// columns learns the columns without running the query, which may be a long one: LIMIT 0 ends before it begins. What is
// no SELECT does not fit into the brackets.
func (l *Loader) columns(ctx context.Context, db *sql.DB, text string) error {
	rows, err := db.QueryContext(ctx, "SELECT * FROM ("+text+"\n) LIMIT 0", make([]any, len(l.binds))...)
	if err != nil {
		return err
	}
	defer rows.Close()
	types, err := rows.ColumnTypes()
	if err != nil {
		return err
	}
	seen := make(map[string]bool)
	for _, t := range types {
		name := t.Name()
		if i := strings.LastIndexByte(name, ':'); i > 0 && seen[name[:i]] {
			name = name[:i] // SQLite numbers the second of a name: id, id:1
		}
		switch {
		case name == "":
			return errors.New("a column has no name: give it one with AS")
		case seen[name]:
			return fmt.Errorf("two columns are named %q: give one another name with AS", name)
		}
		seen[name] = true
		l.cols = append(l.cols, newColumn(name, t.DatabaseTypeName()))
	}
	return nil
}

// untyped hides the declared types of dates and timestamps from the driver, which would parse their text and forget
// whether it had a zone. The order of the rows stays: SQLite keeps it through a subquery that is selected from alone.
func (l *Loader) untyped(text string) string {
	times := false
	list := make([]string, len(l.cols))
	for i, c := range l.cols {
		name := `"` + strings.ReplaceAll(c.name, `"`, `""`) + `"`
		if list[i] = name; c.kind == date || c.kind == timestamp {
			times = true
			list[i] = fmt.Sprintf("CASE typeof(%s) WHEN 'text' THEN %s || '' ELSE %s END AS %s", name, name, name, name)
		}
	}
	if !times {
		return text
	}
	return "SELECT " + strings.Join(list, ", ") + " FROM (" + text + "\n)"
}

// Load runs the query. The answer is JSON: of One the row as an object, or ErrNotFound; of Many an array of objects.
func (l *Loader) Load(ctx context.Context, args []string) ([]byte, error) {
	if l.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Timeout)
		defer cancel()
	}
	return l.query(ctx, l.stmt, args)
}

func (l *Loader) query(ctx context.Context, stmt *sql.Stmt, args []string) ([]byte, error) {
	rows, err := stmt.QueryContext(ctx, l.bindings(args)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	out, err := l.encode(rows)
	if err == nil {
		err = rows.Err()
	}
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, err
	}
	return out, nil
}

// encode reads all rows. Limits are counted while reading: a table without a LIMIT must not fill the memory.
func (l *Loader) encode(rows *sql.Rows) ([]byte, error) {
	read := newReader(l.cols)
	all := rowsOf{out: make([]byte, 0, 256)}
	for rows.Next() {
		if err := rows.Scan(read.dest...); err != nil {
			return nil, err
		}
		if all.add(l, read); all.err != nil {
			return nil, all.err
		}
	}
	if err := rows.Err(); err != nil {
		return nil, err
	}
	return all.end(l)
}

// reader holds the cells of the row that is being read.
type reader struct {
	cells, dest []any
}

func newReader(cols []column) *reader {
	r := &reader{make([]any, len(cols)), make([]any, len(cols))}
	for i := range r.cells {
		r.dest[i] = &r.cells[i]
	}
	return r
}

// rowsOf is the JSON of one key's rows.
type rowsOf struct {
	out []byte
	n   int
	err error
}

// add appends the row that was read.
func (r *rowsOf) add(l *Loader, read *reader) {
	r.n++
	switch {
	case r.err != nil:
		return
	case l.Rows == One && r.n > 1:
		r.err = errors.New("two rows or more, and 'rows: one' is for a query of at most one: add LIMIT 1, or say 'rows: many'")
		return
	case l.Rows == Many && r.n > l.MaxRows:
		r.err = fmt.Errorf("more than %d rows (max_rows): add a LIMIT", l.MaxRows)
		return
	case l.Rows == Many && r.n == 1:
		r.out = append(r.out, '[')
	case r.n > 1:
		r.out = append(r.out, ',')
	}
	for i := range l.cols {
		c := &l.cols[i]
		r.out = append(r.out, c.head...)
		if i == 0 {
			r.out[len(r.out)-len(c.head)] = '{'
		}
		if r.out, r.err = c.append(r.out, read.cells[i]); r.err != nil {
			r.err = fmt.Errorf("column %q: %w", c.name, r.err)
			return
		}
	}
	if r.out = append(r.out, '}'); len(r.out) > maxJSON {
		r.err = fmt.Errorf("more than %d MiB of JSON: select fewer rows or columns", maxJSON>>20)
	}
}

// end returns what the key has.
func (r *rowsOf) end(l *Loader) ([]byte, error) {
	switch {
	case r.err != nil:
		return nil, r.err
	case r.n == 0 && l.Rows == One:
		return nil, ErrNotFound
	case r.n == 0:
		return []byte("[]"), nil
	case l.Rows == Many:
		return append(r.out, ']'), nil
	}
	return r.out, nil
}
