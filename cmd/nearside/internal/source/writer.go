package source

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
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
	for _, name := range s.names {
		if l.param(name) < 0 && l.column(name) == nil {
			return nil, fmt.Errorf("{%s} is neither in the key nor a column of 'load'", name)
		}
	}
	w := &Writer{load: l, text: s.with(d.dialect.place), names: s.names}
	return w, d.b.checkWrite(ctx, w.text, len(w.names))
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
	var notObject *json.UnmarshalTypeError
	switch err := dec.Decode(&c.fields); {
	case errors.As(err, &notObject):
		return nil, fmt.Errorf("%w: found %s, expected a JSON object with the fields of the row", ErrBadValue, notObject.Value)
	case err != nil:
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
			if col := w.load.column(name); col != nil { // "42" is not 42
				if _, err := w.bind(col, v); err != nil {
					return nil, fmt.Errorf("%w: the field %q: %w", ErrBadValue, name, err)
				}
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
		bound, err := w.bind(w.load.column(name), v)
		if err != nil {
			return nil, fmt.Errorf("%w: the field %q: %w", ErrBadValue, name, err)
		}
		c.values = append(c.values, bound)
	}
	return c, nil
}

// bind turns a JSON value into what the column is written with.
func (w *Writer) bind(c *column, v any) (any, error) {
	found := ""
	switch v := v.(type) {
	case nil:
		return nil, nil
	case json.Number:
		found = "a number"
	case bool:
		found = "a boolean"
	case string:
		if found = "a string"; c.kind == binary {
			if _, err := base64.StdEncoding.DecodeString(v); err == nil {
				found = c.kind.expects()
			}
		}
	case []any:
		found = "an array"
	default:
		found = "an object"
	}
	if c.kind == document || c.kind == anything && (found == "an array" || found == "an object") {
		data, err := json.Marshal(v)
		return string(data), err
	}
	if want := c.kind.expects(); want != "" && want != found {
		return nil, fmt.Errorf("found %s, %.100v, expected %s", found, v, want)
	}
	if n, ok := v.(json.Number); ok && c.whole && strings.ContainsAny(n.String(), ".eE") {
		return nil, fmt.Errorf("found %.100s, expected a whole number", n)
	}
	return w.load.b.bind(c, v)
}

// Run writes the row and reads it back, in one transaction. It returns the row as JSON, as Load would. Its error says
// what is known of the outcome (commit.go); it does not wait for it longer than ctx. ErrNotFound: there was no row to be written.
func (c *Change) Run(ctx context.Context) (row []byte, err error) {
	l := c.w.load
	err = l.b.write(ctx, c.w.text, c.values, l.stmt, l.bindings(c.args), func(rows cursor) (err error) {
		if row, err = l.encode(rows); err != nil {
			err = fmt.Errorf("nothing was written, since the row cannot be read back: %w", err)
		}
		return err
	})
	return row, err
}
