package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/nearside/nearside"

	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

// A kind of failure is logged once a minute for each cache, however often it comes and whatever the text of the error is.
func TestJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		j := &journal{logger: slog.New(slog.NewTextHandler(&out, nil))}
		lines := func() int { return strings.Count(out.String(), "\n") }
		for i := range 100 {
			j.failed("load", "user", fmt.Sprint("user:", i), fmt.Errorf("load %d: %w", i, &pgconn.PgError{Code: "42P01", Message: "no such table"}))
		}
		if lines() != 1 || !strings.Contains(out.String(), "key=user:0") {
			t.Errorf("100 of one kind:\n%s", out.String())
		}
		j.failed("write", "user", "user:1", &pgconn.PgError{Code: "42P01"})
		j.failed("load", "shop", "shop:1", &pgconn.PgError{Code: "42P01"})
		j.failed("load", "user", "user:1", fmt.Errorf("user:1: %w", nearside.ErrNotFound))
		j.failed("load", "user", "user:1", context.Canceled)
		if lines() != 3 {
			t.Errorf("another operation, another cache, and two that are no failures:\n%s", out.String())
		}
		time.Sleep(time.Minute)
		j.failed("load", "user", "user:7", &pgconn.PgError{Code: "42P01"})
		if lines() != 4 || !strings.Contains(out.String(), "since_the_last=99 cache=user key=user:7") {
			t.Errorf("a minute later:\n%s", out.String())
		}

		// What clients do wrong takes no line from others, nor do many causes from a database that is away.
		out.Reset()
		for i := range 300 {
			j.failed("write", "user", "user:1", fmt.Errorf("%w: hunter2-%d", source.ErrBadValue, i))
			j.failed("write", "user", "user:1", &pgconn.PgError{Code: "22007", Message: fmt.Sprint("hunter2-", i)})
			j.failed("write", "user", "user:1", &pgconn.PgError{Code: "23505", Message: fmt.Sprint("hunter2-", i)})
		}
		if lines() != 0 {
			t.Errorf("mistakes of clients:\n%s", out.String())
		}
		for i := range 1000 {
			j.failed("load", fmt.Sprint("cache", i), "k", &pgconn.PgError{Code: "42P01"})
		}
		if n := lines(); n > 70 {
			t.Errorf("%d lines", n)
		}
		out.Reset()
		j.failed("load", "user", "user:1", &net.OpError{Op: "dial", Err: io.EOF})
		if lines() != 1 {
			t.Error("a database that is away is not logged")
		}

		// While the store is away each write is the same news.
		out.Reset()
		for i := range 16 {
			j.failed("write", "user", fmt.Sprint("user:", i), fmt.Errorf("%w: user:%d: gone", nearside.ErrUnavailable, i))
		}
		if lines() != 1 || !strings.Contains(out.String(), "reached the database") {
			t.Errorf("writes without the store:\n%s", out.String())
		}
		out.Reset()
		j.failed("load", "user", "user:1", errors.New(strings.Repeat("x", 1<<20)))
		if len(out.String()) > 1000 {
			t.Errorf("a line of %d bytes", len(out.String()))
		}
	})
}
