package source

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/go-sql-driver/mysql"

	"github.com/nearside/nearside"
)

var mysqlDialect = dialect{
	name: "MySQL", lex: lexis{backslashes: true, hashes: true, marks: true}, place: func(int) string { return "?" }, open: openMySQL, check: checkServerURL, away: mysqlAway,
}

// mysqlDB is a MySQL or MariaDB server.
type mysqlDB struct {
	cfg     *mysql.Config
	timeout time.Duration
	reads   *sql.DB

	mu     sync.Mutex // guards the rest
	writes *sql.DB
	flags  map[string]bool // columns that are TINYINT(1) wherever they stand
	docs   map[string]bool // columns that MariaDB calls JSON
}

func openMySQL(ctx context.Context, rawURL string, timeout time.Duration) (backend, error) {
	u, err := url.Parse(rawURL)
	if err != nil {
		return nil, checkServerURL(rawURL)
	}
	cfg := mysql.NewConfig()
	cfg.User, cfg.Net, cfg.Addr, cfg.DBName = u.User.Username(), "tcp", u.Host, strings.Trim(u.Path, "/")
	cfg.Passwd, _ = u.User.Password()
	if u.Port() == "" {
		cfg.Addr = net.JoinHostPort(u.Hostname(), "3306")
	}
	for name, values := range u.Query() {
		switch name {
		case "socket":
			cfg.Net, cfg.Addr = "unix", values[0]
		case "tls":
			cfg.TLSConfig = values[0]
		default:
			return nil, fmt.Errorf("unexpected parameter %.40q: expected socket or tls (true, skip-verify or preferred)", name)
		}
	}
	cfg.ClientFoundRows = true // an UPDATE to what the row holds already has found its row
	cfg.Timeout = 5 * time.Second
	cfg.Logger = &mysql.NopLogger{} // what it says, its errors say too
	d := &mysqlDB{cfg: cfg, timeout: timeout}
	if d.reads, err = d.pool(ctx, poolSize, "SET SESSION TRANSACTION READ ONLY"); err != nil {
		return nil, err
	}
	return d, nil
}

func (d *mysqlDB) pool(ctx context.Context, size int, setup ...string) (*sql.DB, error) {
	inner, err := mysql.NewConnector(d.cfg)
	if err != nil {
		return nil, err
	}
	seconds := strconv.FormatFloat((d.timeout + time.Second).Seconds(), 'f', -1, 64)
	db := sql.OpenDB(&mysqlConnector{inner, append([]string{"SET time_zone = '+00:00'"}, setup...), seconds})
	db.SetMaxOpenConns(size)
	db.SetMaxIdleConns(size)
	db.SetConnMaxIdleTime(poolIdle)
	db.SetConnMaxLifetime(poolLifetime)
	if err := db.PingContext(ctx); err != nil {
		db.Close()
		return nil, mysqlExplained(err)
	}
	return db, nil
}

// mysqlConnector sets up each session.
type mysqlConnector struct {
	driver.Connector
	setup   []string
	seconds string // that a statement may take
}

// mysqlDriver is what the driver's connections can do.
type mysqlDriver interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.NamedValueChecker
	driver.Pinger
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
}

// mysqlConn is a connection and how the server knows it. It is used by one goroutine at a time.
type mysqlConn struct {
	mysqlDriver
	session session
	asked   bool
}

func (m *mysqlConnector) Connect(ctx context.Context) (driver.Conn, error) {
	c, err := m.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	exec := c.(driver.ExecerContext)
	for _, s := range m.setup {
		if _, err := exec.ExecContext(ctx, s, nil); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	// MariaDB's name for it, in seconds, then MySQL's, in milliseconds.
	if _, err := exec.ExecContext(ctx, "SET SESSION max_statement_time = "+m.seconds, nil); err != nil {
		if _, err := exec.ExecContext(ctx, "SET SESSION max_execution_time = "+m.seconds+" * 1000", nil); err != nil {
			_ = c.Close()
			return nil, err
		}
	}
	if whole, ok := c.(mysqlDriver); ok {
		return &mysqlConn{mysqlDriver: whole}, nil
	}
	return c, nil
}

// mysqlExplained adds what to do. https://mariadb.com/kb/en/mariadb-error-code-reference/
func mysqlExplained(err error) error {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		switch e.Number {
		case 1045, 1698:
			return fmt.Errorf("%s: check the user and the password in the URL", e.Message)
		case 1044, 1049:
			return fmt.Errorf("%s: check the name behind the host in the URL, and the user's grants", e.Message)
		case 1142, 1143:
			return fmt.Errorf("%s: GRANT it to the user that the URL names", e.Message)
		case 1792:
			return fmt.Errorf("%s: a load may not write, nor lock rows (FOR UPDATE)", e.Message)
		case 1969, 3024:
			return fmt.Errorf("%s: %w", e.Message, context.DeadlineExceeded)
		}
	}
	var dial *net.OpError
	switch {
	case errors.As(err, &dial) && dial.Op == "dial":
		return fmt.Errorf("connect to MySQL: %w", err)
	case errors.Is(err, mysql.ErrInvalidConn), errors.Is(err, driver.ErrBadConn):
		return fmt.Errorf("MySQL has closed the connection: %w", err)
	}
	return err
}

