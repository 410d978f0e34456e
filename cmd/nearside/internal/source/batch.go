package source

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/bits"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/nearside/nearside"
)

const largestBatch = 512 // keys of one statement; more are several

// Batch is a query for the rows of many keys at once, beside the query for one. What it answers for a key is what Load
// answers for it. What is equal is for the database to say: 'ada' may be 'Ada', and 1.0 be 1. So whose rows they are that came is
// known from their text alone only where no two spellings are equal; elsewhere the database is asked, or each key is loaded by
// itself.
type Batch struct {
	Warn []string // what is allowed, and most probably a mistake

	one   *Loader
	db    *DB
	sql   statement
	place int // of the column that is the key's parameter
	tells tells

	stmts, spelled [10]atomic.Pointer[stmt] // for lists of 1, 2, 4, ... 512, prepared when they are needed
}

// tells is what the text of a row's column tells about the keys whose row it is.
type tells int

const (
	nothing tells = iota // each key is loaded by itself
	perhaps              // it is the key's row if no other spelling of it is equal, which the database is asked
	surely               // it is that key's row, and no other's
)

// PrepareMany asks the database to check a query for many keys. Its one parameter is the list of the key's parameter,
// {id...}, and its columns are those of the query for one, the parameter among them: it tells whose row it is.
func (d *DB) PrepareMany(ctx context.Context, text string, one *Loader) (*Batch, error) {
	s, err := split(text, d.dialect.lex)
	if err != nil {
		return nil, err
	}
	if err := s.selects(d.dialect.lex); err != nil {
		return nil, err
	}
	if len(one.Params) != 1 {
		return nil, fmt.Errorf("the key has %d parameters, and 'load_many' is for keys with one", len(one.Params))
	}
	name := one.Params[0].Name
	if err := s.unquoted(func(n string) bool { return n == name }); err != nil {
		return nil, err
	}
	if s.list < 0 || len(s.names) != 1 || s.names[0] != name {
		return nil, fmt.Errorf("expected the parameter {%s...} once, as in IN ({%s...}), and no other", name, name)
	}
	if d.dialect.lex.outside(s.with(d.dialect.place), "LIMIT") {
		return nil, errors.New("its LIMIT is one for the rows of all keys together, so that some would lack theirs: number the rows of each key " +
			"in a subquery, or leave it out")
	}
	b := &Batch{one: one, db: d, sql: s}
	cols, err := d.b.columns(ctx, b.text(1), 1)
	if err != nil {
		return nil, s.shown(err)
	}
	if got, want := names(cols), names(one.cols); !slices.Equal(got, want) {
		return nil, fmt.Errorf("its columns are %s, expected those of 'load': %s", strings.Join(got, ", "), strings.Join(want, ", "))
	}
	if b.place = slices.Index(names(one.cols), name); b.place < 0 {
		return nil, fmt.Errorf("no column is named %q: it must tell whose row it is", name)
	}
	b.tells = b.learn(name, cols[b.place], one.cols[b.place])
	_, err = b.prepared(ctx, &b.stmts, 1, b.text, b.one.cols)
	return b, err
}

