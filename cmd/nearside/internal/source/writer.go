package source

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// ErrBadValue is wrapped by the error of a value that cannot be written: the database has not been asked.
var ErrBadValue = errors.New("bad value")

// Writer is a prepared statement that writes one row, and the query that reads it back.
type Writer struct {
	load  *Loader
	db    *sql.DB
	write *sql.Stmt
	read  *sql.Stmt
	names []string // of the parameters of write, in their order
}

// PrepareWrite asks the database to check a statement that writes the row of a loader. Its parameters are those of the
// key, and columns of the row.
func (d *DB) PrepareWrite(ctx context.Context, text string, l *Loader) (*Writer, error) {
	s, err := single(text)
	if err != nil {
		return nil, err
	}
	for _, name := range s.names {
		if l.param(name) < 0 && l.column(name) == nil {
			return nil, fmt.Errorf("{%s} is neither in the key nor a column of 'load'", name)
		}
	}
	db, err := d.writer(ctx)
	if err != nil {
		return nil, err
	}
	w := &Writer{load: l, db: db, names: s.names}
	if w.write, err = db.PrepareContext(ctx, strings.Join(s.text, "?")); err != nil {
		return nil, err
	}
	w.read, err = db.PrepareContext(ctx, l.text)
	return w, err
}

// writer returns the connection for writing, opened by the first who needs it. One writes to a SQLite file at a time; that
// they queue here, and not for its lock, is faster and fair.
func (d *DB) writer(ctx context.Context) (*sql.DB, error) {
	if d.writes != nil {
		return d.writes, nil
	}
	db, err := openSQLite(d.at, "mode=rw&_txlock=immediate")
	if err != nil {
		return nil, err
	}
	db.SetMaxOpenConns(1)
	tx, err := db.BeginTx(ctx, nil) // takes the lock: a file that may not be written is found here
	if err == nil {
		_, err = tx.ExecContext(ctx, "PRAGMA user_version = user_version")
		err = errors.Join(err, tx.Rollback())
	}
	if err != nil {
		db.Close()
		return nil, fmt.Errorf("the database cannot be written: %w", err)
	}
	d.writes = db
	return db, nil
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

// Change is a value that has been checked, ready to be written.
type Change struct {
	w      *Writer
	args   []string
	fields map[string]any
	values []any // of the parameters
}

// Check reads a value for the row with these parameters of its key: one JSON object, whose fields are columns of the row.
// Every field that the statement names must be there; null is NULL.
func (w *Writer) Check(args []string, value []byte) (*Change, error) {
	c := &Change{w: w, args: args}
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	if err := dec.Decode(&c.fields); err != nil {
		return nil, fmt.Errorf("%w: expected a JSON object with the fields of the row: %w", ErrBadValue, err)
	}
	if _, err := dec.Token(); err != io.EOF || c.fields == nil {
		return nil, fmt.Errorf("%w: expected one JSON object with the fields of the row, and nothing behind it", ErrBadValue)
	}
	for name, v := range c.fields {
		if i := w.load.param(name); i >= 0 {
			if text := fmt.Sprint(v); text != args[i] {
				return nil, fmt.Errorf("%w: the field %q is %.100s, and the key says %.100s", ErrBadValue, name, text, args[i])
			}
		} else if w.load.column(name) == nil {
			return nil, fmt.Errorf("%w: the field %.100q is no column of the row", ErrBadValue, name)
		}
	}
	for _, name := range w.names {
		if i := w.load.param(name); i >= 0 {
			c.values = append(c.values, w.load.bind(i, args[i]))
			continue
		}
		v, ok := c.fields[name]
		if !ok {
			return nil, fmt.Errorf("%w: the field %q is missing (null writes NULL)", ErrBadValue, name)
		}
		bound, err := w.load.column(name).bind(v)
		if err != nil {
			return nil, fmt.Errorf("%w: the field %q: %w", ErrBadValue, name, err)
		}
		c.values = append(c.values, bound)
	}
	return c, nil
}

// bind turns a JSON value into what the column is written with.
func (c *column) bind(v any) (any, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case json.Number:
		if c.expects != "" && c.expects != "a number" {
			return nil, fmt.Errorf("found the number %s, expected %s", v, c.expects)
		}
		if n, err := v.Int64(); err == nil {
			return n, nil
		}
		f, err := v.Float64()
		if err != nil {
			return nil, fmt.Errorf("the number %.40s is too large", v)
		}
		return f, nil
	case bool:
		if c.expects != "" && c.expects != "a boolean" {
			return nil, fmt.Errorf("found %v, expected %s", v, c.expects)
		}
		return v, nil
	case string:
		switch {
		case c.kind == document:
			data, err := json.Marshal(v)
			return string(data), err
		case c.expects == "base64":
			data, err := base64.StdEncoding.DecodeString(v)
			if err != nil {
				return nil, fmt.Errorf("found %.40q, expected base64", v)
			}
			return data, nil
		case c.expects != "" && c.expects != "a string":
			return nil, fmt.Errorf("found the string %.40q, expected %s", v, c.expects)
		}
		return v, nil
	}
	if c.kind != document {
		return nil, fmt.Errorf("found an array or object, expected %s", cmp.Or(c.expects, "a plain value"))
	}
	data, err := json.Marshal(v)
	return string(data), err
}

// Run writes the row and reads it back, in one transaction. It returns the row as JSON, as Load would. An error may have
// come after the commit. ErrNotFound: there was no row to be written.
func (c *Change) Run(ctx context.Context) (row []byte, err error) {
	w := c.w
	tx, err := w.db.BeginTx(ctx, nil)
	if err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			tx.Rollback()
		}
	}()
	result, err := tx.StmtContext(ctx, w.write).ExecContext(ctx, c.values...)
	if err != nil {
		return nil, err
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 {
		return nil, fmt.Errorf("no row matched, nothing was written: %w", ErrNotFound)
	}
	if row, err = w.load.query(ctx, tx.StmtContext(ctx, w.read), c.args); err != nil {
		return nil, fmt.Errorf("nothing was written, since the row cannot be read back: %w", err)
	}
	return row, tx.Commit()
}

// bindings are the values of a query's placeholders.
func (l *Loader) bindings(args []string) []any {
	values := make([]any, len(l.binds))
	for i, n := range l.binds {
		values[i] = l.bind(n, args[n])
	}
	return values
}

// bind is the value of one parameter, which has been checked by the key's pattern.
func (l *Loader) bind(n int, arg string) any {
	if l.Params[n].Int {
		if v, err := strconv.ParseInt(arg, 10, 64); err == nil {
			return v
		}
	}
	return arg
}
