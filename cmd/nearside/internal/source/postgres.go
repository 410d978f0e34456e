package source

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgtype"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nearside/nearside/internal/engine"
)

var postgresDialect = dialect{
	name: "PostgreSQL", lex: lexis{dollars: true, nested: true}, open: openPostgres, check: checkServerURL, away: postgresAway,
	place: func(n int) string { return "$" + strconv.Itoa(n) },
}

const (
	poolSize     = 16 // connections to a server for loads; writes have half as many
	poolIdle     = 5 * time.Minute
	poolLifetime = 30 * time.Minute
)

// postgresDB speaks to the server in its text form, in which every value is exact and has one form for all clients.
type postgresDB struct {
	url     string
	timeout time.Duration
	reads   *pgxpool.Pool

	living context.Context // ends when it is closed: until then a COMMIT that was sent goes on
	end    context.CancelFunc

	mu     sync.Mutex // guards writes
	writes *pgxpool.Pool
}

func openPostgres(ctx context.Context, rawURL string, timeout time.Duration) (backend, error) {
	d := &postgresDB{url: rawURL, timeout: timeout}
	d.living, d.end = context.WithCancel(context.Background())
	var err error
	if d.reads, err = d.pool(ctx, poolSize, "on"); err != nil {
		return nil, err
	}
	return d, nil
}

// pool connects. What the text form depends on is set for each session.
func (d *postgresDB) pool(ctx context.Context, size int32, readOnly string) (*pgxpool.Pool, error) {
	cfg, err := pgxpool.ParseConfig(d.url)
	if err != nil { // its text may show the URL
		return nil, errors.New("the URL of PostgreSQL cannot be parsed: " + urlForms)
	}
	cfg.MaxConns, cfg.MaxConnIdleTime, cfg.MaxConnLifetime = size, poolIdle, poolLifetime
	for name, value := range map[string]string{
		"application_name": "nearside", "timezone": "UTC", "datestyle": "ISO", "intervalstyle": "postgres", "bytea_output": "hex",
		"extra_float_digits": "1", "client_encoding": "UTF8", "default_transaction_read_only": readOnly,
		// The context ends a load first; this ends what the server still does for a connection that is gone.
		"statement_timeout": strconv.FormatInt((d.timeout + time.Second).Milliseconds(), 10),
	} {
		cfg.ConnConfig.RuntimeParams[name] = value
	}
	cfg.BeforeConnect = quietly
	pool, err := pgxpool.NewWithConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	if err := pool.Ping(ctx); err != nil {
		pool.Close()
		return nil, explained(err)
	}
	return pool, nil
}

// explained adds what to do to the errors of the server that need it.
func explained(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		switch e.Code {
		case "28P01", "28000":
			return fmt.Errorf("%s: check the user and the password in the URL", e.Message)
		case "3D000":
			return fmt.Errorf("%s: check the name behind the host in the URL", e.Message)
		case "42501":
			return fmt.Errorf("%s: GRANT it to the role that the URL names", e.Message)
		case "57014":
			return fmt.Errorf("%s: %w", e.Message, context.DeadlineExceeded)
		case "25006":
			return fmt.Errorf("%s: a load may not write", e.Message)
		}
	}
	var c *pgconn.ConnectError
	if errors.As(err, &c) {
		return connectError{c}
	}
	return err
}

func (d *postgresDB) close() {
	d.end()
	d.mu.Lock() // a write may be opening its pool, which takes no longer than its own time
	writes := d.writes
	d.mu.Unlock()
	if writes != nil {
		writes.Close()
	}
	d.reads.Close()
}

// ofValues: not where the server has no room or ends, or where the statement itself is refused:
// https://www.postgresql.org/docs/current/errcodes-appendix.html
func (d *postgresDB) ofValues(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && len(e.Code) == 5 && !slices.Contains([]string{"08", "25", "28", "3D", "40", "42", "53", "57", "58", "XX"}, e.Code[:2])
}

func (d *postgresDB) typed() bool { return true }

func (d *postgresDB) spelled(text, column string) string {
	column = `q."` + strings.ReplaceAll(column, `"`, `""`) + `"`
	return "SELECT 1 FROM (" + text + "\n) AS q GROUP BY " + column + " HAVING count(DISTINCT " + column + `::text COLLATE "C") > 1 LIMIT 1`
}