// learn finds out what a row tells.
func (b *Batch) learn(name string, many, one column) tells {
	lex, p := b.db.dialect.lex, b.one.Params[0]
	m, o := b.sql.compares(name, lex), b.one.text.compares(name, lex)
	if !m.alone || !o.alone || !b.sql.shows(m, name, lex) {
		b.Warn = append(b.Warn, fmt.Sprintf("load_many: each key is loaded by itself, since which rows belong to which key cannot be told: expected WHERE %s = {%s} "+
			"in 'load' and WHERE %s IN ({%s...}) here, without an OR or a UNION around it, and that column selected as %s", name, name, name, name, name))
		return nothing
	}
	switch {
	case p.UUID, p.Int && many.integer && one.integer, !p.Int && many.bytes && one.bytes:
		return surely
	case b.db.b.spelled("", "") != "" && (b.db.b.typed() || !p.Int && many.kind == text && one.kind == text):
		return perhaps
	}
	return nothing
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

// spellings is the query whether rows for a list of n have texts in the key's column that differ and are equal.
func (b *Batch) spellings(n int) string {
	return b.db.b.spelled(strings.TrimSuffix(strings.TrimSpace(b.text(n)), ";"), b.one.cols[b.place].name)
}

// prepared returns one of stmts, which is made of text, for at least n keys.
func (b *Batch) prepared(ctx context.Context, stmts *[10]atomic.Pointer[stmt], n int, text func(int) string, cols []column) (stmt, error) {
	size := bits.Len(uint(n - 1))
	if st := stmts[size].Load(); st != nil {
		return *st, nil
	}
	st, err := b.db.b.prepare(ctx, text(1<<size), cols)
	if err != nil {
		return nil, err
	}
	stmts[size].Store(&st) // another one may have been as fast: both are good
	return st, nil
}

// ask runs a prepared query for a list. The list is filled up with its last key, so that there are few statements.
func (b *Batch) ask(ctx context.Context, st stmt, args []string) (cursor, error) {
	values := make([]any, 1<<bits.Len(uint(len(args)-1)))
	for i := range values {
		values[i] = b.one.bind(0, args[min(i, len(args)-1)])
	}
	return st.query(ctx, values)
}

// Load asks for many keys, given by their parameter. What it leaves out has no row; Rows Many gives each key an array. An
// error is BatchError, of a few keys or of all, and the others are in the answer; or that of ctx, which has ended.
func (b *Batch) Load(ctx context.Context, args []string) (map[string][]byte, error) {
	if b.one.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, b.one.Timeout)
		defer cancel()
	}
	found := make(map[string][]byte, len(args))
	failed := make(BatchError)
	for part := range slices.Chunk(args, largestBatch) {
		if err := b.load(ctx, part, found, failed); err != nil {
			for _, a := range part {
				if found[a] == nil {
					failed[a] = bounded(err)
				}
			}
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	if len(failed) > 0 {
		return found, failed
	}
	return found, nil
}

// BatchError says which of the keys failed.
type BatchError = nearside.BatchError[string]

// load answers for a part of the keys. An error is that of all of them which it has not found.
func (b *Batch) load(ctx context.Context, args []string, found map[string][]byte, failed BatchError) error {
	rows, known, err := b.together(ctx, args)
	switch {
	case err != nil && !b.db.b.ofValues(err):
		return err
	case err != nil, !known: // an error may be of one key alone
		b.apart(ctx, args, found, failed)
		return nil
	}
	for _, a := range args {
		row := rows[a]
		if row == nil {
			row = &rowsOf{}
		}
		switch value, err := row.end(b.one); {
		case err == nil:
			found[a] = value
		case !errors.Is(err, ErrNotFound):
			failed[a] = err
		}
	}
	return nil
}

// together asks for all keys at once. Known is false if it cannot be told from the answer whose rows they are.
func (b *Batch) together(ctx context.Context, args []string) (rows map[string]*rowsOf, known bool, err error) {
	if b.tells == nothing || len(args) == 1 {
		return nil, false, nil
	}
	rows, strange, err := b.read(ctx, args)
	if err != nil || strange || b.tells == surely {
		return rows, !strange, err
	}
	if len(rows) == 0 {
		return rows, true, nil
	}
	// Those without a row may be other spellings of those that have some. By themselves they would get them.
	without := slices.DeleteFunc(slices.Clone(args), func(a string) bool { return rows[a] != nil })
	if len(without) > 0 {
		if theirs, strange, err := b.read(ctx, without); err != nil || strange || len(theirs) > 0 {
			return nil, false, err
		}
	}
	// And of two that have rows, each may have those of the other.
	if len(rows) > 1 {
		st, err := b.prepared(ctx, &b.spelled, len(rows), b.spellings, []column{newColumn("n", number)})
		if err != nil {
			return nil, false, err
		}
		c, err := b.ask(ctx, st, slices.Collect(maps.Keys(rows)))
		if err != nil {
			return nil, false, err
		}
		several := c.next(make([]any, 1))
		if err := c.end(); err != nil || several {
			return nil, false, err
		}
	}
	return rows, true, nil
}

// read asks for keys, and gives each row to the one whose text it has. Strange is true if a row has the text of none.
func (b *Batch) read(ctx context.Context, args []string) (rows map[string]*rowsOf, strange bool, err error) {
	st, err := b.prepared(ctx, &b.stmts, len(args), b.text, b.one.cols)
	if err != nil {
		return nil, false, err
	}
	c, err := b.ask(ctx, st, args)
	if err != nil {
		return nil, false, err
	}
	asked := make(map[string]bool, len(args))
	for _, a := range args {
		asked[a] = true
	}
	cells := make([]any, len(b.one.cols))
	rows = make(map[string]*rowsOf, len(args))
	total := 0
	for !strange && c.next(cells) {
		a := textOf(cells[b.place])
		if strange = !asked[a] || cells[b.place] == nil; strange {
			break
		}
		row := rows[a]
		if row == nil {
			row = &rowsOf{}
			rows[a] = row
		}
		before := len(row.out)
		row.add(b.one, c.cols(), cells)
		if total += len(row.out) - before; total > 4*maxJSON {
			_ = c.end()
			return nil, false, fmt.Errorf("more than %d MiB of JSON for %d keys", 4*maxJSON>>20, len(args))
		}
	}
	if err := c.end(); err != nil && !strange {
		return nil, false, err
	}
	return rows, strange, nil
}

const atOnce = 4 // loads of keys that are loaded each by itself

// apart loads each key by itself.
func (b *Batch) apart(ctx context.Context, args []string, found map[string][]byte, failed BatchError) {
	var (
		mu   sync.Mutex // guards found and failed
		next atomic.Int64
		wait sync.WaitGroup
	)
	for range min(atOnce, len(args)) {
		wait.Go(func() {
			for i := next.Add(1) - 1; int(i) < len(args); i = next.Add(1) - 1 {
				value, err := b.one.Load(ctx, args[i:i+1])
				mu.Lock()
				switch {
				case err == nil:
					found[args[i]] = value
				case !errors.Is(err, ErrNotFound):
					failed[args[i]] = err
				}
				mu.Unlock()
			}
		})
	}
	wait.Wait()
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
