package source

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// ErrBadValue is wrapped by the error of a value that cannot be written: the database has not been asked.
var ErrBadValue = errors.New("bad value")

// Writer is a checked statement that writes one row, and the query that reads it back.
type Writer struct {
	load  *Loader
	text  string
	names []string // of the parameters of text, in their order
}

// PrepareWrite asks the database to check a statement that writes the row of a loader. Its parameters are those of the
// key, and columns of the row.
func (d *DB) PrepareWrite(ctx context.Context, text string, l *Loader) (*Writer, error) {
	s, err := single(text, d.dialect.lex)
	if err != nil {
		return nil, err
	}
	if err := s.writes(d.dialect.lex); err != nil {
		return nil, err
	}
	if len(l.Params) > 0 && !slices.ContainsFunc(l.Params, func(p Param) bool { return slices.Contains(s.names, p.Name) }) {
		return nil, fmt.Errorf("it uses no parameter of the key, so every SET would write the same rows: name the row, as in WHERE %s = {%s}", l.Params[0].Name, l.Params[0].Name)
	}
	for _, name := range s.names {
		if l.param(name) < 0 && l.column(name) == nil {
			return nil, fmt.Errorf("{%s} is neither in the key nor a column of 'load'", name)
		}
	}
	if err := s.unquoted(func(name string) bool { return l.param(name) >= 0 || l.column(name) != nil }); err != nil {
		return nil, err
	}
	w := &Writer{load: l, text: s.with(d.dialect.place), names: s.names}
	return w, s.shown(d.b.checkWrite(ctx, w.text, len(w.names)))
}

// Change is a value that has been checked, ready to be written.
type Change struct {
	w      *Writer
	args   []string
	values []any // of the parameters
}

// Check reads a value for the row with these parameters of its key: one JSON object, whose fields are columns of the row.
// Every field that the statement names must be there; null is NULL. No error shows a text of the value.
func (w *Writer) Check(args []string, value []byte) (*Change, error) {
	fields, err := members(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrBadValue, err)
	}
	for name, v := range fields {
		if err := w.checkField(args, name, v); err != nil {
			return nil, fmt.Errorf("%w: the field %.100q %w", ErrBadValue, name, err)
		}
	}
	c := &Change{w: w, args: args}
	for _, name := range w.names {
		if i := w.load.param(name); i >= 0 {
			c.values = append(c.values, w.load.bind(i, args[i]))
			continue
		}
		v, ok := fields[name]
		if !ok {
			return nil, fmt.Errorf("%w: the field %q is missing (null writes NULL)", ErrBadValue, name)
		}
		bound, err := w.bind(w.load.column(name), v)
		if err != nil {
			return nil, fmt.Errorf("%w: the field %q: %w", ErrBadValue, name, err)
		}
		c.values = append(c.values, bound)
	}
	return c, nil
}

// checkField checks a field that need not be written: it may be one of the key, or of what load returns.
func (w *Writer) checkField(args []string, name string, v field) error {
	i, col := w.load.param(name), w.load.column(name)
	if i < 0 {
		if col == nil {
			return errors.New("is no column of the row")
		}
		return nil
	}
	if v.plain() != args[i] || v.kind == "null" {
		return fmt.Errorf("is %s, and the key says %.100s", v.short(), args[i])
	}
	if col != nil { // "42" is not 42
		if _, err := w.bind(col, v); err != nil {
			return fmt.Errorf("cannot be written: %w", err)
		}
	}
	return nil
}

// bind turns a JSON value into what the column is written with.
func (w *Writer) bind(c *column, v field) (any, error) {
	found := v.kind
	switch {
	case found == "null":
		return nil, nil
	case c.kind == document, c.kind == anything && (found == "an array" || found == "an object"):
		return string(v.raw), nil
	}
	if want := c.kind.expects(); want != "" && want != found {
		if _, err := base64.StdEncoding.DecodeString(v.text); err != nil || found != "a string" || want != binary.expects() {
			return nil, fmt.Errorf("found %s, expected %s", v, want)
		}
	}
	switch found {
	case "a number":
		if c.whole && bytes.ContainsAny(v.raw, ".eE") {
			return nil, fmt.Errorf("found %s, expected a whole number", v)
		}
		return w.load.b.bind(c, json.Number(v.raw))
	case "a boolean":
		return w.load.b.bind(c, v.raw[0] == 't')
	case "a string":
		return w.load.b.bind(c, v.text)
	}
	return nil, fmt.Errorf("%s cannot be written to a column of this type", found)
}

// Run writes the row and reads it back, in one transaction. It returns the row as JSON, as Load would. Its error says
// what is known of the outcome (commit.go); it does not wait for it longer than ctx. ErrNotFound: there was no row to be written.
func (c *Change) Run(ctx context.Context) (row []byte, err error) {
	l := c.w.load
	err = l.b.write(ctx, c.w.text, c.values, l.stmt, l.bindings(c.args), func(rows cursor) (err error) {
		if row, err = l.encode(rows, c.args); err != nil {
			err = fmt.Errorf("nothing was written, since the row cannot be read back: %w", err)
		}
		return err
	})
	return row, bounded(err)
}
