package source

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"

	"github.com/nearside/nearside"
)

// sqlStmt is a prepared query of database/sql, which prepares it again on new connections.
type sqlStmt struct {
	*sql.Stmt
	text string
	like []column
	// kinds tells the columns of a result; nil: they are always those that were learned.
	kinds func(*sql.Rows) ([]column, error)
}

func (s *sqlStmt) query(ctx context.Context, args []any) (cursor, error) {
	return s.run(ctx, args, s.QueryContext)
}

// run asks by way of ask, and makes a cursor of the answer.
func (s *sqlStmt) run(ctx context.Context, args []any, ask func(context.Context, ...any) (*sql.Rows, error)) (cursor, error) {
	ctx, cancel := context.WithCancel(ctx)
	rows, err := ask(ctx, args...)
	if err != nil {
		cancel()
		return nil, err
	}
	c := &sqlCursor{rows: rows, cancel: cancel, of: s.like, more: true}
	if s.kinds != nil {
		c.of, err = s.kinds(rows)
	}
	var names []string
	if err == nil {
		names, err = rows.Columns()
	}
	if err == nil && len(names) != len(s.like) {
		err = errColumns(len(names), len(s.like))
	}
	if err != nil {
		_ = c.end()
		return nil, err
	}
	c.dest = make([]any, len(c.of))
	return c, nil
}

// impossible: what a text cannot be these databases find out by comparing it, which is no error.
func (s *sqlStmt) impossible(context.Context, error, []any) bool { return false }

// errColumns is the error of a SELECT * from a table that was altered: each column's place is known since the start.
func errColumns(now, before int) error {
	return fmt.Errorf("the query has %d columns, and had %d at the start: restart", now, before)
}

type sqlCursor struct {
	rows   *sql.Rows
	cancel context.CancelFunc
	of     []column
	dest   []any
	more   bool // rows may have been left unread
	err    error
}

func (c *sqlCursor) cols() []column { return c.of }

func (c *sqlCursor) next(cells []any) bool {
	if c.more = c.rows.Next(); !c.more {
		return false
	}
	for i := range c.dest {
		c.dest[i] = &cells[i]
	}
	c.err = c.rows.Scan(c.dest...)
	return c.err == nil
}

// end gives up what has not been read: the driver of MySQL closes a result by reading all of it.
func (c *sqlCursor) end() error {
	if err := c.rows.Err(); err != nil && c.err == nil {
		c.err = err
	}
	if c.more {
		c.cancel()
	}
	c.rows.Close()
	c.cancel()
	return c.err
}

// describe learns the columns of a query that alone has had the database compile by itself, for its errors are those of the query.
// LIMIT 0 ends it before it begins; what is no SELECT does not fit into the brackets.
func describe(ctx context.Context, db *sql.DB, text string, n int, alone func() error, kinds func(*sql.Rows) ([]column, error)) ([]column, error) {
	if err := alone(); err != nil {
		return nil, err
	}
	rows, err := db.QueryContext(ctx, bracketed(text)+" LIMIT 0", make([]any, n)...)
	if err != nil {
		return nil, fmt.Errorf(noSubquery, err)
	}
	defer rows.Close()
	cols, err := kinds(rows)
	if err != nil {
		return nil, err
	}
	return cols, named(cols)
}

// bracketed has nothing fit but a SELECT.
func bracketed(text string) string { return "SELECT * FROM (" + text + "\n) AS q" }

// noSubquery is the error of a statement that the database takes by itself, and not in brackets.
const noSubquery = "a load is one SELECT that only reads: %w"

// named checks that each column has a name of its own.
func named(cols []column) error {
	seen := make(map[string]bool)
	for _, c := range cols {
		name := c.name
		if i := strings.LastIndexByte(name, ':'); i > 0 && seen[name[:i]] {
			name = name[:i] // SQLite numbers the second of a name: id, id:1
		}
		switch {
		case name == "" || name == "?column?":
			return errors.New("a column has no name: give it one with AS")
		case seen[name]:
			return fmt.Errorf("two columns are named %q: give one another name with AS", name)
		}
		seen[name] = true
	}
	return nil
}

// transact is backend.write for database/sql, on a connection that it gives back.
func transact(ctx context.Context, conn *sql.Conn, c *commit, text string, args []any, query *sqlStmt, queryArgs []any, read func(cursor) error) error {
	// The transaction's own context ends with the caller's until COMMIT is sent, and no more from then on.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	stop := context.AfterFunc(ctx, cancel)
	tx, err := conn.BeginTx(own, nil)
	if err == nil {
		err = writeRow(ctx, tx, text, args, query, queryArgs, read)
		if err == nil && !stop() {
			err = ctx.Err()
		}
		if err != nil {
			tx.Rollback()
		}
	}
	if err != nil {
		stop()
		cancel()
		conn.Close()
		return nearside.NotCommitted(err)
	}
	return c.run(ctx, func() error {
		defer cancel()
		defer conn.Close()
		err := tx.Commit()
		if err != nil && !c.answered(err) {
			_ = conn.Raw(func(any) error { return driver.ErrBadConn }) // it is closed, so that its thread ends
		}
		return err
	})
}

// writeRow writes the row and reads it back.
func writeRow(ctx context.Context, tx *sql.Tx, text string, args []any, query *sqlStmt, queryArgs []any, read func(cursor) error) error {
	result, err := tx.ExecContext(ctx, text, args...)
	if err != nil {
		return err
	}
	if n, err := result.RowsAffected(); err == nil && n == 0 {
		return errNoRow
	}
	cur, err := query.run(ctx, queryArgs, func(ctx context.Context, args ...any) (*sql.Rows, error) {
		return tx.QueryContext(ctx, query.text, args...)
	})
	if err != nil {
		return err
	}
	return read(cur)
}

var errNoRow = fmt.Errorf("no row matched, nothing was written: %w", ErrNotFound)