func (d *mysqlDB) close() {
	d.mu.Lock() // a write may be opening its pool, which takes no longer than its own time
	writes := d.writes
	d.mu.Unlock()
	if writes != nil {
		writes.Close()
	}
	d.reads.Close()
}

// ofValues: not where the server or the connection has a limit or an end, or a table is missing.
// https://mariadb.com/kb/en/mariadb-error-code-reference/
func (d *mysqlDB) ofValues(err error) bool {
	var e *mysql.MySQLError
	if !errors.As(err, &e) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	switch class := string(e.SQLState[:2]); class {
	case "08", "28", "40", "42", "70":
		return false
	case "HY":
		return e.Number == incorrectValue || slices.Contains(mixed, e.Number)
	}
	return true
}

const incorrectValue = 1525 // Incorrect DATE value: 'y'

// mixed are the errors of a text that the character set of a column does not have: Illegal mix of collations.
var mixed = []uint16{1267, 1270, 1271}

func (d *mysqlDB) typed() bool { return false }

func (d *mysqlDB) spelled(text, column string) string {
	column = "q.`" + strings.ReplaceAll(column, "`", "``") + "`"
	return "SELECT 1 FROM (" + text + "\n) AS q GROUP BY " + column + " HAVING COUNT(DISTINCT CAST(" + column + " AS BINARY)) > 1 LIMIT 1"
}

func mysqlAway(err error) bool {
	var e *mysql.MySQLError
	if errors.As(err, &e) {
		return e.Number == 1040 // too many connections
	}
	var n net.Error
	return errors.As(err, &n) || errors.Is(err, driver.ErrBadConn) || errors.Is(err, mysql.ErrInvalidConn)
}

func (d *mysqlDB) columns(ctx context.Context, text string, n int) ([]column, error) {
	if err := d.learn(ctx); err != nil {
		return nil, mysqlExplained(err)
	}
	alone := func() error {
		st, err := d.reads.PrepareContext(ctx, text)
		if err == nil {
			st.Close()
		}
		return err
	}
	cols, err := describe(ctx, d.reads, text, n, alone, d.kinds)
	return cols, mysqlExplained(err)
}

// learn asks which columns are booleans and documents, which the protocol does not tell: a BOOLEAN is a TINYINT(1), and
// MariaDB's JSON a text with a constraint. What has one name in several tables must be the same in all of them.
func (d *mysqlDB) learn(ctx context.Context) error {
	flags, docs := map[string]bool{}, map[string]bool{}
	rows, err := d.reads.QueryContext(ctx, "SELECT lower(column_name), min(column_type = 'tinyint(1)') FROM information_schema.columns "+
		"WHERE table_schema = database() AND data_type = 'tinyint' GROUP BY 1")
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		var name string
		var flag bool
		if err := rows.Scan(&name, &flag); err != nil {
			return err
		}
		flags[name] = flag
	}
	if err := rows.Err(); err != nil {
		return err
	}
	checks, err := d.reads.QueryContext(ctx, "SELECT lower(c.column_name), min(k.check_clause IS NOT NULL) FROM information_schema.columns c "+
		"LEFT JOIN information_schema.check_constraints k ON k.constraint_schema = c.table_schema AND k.table_name = c.table_name "+
		"AND lower(k.check_clause) = concat('json_valid(`', lower(c.column_name), '`)') "+
		"WHERE c.table_schema = database() AND c.data_type IN ('longtext', 'mediumtext', 'text', 'tinytext', 'varchar', 'char') "+
		"AND c.table_name NOT IN (SELECT table_name FROM information_schema.views WHERE table_schema = database()) GROUP BY 1")
	if err == nil { // old servers have no such table, and that of MySQL does not say which table: its JSON is a type
		defer checks.Close()
		for checks.Next() {
			var name string
			var doc bool
			if err := checks.Scan(&name, &doc); err != nil {
				return err
			}
			docs[name] = doc
		}
		if err := checks.Err(); err != nil {
			return err
		}
	}
	d.mu.Lock()
	d.flags, d.docs = flags, docs
	d.mu.Unlock()
	return nil
}

