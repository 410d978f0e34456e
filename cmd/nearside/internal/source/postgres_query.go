package source

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func (d *postgresDB) prepare(_ context.Context, text string, cols []column) (stmt, error) {
	return &postgresStmt{db: d, text: text, like: cols}, nil // the driver prepares it on each connection
}

type postgresStmt struct {
	db    *postgresDB
	text  string
	like  []column
	types atomic.Pointer[[]string] // of its parameters, as the server writes them; asked for when they are needed
}

// impossible has the server read each parameter by itself. That is one more question, after an error that most loads never have.
func (s *postgresStmt) impossible(ctx context.Context, err error, args []any) bool {
	const domain = "23514" // the check of a domain failed
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 || e.Code[:2] != dataException && e.Code != domain || len(args) == 0 {
		return false
	}
	types, err := s.parameters(ctx)
	if err != nil {
		return false // what went wrong is what the caller had before
	}
	for i, t := range types {
		if i >= len(args) {
			break
		}
		_, err := s.db.reads.Exec(ctx, "SELECT $1::"+t+" IS NULL", args[i])
		if errors.As(err, &e) && len(e.Code) == 5 && (e.Code[:2] == dataException || e.Code == domain) {
			return true
		}
	}
	return false
}

const dataException = "22" // the class of errors of values

// parameters returns the types of the statement's parameters.
func (s *postgresStmt) parameters(ctx context.Context) ([]string, error) {
	if types := s.types.Load(); types != nil {
		return *types, nil
	}
	conn, err := s.db.reads.Acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	sd, err := conn.Conn().Prepare(ctx, "", s.text)
	if err != nil {
		return nil, err
	}
	types := make([]string, len(sd.ParamOIDs))
	for i, oid := range sd.ParamOIDs {
		if err := conn.Conn().QueryRow(ctx, "SELECT format_type($1::oid, NULL)", oid).Scan(&types[i]); err != nil {
			return nil, err
		}
	}
	s.types.Store(&types)
	return types, nil
}

// query runs it again if the connection was gone before the query was sent (the server was restarted), or if a table was
// altered behind the prepared statement.
func (s *postgresStmt) query(ctx context.Context, args []any) (cursor, error) {
	for try := 0; ; try++ {
		c, err := s.run(ctx, s.db.reads, args)
		if err == nil || try > 1 || !pgconn.SafeToRetry(err) && !s.db.retries(ctx, err) {
			return c, err
		}
	}
}

// altered reports that a table was altered behind a prepared statement, which the driver then forgets.
func altered(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && e.Code == "0A000" && strings.Contains(e.Message, "cached plan")
}

type querier interface {
	Query(ctx context.Context, text string, args ...any) (pgx.Rows, error)
}

func (s *postgresStmt) run(ctx context.Context, q querier, args []any) (cursor, error) {
	ctx, cancel := context.WithCancel(ctx)
	rows, err := q.Query(ctx, s.text, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
	if err != nil {
		cancel()
		return nil, explained(err)
	}
	c := &postgresCursor{rows: rows, cancel: cancel, of: s.like}
	// Before Next: if there is no row, that gives the connection back, and with it what describes the columns.
	var unknown unknownTypes
	if fields := rows.FieldDescriptions(); !sameColumns(s.like, fields) {
		unknown, c.of = s.db.types.unknown(fields), s.db.types.columns(fields)
	}
	c.more = rows.Next() // the server's errors come here
	err = rows.Err()
	switch {
	case err != nil:
		cancel()
		return nil, explained(err)
	case len(c.of) != len(s.like):
		err = errColumns(len(c.of), len(s.like))
	case len(unknown) > 0:
		err = unknown
	default:
		return c, nil
	}
	cancel()
	rows.Close()
	return nil, err
}

func sameColumns(cols []column, fields []pgconn.FieldDescription) bool {
	if len(cols) != len(fields) {
		return false
	}
	for i, f := range fields {
		if cols[i].oid != f.DataTypeOID || cols[i].name != f.Name {
			return false
		}
	}
	return true
}

type postgresCursor struct {
	rows   pgx.Rows
	cancel context.CancelFunc
	of     []column
	more   bool // a row has been read and not yet given
}

func (c *postgresCursor) cols() []column { return c.of }

func (c *postgresCursor) next(cells []any) bool {
	if !c.more && !c.rows.Next() {
		return false
	}
	c.more = false
	for i, raw := range c.rows.RawValues() {
		if cells[i] = nil; raw != nil {
			cells[i] = string(raw)
		}
	}
	return true
}

// end gives up what has not been read: to close a result means to read all of it.
func (c *postgresCursor) end() error {
	err := c.rows.Err()
	if c.more || c.rows.CommandTag().String() == "" {
		c.cancel()
	}
	c.rows.Close()
	if err == nil && c.rows.CommandTag().String() != "" {
		err = c.rows.Err()
	}
	c.cancel()
	return explained(err)
}
