package source

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/nearside/nearside/internal/engine"
)

const largestBatch = 512 // keys of one statement; more are several

// Batch is a query for the rows of many keys at once, beside the query for one.
type Batch struct {
	one   *Loader
	db    *DB
	sql   statement
	place int // of the column that is the key's parameter

	stmts [10]atomic.Pointer[stmt] // for lists of 1, 2, 4, ... 512, prepared when they are needed
}

// PrepareMany asks the database to check a query for many keys. Its one parameter is the list of the key's parameter,
// {id...}, and its columns are those of the query for one, the parameter among them: it tells whose row it is.
func (d *DB) PrepareMany(ctx context.Context, text string, one *Loader) (*Batch, error) {
	s, err := split(text, d.dialect.lex)
	if err != nil {
		return nil, err
	}
	if len(one.Params) != 1 {
		return nil, fmt.Errorf("the key has %d parameters, and 'load_many' is for keys with one", len(one.Params))
	}
	name := one.Params[0].Name
	if s.list < 0 || len(s.names) != 1 || s.names[0] != name {
		return nil, fmt.Errorf("expected the parameter {%s...} once, as in IN ({%s...}), and no other", name, name)
	}
	b := &Batch{one: one, db: d, sql: s}
	cols, err := d.b.columns(ctx, b.text(1), 1)
	if err != nil {
		return nil, err
	}
	if got, want := names(cols), names(one.cols); !slices.Equal(got, want) {
		return nil, fmt.Errorf("its columns are %s, expected those of 'load': %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	if b.place = slices.Index(names(one.cols), name); b.place < 0 {
		return nil, fmt.Errorf("no column is named %q: it must tell whose row it is", name)
	}
	_, err = b.stmt(ctx, 0)
	return b, err
}

func names(cols []column) []string {
	out := make([]string, len(cols))
	for i, c := range cols {
		out[i] = c.name
	}
	return out
}

// text is the query for a list of n.
func (b *Batch) text(n int) string {
	list := make([]string, n)
	for i := range list {
		list[i] = b.db.dialect.place(i + 1)
	}
	return b.sql.text[0] + strings.Join(list, ", ") + b.sql.text[1]
}

// stmt returns the query for a list of 1<<size.
func (b *Batch) stmt(ctx context.Context, size int) (stmt, error) {
	if st := b.stmts[size].Load(); st != nil {
		return *st, nil
	}
	st, err := b.db.b.prepare(ctx, b.text(1<<size), b.one.cols)
	if err != nil {
		return nil, err
	}
	b.stmts[size].Store(&st) // another one may have been as fast: both are good
	return st, nil
}

// Load asks for many keys, given by their parameter. What it leaves out has no row; Rows Many gives each key an array. An
// error is RowErrors, of a few keys or of all, and the others are in the answer; or that of ctx, which has ended.
func (b *Batch) Load(ctx context.Context, args []string) (map[string][]byte, error) {
	if b.one.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.one.Timeout)
		defer cancel()
	}
	found := make(map[string][]byte, len(args))
	failed := make(RowErrors)
	for part := range slices.Chunk(args, largestBatch) {
		if err := b.load(ctx, part, found, failed); err != nil {
			for _, a := range part {
				if found[a] == nil {
					failed[a] = err
				}
			}
		}
		if ctx.Err() != nil {
			return found, ctx.Err()
		}
	}
	if len(failed) > 0 {
		return found, failed
	}
	return found, nil
}

// RowErrors says which of the keys failed.
type RowErrors = engine.RowErrors[string]

func (b *Batch) load(ctx context.Context, args []string, found map[string][]byte, failed RowErrors) error {
	size := bits.Len(uint(len(args) - 1)) // a list is filled up with its last key, so that there are few statements
	stmt, err := b.stmt(ctx, size)
	if err != nil {
		return err
	}
	values := make([]any, 1<<size)
	for i := range values {
		values[i] = b.one.bind(0, args[min(i, len(args)-1)])
	}
	rows, err := stmt.query(ctx, values)
	if err != nil {
		return err
	}
	cells := make([]any, len(b.one.cols))
	wanted := make(map[string]*rowsOf, len(args))
	for _, a := range args {
		wanted[a] = &rowsOf{}
	}
	strange := false
	total := 0
	for rows.next(cells) {
		row := wanted[textOf(cells[b.place])]
		if row == nil {
			strange = true // the database finds 'ada' for 'Ada'
			continue
		}
		before := len(row.out)
		row.add(b.one, rows.cols(), cells)
		if total += len(row.out) - before; total > 4*maxJSON {
			rows.end()
			return fmt.Errorf("more than %d MiB of JSON for %d keys", 4*maxJSON>>20, len(args))
		}
	}
	if err := rows.end(); err != nil {
		return err
	}
	for a, row := range wanted {
		value, err := row.end(b.one)
		if strange && row.n == 0 {
			value, err = b.one.Load(ctx, []string{a})
		}
		switch {
		case err == nil:
			found[a] = value
		case !errors.Is(err, ErrNotFound):
			failed[a] = err
		}
	}
	return nil
}

// textOf is a cell as it stands in a key.
func textOf(cell any) string {
	switch cell := cell.(type) {
	case string:
		return cell
	case []byte:
		return string(cell)
	case int64:
		return strconv.FormatInt(cell, 10)
	}
	return fmt.Sprint(cell)
}
