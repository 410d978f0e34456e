package source

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// backend is what each database does in its own way: sqlite.go, mysql.go, postgres.go and its siblings.
type backend interface {
	// columns learns the columns of a query with n parameters, without running it. A statement that is not one query which only
	// reads is refused, with an error that speaks of the statement as it is.
	columns(ctx context.Context, text string, n int) ([]column, error)
	// params tells what the n parameters of a query are compared with, "int" or "uuid", or "" for all else. It is nil for a
	// database that is not typed.
	params(ctx context.Context, text string) ([]string, error)
	// typed reports whether a parameter has the type of what it is compared with, so that both are compared by the rules of
	// that type.
	typed() bool
	// spelled returns the query that has a row if values of a column of a query are equal for the database and differ in
	// their text. It is empty if the database is not worth asking, since it runs in this process.
	spelled(text, column string) string
	// prepare makes a query that can be run many times, also after the database was restarted.
	prepare(ctx context.Context, text string, cols []column) (stmt, error)
	// checkWrite has a statement with n parameters checked, and that it may be run, without running it.
	checkWrite(ctx context.Context, text string, n int) error
	// write runs the statement and then the query in one transaction, whose rows it gives to read. It rolls back if the
	// statement changed no row, which is ErrNotFound, or if read fails. Its errors say what is known of the outcome (commit.go).
	write(ctx context.Context, text string, args []any, query stmt, queryArgs []any, read func(cursor) error) error
	// bind is the form in which a value from JSON is a parameter of a statement that writes the column.
	bind(c *column, v any) (any, error)
	// ofValues reports whether an error of a query may be due to one of its parameters or rows, so that it says nothing about
	// others.
	ofValues(err error) bool
	close()
}

// stmt is a prepared query.
type stmt interface {
	query(ctx context.Context, args []any) (cursor, error)
	// impossible reports whether an error of the query came since one of args cannot be a value of its parameter's type:
	// then there is no such row. Any other error is one of the data.
	impossible(ctx context.Context, err error, args []any) bool
}

// cursor is the rows of a query.
type cursor interface {
	// cols returns the columns of this result: those that were learned, or others if the table was altered.
	cols() []column
	// next reads a row into cells, one for each column.
	next(cells []any) bool
	// end closes the cursor and returns what went wrong.
	end() error
}

// dialect is what must be known of a database before there is one.
type dialect struct {
	name  string
	lex   lexis
	place func(n int) string                                                               // the n-th parameter, from 1
	open  func(ctx context.Context, rawURL string, timeout time.Duration) (backend, error) // timeout is of each statement
	check func(rawURL string) error
	away  func(err error) bool // an error of open says that the database does not answer yet, or is locked: waiting may help
}

var dialects = map[string]*dialect{
	"sqlite":     &sqliteDialect,
	"postgres":   &postgresDialect,
	"postgresql": &postgresDialect,
	"mysql":      &mysqlDialect,
}

const urlForms = "expected sqlite:path, postgres://user:password@host/database or mysql://user:password@host/database"

// dialectOf finds the database of a URL.
func dialectOf(rawURL string) (*dialect, error) {
	scheme, _, ok := strings.Cut(rawURL, ":")
	d := dialects[scheme]
	switch {
	case !ok:
		return nil, errors.New(urlForms)
	case d == nil:
		return nil, fmt.Errorf("unknown scheme %.20q, %s", scheme, urlForms)
	}
	return d, nil
}

// CheckURL reports what is wrong with a database's URL, without opening it. Its errors show no password.
func CheckURL(rawURL string) error {
	d, err := dialectOf(rawURL)
	if err != nil {
		return err
	}
	return d.check(rawURL)
}

// checkServerURL checks scheme://user:password@host[:port]/database.
func checkServerURL(rawURL string) error {
	u, err := url.Parse(rawURL)
	switch {
	case err != nil: // its text would show the password
		return errors.New("it cannot be parsed; special characters of a password are written as %XX; " + urlForms)
	case !portsOf(u.Host):
		return errors.New("its port is not from 1 to 65535; " + urlForms)
	case strings.Trim(u.Path, "/") == "":
		return errors.New("it names no database; " + urlForms)
	}
	return nil
}

// portsOf reports whether host:port,host:port... has ports that there are.
func portsOf(hosts string) bool {
	for host := range strings.SplitSeq(hosts, ",") {
		if port := (&url.URL{Host: host}).Port(); port != "" {
			if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
				return false
			}
		}
	}
	return true
}