func (d *mysqlDB) kinds(rows *sql.Rows) ([]column, error) {
	types, err := rows.ColumnTypes()
	d.mu.Lock()
	defer d.mu.Unlock()
	cols := make([]column, len(types))
	for i, t := range types {
		name := strings.ToLower(t.Name())
		k := mysqlKind(t.DatabaseTypeName())
		switch {
		case k == number && t.DatabaseTypeName() == "TINYINT" && d.flags[name]:
			k = flag
		case k == text && d.docs[name]:
			k = document
		}
		cols[i] = newColumn(t.Name(), k)
		cols[i].whole = k == number && t.DatabaseTypeName() != "DECIMAL"
		cols[i].integer = cols[i].whole && t.DatabaseTypeName() != "YEAR"
	}
	return cols, err
}

// mysqlKind is what a type of the server holds, by the driver's names.
func mysqlKind(t string) kind {
	switch t = strings.TrimPrefix(t, "UNSIGNED "); t {
	case "TINYINT", "SMALLINT", "MEDIUMINT", "INT", "BIGINT", "YEAR", "DECIMAL":
		return number
	case "FLOAT":
		return float32s
	case "DOUBLE":
		return float64s
	case "BLOB", "TINYBLOB", "MEDIUMBLOB", "LONGBLOB", "BINARY", "VARBINARY", "BIT", "GEOMETRY":
		return binary
	case "DATE":
		return date
	case "DATETIME", "TIME":
		return moment
	case "TIMESTAMP":
		return instant
	case "JSON":
		return document
	}
	return text
}

func (d *mysqlDB) params(context.Context, string) ([]string, error) { return nil, nil }

func (d *mysqlDB) prepare(ctx context.Context, text string, cols []column) (stmt, error) {
	st, err := d.reads.PrepareContext(ctx, text)
	if err != nil {
		return nil, mysqlExplained(err)
	}
	return mysqlStmt{&sqlStmt{Stmt: st, text: text, like: cols, kinds: d.kinds}}, nil
}

type mysqlStmt struct{ *sqlStmt }

// impossible: a text that a column's character set does not have cannot be compared with it. What would be wrong with the
// statement itself was found when it was prepared. MySQL, unlike MariaDB, also refuses a text that is no date where it is compared
// with one; it reads parameters alone so strictly, and what stands in a column is a warning.
func (s mysqlStmt) impossible(_ context.Context, err error, args []any) bool {
	var e *mysql.MySQLError
	if !errors.As(err, &e) || len(args) == 0 {
		return false
	}
	return slices.Contains(mixed, e.Number) || e.Number == incorrectValue && slices.ContainsFunc(args, func(a any) bool {
		return strings.HasSuffix(e.Message, fmt.Sprintf("value: '%v'", a))
	})
}

func (s mysqlStmt) query(ctx context.Context, args []any) (cursor, error) {
	c, err := s.sqlStmt.query(ctx, args)
	if err != nil {
		return nil, mysqlExplained(err)
	}
	return mysqlCursor{c}, nil
}

// mysqlCursor tells text from bytes, which the driver gives alike, and gives timestamps the one form of all databases.
type mysqlCursor struct{ cursor }

func (c mysqlCursor) next(cells []any) bool {
	if !c.cursor.next(cells) {
		return false
	}
	for i, col := range c.cols() {
		if b, ok := cells[i].([]byte); ok && col.kind != binary {
			v := string(b)
			if col.kind == moment && strings.Contains(v, ".") { // DATETIME(6) shows six digits, whatever they are
				v = strings.TrimSuffix(strings.TrimRight(v, "0"), ".")
			}
			cells[i] = v
		}
	}
	return true
}

