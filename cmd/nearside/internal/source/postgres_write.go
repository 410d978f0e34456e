package source

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/nearside/nearside"
)

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
		return nearside.NotCommitted(err)
	}
	for try := 0; ; try++ {
		err := d.transact(ctx, pool, text, args, query, queryArgs, read)
		if err == nil || try > 1 || !d.retries(ctx, err) {
			return err
		}
	}
}

func (d *postgresDB) transact(ctx context.Context, pool *pgxpool.Pool, text string, args []any, query stmt, queryArgs []any, read func(cursor) error) error {
	conn, err := pool.Acquire(ctx)
	if err != nil {
		return nearside.NotCommitted(explained(err))
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
		return nearside.NotCommitted(err)
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

// oldPostgres reports whether the server is older than version 13, and has txid_status instead of pg_xact_status.
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
