// Package source is the database that caches are loaded from: prepared queries whose rows become JSON.
package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	"github.com/nearside/nearside"
)

// ErrNotFound says that a query for one row found none.
var ErrNotFound = nearside.ErrNotFound

// Rows says how many rows a query is for.
type Rows string

const (
	One  Rows = "one"  // an object; two rows are an error
	Many Rows = "many" // an array, of none too
)

const maxJSON = 16 << 20 // bytes of what one load may return

// DB is an open database.
type DB struct {
	b       backend
	dialect *dialect
}

// Open opens a database for reading: sqlite:path, postgres://user:password@host/database, mysql://... It must exist.
// timeout is of each statement, a last resort of the server behind the contexts of loads.
func Open(ctx context.Context, rawURL string, timeout time.Duration) (*DB, error) {
	d, err := dialectOf(rawURL)
	if err != nil {
		return nil, fmt.Errorf("the database: %w", err)
	}
	b, err := d.open(ctx, rawURL, timeout)
	if err != nil {
		away := d.away(err)
		err = fmt.Errorf("open the database: %w", err)
		if away {
			err = awayError{err}
		}
		return nil, err
	}
	return &DB{b, d}, nil
}

// awayError is the error of a database that does not answer yet.
type awayError struct{ error }

func (e awayError) Unwrap() error { return e.error }

// Away reports whether Open failed because the database does not answer yet, or is locked: waiting may help.
func Away(err error) bool { return errors.As(err, new(awayError)) }

// Close closes the database.
func (d *DB) Close() error { d.b.close(); return nil }

// Param is a parameter of a query.
type Param struct {
	Name     string
	Int      bool // a whole number in the form of JSON
	UUID     bool // in lower case, with its hyphens
	Declared bool // the configuration says which type it has
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
	Types map[string]string // of parameters, "int" or "uuid", where the database tells
	Warn  []string          // what is allowed, and most probably a mistake

	b       backend
	stmt    stmt
	binds   []int  // which parameter each placeholder is
	numbers []bool // which parameters are known to be compared with a column of whole numbers
	cols    []column
	exact   []int // for each parameter the column of its name that holds whole numbers, whose text must then be the parameter's; -1: none
	text    statement
}

// Prepare asks the database to check a query. The columns must have names, each another one.
func (d *DB) Prepare(ctx context.Context, q Query) (*Loader, error) {
	s, err := single(q.SQL, d.dialect.lex)
	if err != nil {
		return nil, err
	}
	if err := s.selects(d.dialect.lex); err != nil {
		return nil, err
	}
	l := &Loader{Query: q, b: d.b, text: s}
	if err := s.unquoted(func(name string) bool { return l.param(name) >= 0 }); err != nil {
		return nil, err
	}
	for _, name := range s.names {
		n := l.param(name)
		if n < 0 {
			return nil, fmt.Errorf("{%s} is no parameter of the key", name)
		}
		l.binds = append(l.binds, n)
	}
	text := s.with(d.dialect.place)
	if l.cols, err = d.b.columns(ctx, text, len(l.binds)); err != nil {
		return nil, s.shown(err)
	}
	if l.stmt, err = d.b.prepare(ctx, text, l.cols); err != nil {
		return nil, err
	}
	return l, l.infer(ctx, d, text)
}

func (l *Loader) param(name string) int {
	return slices.IndexFunc(l.Params, func(p Param) bool { return p.Name == name })
}

func (l *Loader) column(name string) *column {
	for i := range l.cols {
		if l.cols[i].name == name {
			return &l.cols[i]
		}
	}
	return nil
}

// bindings are the values of the query's placeholders.
func (l *Loader) bindings(args []string) []any {
	values := make([]any, len(l.binds))
	for i, n := range l.binds {
		values[i] = l.bind(n, args[n])
	}
	return values
}

// bind is the value of one parameter, which the key's pattern has checked. A whole number is bound as one where the database
// would compare a text with a number by rules of its own: SQLite finds nothing, unless it is a column, and MySQL rounds.
func (l *Loader) bind(n int, arg string) any {
	_, local := l.b.(*sqliteDB)
	if l.b.typed() || !l.Params[n].Int || !local && !l.numbers[n] {
		return arg
	}
	if v, err := strconv.ParseInt(arg, 10, 64); err == nil {
		return v
	}
	if v, err := strconv.ParseUint(arg, 10, 64); err == nil && !local {
		return v
	}
	return arg
}

// Load runs the query. The answer is JSON: of One the row as an object, or ErrNotFound; of Many an array of objects. A
// parameter that cannot be a value of its type has no rows.
func (l *Loader) Load(ctx context.Context, args []string) (out []byte, err error) {
	err = l.run(ctx, args, func(rows cursor) (err error) {
		out, err = l.encode(rows, args)
		return err
	})
	switch {
	case errors.Is(err, ErrNotFound) && l.Rows == Many:
		return []byte("[]"), nil
	case err != nil:
		return nil, err
	}
	return out, nil
}

// run runs the query and has its rows read.
func (l *Loader) run(ctx context.Context, args []string, read func(cursor) error) error {
	if l.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.Timeout)
		defer cancel()
	}
	values := l.bindings(args)
	rows, err := l.stmt.query(ctx, values)
	if err == nil {
		err = read(rows)
	}
	switch {
	case err == nil:
		return nil
	case l.stmt.impossible(ctx, err, values):
		return ErrNotFound
	case ctx.Err() != nil && !errors.Is(err, ErrNotFound):
		return ctx.Err()
	}
	return bounded(err)
}

// encode reads all rows. Limits are counted while reading: a table without a LIMIT must not fill the memory.
func (l *Loader) encode(rows cursor, args []string) ([]byte, error) {
	cells := make([]any, len(l.cols))
	all := rowsOf{out: make([]byte, 0, 256)}
	for all.err == nil && rows.next(cells) {
		if all.err = l.check(cells, args); all.err == nil {
			all.add(l, rows.cols(), cells)
		}
	}
	if err := rows.end(); err != nil && all.err == nil {
		return nil, err
	}
	return all.end(l)
}

// rowsOf is the JSON of one key's rows.
type rowsOf struct {
	out []byte
	n   int
	err error
}

// add appends the row that was read.
func (r *rowsOf) add(l *Loader, cols []column, cells []any) {
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
	for i := range cols {
		c := &cols[i]
		r.out = append(r.out, c.head...)
		if i == 0 {
			r.out[len(r.out)-len(c.head)] = '{'
		}
		if r.out, r.err = c.append(r.out, cells[i]); r.err != nil {
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