func (c mysqlCursor) end() error { return mysqlExplained(c.cursor.end()) }

func (d *mysqlDB) writer(ctx context.Context) (*sql.DB, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.writes == nil {
		// A number that a column has no room for must be an error, and not the largest one that it has.
		db, err := d.pool(ctx, poolSize/2, "SET SESSION sql_mode = CONCAT(@@sql_mode, ',STRICT_ALL_TABLES')")
		if err != nil {
			return nil, err
		}
		d.writes = db
	}
	return d.writes, nil
}

// checkWrite has the statement explained: that checks the user's rights too.
func (d *mysqlDB) checkWrite(ctx context.Context, text string, n int) error {
	db, err := d.writer(ctx)
	if err != nil {
		return err
	}
	rows, err := db.QueryContext(ctx, "EXPLAIN "+text, make([]any, n)...)
	if err != nil {
		return mysqlExplained(err)
	}
	rows.Close()
	return nil
}

func (d *mysqlDB) write(ctx context.Context, text string, args []any, query stmt, queryArgs []any, read func(cursor) error) error {
	db, err := d.writer(ctx)
	if err != nil {
		return nearside.NotCommitted(err)
	}
	conn, err := db.Conn(ctx)
	if err != nil {
		return nearside.NotCommitted(mysqlExplained(err))
	}
	c := &commit{answered: mysqlAnswered}
	if s := sessionOf(ctx, conn); s.id != 0 {
		c.ask = func(ctx context.Context) error { return d.ask(ctx, s) }
	}
	err = transact(ctx, conn, c, text, args, query.(mysqlStmt).sqlStmt, queryArgs, func(c cursor) error { return read(mysqlCursor{c}) })
	return mysqlExplained(err)
}

// mysqlAnswered reports whether an error of COMMIT is an answer to it. A thread that was stopped may have committed.
func mysqlAnswered(err error) bool {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		return errors.Is(err, sql.ErrTxDone) // COMMIT was not sent
	}
	switch e.Number {
	case 1053, 1317, 1927, 1969, 3024: // shutdown, interrupted, killed, and took too long: of MariaDB, of MySQL
		return false
	}
	return true
}

// session is how a server knows one of our connections: while it has a thread of this id and this client, a COMMIT may be on its
// way to it.
type session struct {
	id     int64 // zero: unknown
	client string
	server string
}

const thisServer = "concat_ws('/', @@hostname, @@port, @@server_id)"

// sessionOf learns, once for each connection, how the server knows it. Where a proxy stands before the server, the id may be one
// that the server has not: then it is unknown.
func sessionOf(ctx context.Context, conn *sql.Conn) (s session) {
	var of *mysqlConn
	_ = conn.Raw(func(c any) error { of, _ = c.(*mysqlConn); return nil })
	if of == nil {
		return session{}
	}
	if !of.asked {
		row := conn.QueryRowContext(ctx, "SELECT id, host, "+thisServer+" FROM information_schema.processlist WHERE id = connection_id()")
		err := row.Scan(&s.id, &s.client, &s.server)
		if err != nil {
			s = session{}
		}
		of.session, of.asked = s, err == nil || errors.Is(err, sql.ErrNoRows)
	}
	return of.session
}

// ask returns nil if the server has no thread of a session any more: then its transaction is over, committed or rolled back. One
// that sleeps is no end, since COMMIT may still be on its way to it.
func (d *mysqlDB) ask(ctx context.Context, s session) error {
	var server string
	var threads int
	err := d.reads.QueryRowContext(ctx, "SELECT "+thisServer+", (SELECT count(*) FROM information_schema.processlist WHERE id = ? AND host = ?)", s.id, s.client).
		Scan(&server, &threads)
	switch {
	case err != nil:
		return mysqlExplained(err)
	case server != s.server:
		return errNobodyKnows
	case threads > 0:
		return fmt.Errorf("the server still has the thread %d", s.id)
	}
	return nil
}

func (d *mysqlDB) bind(c *column, v any) (any, error) {
	switch v := v.(type) {
	case json.Number:
		return v.String(), nil
	case string:
		switch c.kind {
		case binary:
			return base64.StdEncoding.DecodeString(v)
		case instant:
			if t, err := time.Parse(time.RFC3339Nano, v); err == nil {
				return t.UTC().Format("2006-01-02 15:04:05.999999"), nil
			}
		}
	}
	return v, nil
}