func postgresAway(err error) bool {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code == "57P03" || e.Code == "53300" // it is starting, or has no connection left
	}
	var c *pgconn.ConnectError
	return errors.As(err, &c) && !strings.Contains(err.Error(), noTLS)
}

const noTLS = "server refused TLS connection" // pgconn's words; to wait for it would be in vain

// connectError is one line where pgconn has one for each address and with and without TLS: the latest says why.
type connectError struct{ *pgconn.ConnectError }

func (e connectError) Unwrap() error { return e.ConnectError }

func (e connectError) Error() string {
	text := e.ConnectError.Error()
	if _, cause, ok := strings.Cut(text, "`: "); ok { // behind the user and the name of the database
		text = cause
	}
	lines := strings.Split(strings.TrimSpace(text), "\n")
	text = "connect to PostgreSQL: " + strings.TrimSpace(strings.TrimPrefix(lines[len(lines)-1], "hostname resolving error: "))
	if strings.HasSuffix(text, noTLS) {
		text += ": it has none, and sslmode in the URL asks for it"
	}
	return text
}

func (d *postgresDB) columns(ctx context.Context, text string, _ int) ([]column, error) {
	conn, err := d.reads.Acquire(ctx)
	if err != nil {
		return nil, explained(err)
	}
	defer conn.Release()
	// In brackets, so that nothing but a SELECT fits.
	sd, err := conn.Conn().Prepare(ctx, "", "SELECT * FROM ("+text+"\n) AS q")
	if err != nil {
		return nil, explained(err)
	}
	cols := postgresColumns(sd.Fields, conn.Conn().TypeMap())
	// Texts are compared byte by byte, unless somebody has made a collation for which that is not so. Servers before 12 have none.
	var folds bool
	if err := conn.Conn().QueryRow(ctx, "SELECT EXISTS (SELECT FROM pg_collation WHERE NOT collisdeterministic)").Scan(&folds); err != nil {
		folds = ctx.Err() != nil
	}
	for i, f := range sd.Fields {
		cols[i].bytes = !folds && (f.DataTypeOID == pgtype.TextOID || f.DataTypeOID == pgtype.VarcharOID)
	}
	return cols, named(cols)
}

func postgresColumns(fields []pgconn.FieldDescription, types *pgtype.Map) []column {
	cols := make([]column, len(fields))
	for i, f := range fields {
		c := newColumn(f.Name, postgresKind(f.DataTypeOID))
		if t, ok := types.TypeForOID(f.DataTypeOID); ok {
			if a, ok := t.Codec.(*pgtype.ArrayCodec); ok {
				c.kind, c.elem = array, postgresKind(a.ElementType.OID)
			}
		}
		switch f.DataTypeOID {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
			c.whole, c.integer = true, true
		}
		cols[i] = c
	}
	return cols
}

// postgresKind is what a type of the server holds. Whatever is not named is text: uuid, enums, time, interval, inet, ...
func postgresKind(oid uint32) kind {
	switch oid {
	case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID, pgtype.NumericOID, pgtype.OIDOID:
		return number
	case pgtype.Float4OID:
		return float32s
	case pgtype.Float8OID:
		return float64s
	case pgtype.BoolOID:
		return boolean
	case pgtype.ByteaOID:
		return hexed
	case pgtype.DateOID:
		return date
	case pgtype.TimestampOID, pgtype.TimestamptzOID:
		return moment
	case pgtype.JSONOID, pgtype.JSONBOID:
		return document
	}
	return text
}

func (d *postgresDB) params(ctx context.Context, text string) ([]string, error) {
	conn, err := d.reads.Acquire(ctx)
	if err != nil {
		return nil, explained(err)
	}
	defer conn.Release()
	sd, err := conn.Conn().Prepare(ctx, "", text)
	if err != nil {
		return nil, explained(err)
	}
	types := make([]string, len(sd.ParamOIDs))
	for i, oid := range sd.ParamOIDs {
		switch oid {
		case pgtype.Int2OID, pgtype.Int4OID, pgtype.Int8OID:
			types[i] = "int"
		case pgtype.UUIDOID:
			types[i] = "uuid"
		}
	}
	return types, nil
}

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
		if err == nil || try > 1 || !again(err) {
			return c, err
		}
	}
}

