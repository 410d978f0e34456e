package source

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
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
	types   postgresTypes

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

const readOnly = "25006" // read_only_sql_transaction

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
		case readOnly:
			return fmt.Errorf("%s: a load may not write, nor lock rows (FOR UPDATE)", e.Message)
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