func again(err error) bool { return altered(err) || pgconn.SafeToRetry(err) }

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
	// Before Next: if there is no row that gives the connection back, and with it what describes the columns.
	if fields := rows.FieldDescriptions(); !sameColumns(s.like, fields) {
		c.of = postgresColumns(fields, rows.Conn().TypeMap())
	}
	c.more = rows.Next() // the server's errors come here
	if err := rows.Err(); err != nil {
		cancel()
		return nil, explained(err)
	}
	if len(c.of) != len(s.like) {
		cancel()
		rows.Close()
		return nil, errColumns(len(c.of), len(s.like))
	}
	return c, nil
}

func sameColumns(cols []column, fields []pgconn.FieldDescription) bool {
	if len(cols) != len(fields) {
		return false
	}
	for i, f := range fields {
		if cols[i].kind != array && cols[i].kind != postgresKind(f.DataTypeOID) || cols[i].name != f.Name {
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

func (d *postgresDB) writer(ctx context.Context) (*pgxpool.Pool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writes == nil {
		pool, err := d.pool(ctx, poolSize/2, "off")
		if err != nil {
			return nil, err
		}
		d.writes = pool
	}
	return d.writes, nil
}

// checkWrite has the statement explained: that checks the role's rights too.
func (d *postgresDB) checkWrite(ctx context.Context, text string, n int) error {
	pool, err := d.writer(ctx)
	if err == nil {
		_, err = pool.Exec(ctx, "EXPLAIN "+text, make([]any, n)...)
	}
	var e *pgconn.PgError
	verb, _, _ := strings.Cut(strings.ToUpper(strings.TrimSpace(text)), " ")
	if errors.As(err, &e) && e.Code == "42501" && slices.Contains([]string{"INSERT", "UPDATE", "DELETE", "MERGE"}, verb) { // the server does not say which right
		return fmt.Errorf("%s: GRANT %s on it, and SELECT, to the role that the URL names", e.Message, verb)
	}
	return explained(err)
}

// write tries again if a table was altered behind the statements: nothing has been committed then.
func (d *postgresDB) write(ctx context.Context, text string, args []any, query stmt, queryArgs []any, read func(cursor) error) error {
	pool, err := d.writer(ctx)
	if err != nil {
		return engine.Final(err)
	}
	for try := 0; ; try++ {
		err := d.transact(ctx, pool, text, args, query, queryArgs, read)
		if err == nil || try > 1 || !altered(err) {
			return err
		}
	}
}

func (d *postgresDB) transact(ctx context.Context, pool *pgxpool.Pool, text string, args []any, query stmt, queryArgs []any, read func(cursor) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return engine.Final(explained(err))
	}
	id, err := beginPostgres(ctx, conn.Conn())
	if err == nil {
		err = func() error {
			tag, err := conn.Exec(ctx, text, args...)
			if err != nil {
				return explained(err)
			}
			if tag.RowsAffected() == 0 {
				return errNoRow
			}
			cur, err := query.(*postgresStmt).run(ctx, conn.Conn(), queryArgs)
			if err != nil {
				return err
			}
			return read(cur)
		}()
	}
	if err == nil {
		err = ctx.Err()
	}
	if err != nil {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_, _ = conn.Exec(end, "rollback") // one that fails leaves a connection that is closed by Release
		conn.Release()
		return engine.Final(err)
	}
	c := &commit{answered: postgresAnswered}
	if id != "" {
		c.ask = func(ctx context.Context) error { return d.ask(ctx, id) }
	}
	return c.run(ctx, func() error {
		defer conn.Release()
		pg := conn.Conn().PgConn()
		sent := pg.CustomData()[committing].(*atomic.Bool)
		sent.Store(true)
		defer context.AfterFunc(d.living, func() { pg.Conn().Close() })() // the driver itself would wait for the server's last word
		tag, err := conn.Exec(context.WithoutCancel(ctx), "commit")
		if !conn.Conn().IsClosed() {
			sent.Store(false)
		}
		if err == nil && tag.String() != "COMMIT" {
			return errRolledBack
		}
		return err
	})
}

// committing names the flag of a connection that has sent COMMIT.
const committing = "committing"

var errCommits = errors.New("COMMIT was sent: it is not cancelled")

// quietly keeps the driver from cancelling a COMMIT. When it gives a connection up, it asks the server to cancel what runs there; a
// COMMIT that waits for a standby then stops to wait, and becomes visible without it.
func quietly(_ context.Context, cfg *pgx.ConnConfig) error {
	flag, dial, connected := new(atomic.Bool), cfg.DialFunc, cfg.AfterConnect
	cfg.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		if flag.Load() {
			return nil, errCommits
		}
		return dial(ctx, network, address)
	}
	cfg.AfterConnect = func(ctx context.Context, c *pgconn.PgConn) error {
		c.CustomData()[committing] = flag
		if connected != nil {
			return connected(ctx, c)
		}
		return nil
	}
	return nil
}

var errRolledBack = errors.New("the server has rolled the transaction back")

// postgresAnswered reports whether an error of COMMIT is an answer to it. A server that is stopped may commit after its last
// word: those are to be asked for.
func postgresAnswered(err error) bool {
	var e *pgconn.PgError
	if !errors.As(err, &e) || len(e.Code) != 5 {
		return errors.Is(err, errRolledBack)
	}
	return !slices.Contains([]string{"08", "57", "58", "XX"}, e.Code[:2]) && e.Code != "40003"
}

// beginPostgres begins a transaction and returns its id, by which another session can learn its outcome. Both take one round
// trip, and need nothing that a pooler does not pass on. A server without such ids returns "".
func beginPostgres(ctx context.Context, conn *pgx.Conn) (id string, err error) {
	read := "pg_current_xact_id()"
	if oldPostgres(conn) {
		read = "txid_current()"
	}
	results, err := conn.PgConn().Exec(ctx, "begin; select "+read+"::text").ReadAll()
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e) && e.Code == "42883": // undefined_function: a server that only speaks the protocol
		_, err = conn.Exec(ctx, "rollback")
		if err == nil {
			_, err = conn.Exec(ctx, "begin")
		}
		return "", explained(err)
	case err != nil:
		return "", explained(err)
	}
	if last := results[len(results)-1]; len(last.Rows) == 1 && len(last.Rows[0]) == 1 {
		id = string(last.Rows[0][0])
	}
	return id, nil
}

// oldPostgres reports whether the server is older than version 13, and has txid_status in place of pg_xact_status.
func oldPostgres(conn *pgx.Conn) bool {
	major, _, _ := strings.Cut(conn.PgConn().ParameterStatus("server_version"), ".")
	n, err := strconv.Atoi(major)
	return err == nil && n < 13
}

// ask returns nil if the transaction with this id is over, whether it was committed or not. A commit that waits for a standby is
// in progress. A server that has become the primary and does not know the id never had the commit, and will not have it.
func (d *postgresDB) ask(ctx context.Context, id string) error {
	conn, err := d.reads.Acquire(ctx)
	if err != nil {
		return explained(err)
	}
	defer conn.Release()
	status := "pg_xact_status($1::text::xid8)"
	if oldPostgres(conn.Conn()) {
		status = "txid_status($1::text::bigint)"
	}
	var state string
	err = conn.QueryRow(ctx, "SELECT CASE WHEN pg_is_in_recovery() THEN 'in recovery' ELSE coalesce("+status+", 'forgotten') END", id).Scan(&state)
	var e *pgconn.PgError
	switch {
	case errors.As(err, &e) && e.Code == "22023": // "transaction ID ... is in the future"
		return nil
	case err != nil:
		return explained(err)
	case state == "in progress", state == "in recovery":
		return fmt.Errorf("the transaction %s: %s", id, state)
	}
	return nil
}

// bind gives text, which the server reads as the column's type.
func (d *postgresDB) bind(c *column, v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return v.String(), nil
	case bool:
		return strconv.FormatBool(v), nil
	case string:
		if c.kind == hexed {
			data, err := base64.StdEncoding.DecodeString(v)
			return `\x` + hex.EncodeToString(data), err
		}
		return v, nil
	case []any:
		return nil, errors.New("arrays cannot be written")
	}
	return v, nil
}
