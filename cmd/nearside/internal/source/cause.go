package source

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/go-sql-driver/mysql"
	"github.com/jackc/pgx/v5/pgconn"
	sqlite "modernc.org/sqlite"
)

// Kinds of failures that Cause tells from those of the database's own codes.
const (
	Refused    = "refused"    // the value that a client sent is wrong
	Connection = "connection" // the database does not answer
	Timeout    = "timeout"
)

// mysqlValues are the errors of values: NULL, duplicate, range, format, length, foreign keys, checks.
var mysqlValues = []uint16{1048, 1062, 1216, 1217, 1264, 1265, 1292, 1366, 1406, 1451, 1452, 3819, 4025}

// Cause says in a word why a load or a write failed: one of the kinds, or the code of the database. What a client has sent is
// no part of it.
func Cause(err error) string {
	var pg *pgconn.PgError
	var my *mysql.MySQLError
	var lite *sqlite.Error
	var connect *pgconn.ConnectError
	var n net.Error
	switch {
	case errors.Is(err, ErrBadValue):
		return Refused
	case errors.Is(err, context.DeadlineExceeded):
		return Timeout
	case errors.As(err, &pg):
		switch class := pg.Code[:min(2, len(pg.Code))]; class {
		case "22", "23": // data exceptions, integrity constraints
			return Refused
		case "08", "57", "53": // the connection, an operator's intervention, resources
			return Connection
		}
		return pg.Code
	case errors.As(err, &my):
		if slices.Contains(mysqlValues, my.Number) {
			return Refused
		}
		return strconv.Itoa(int(my.Number))
	case errors.As(err, &lite):
		const constraint, mismatch = 19, 20 // https://www.sqlite.org/rescode.html
		if code := lite.Code() & 0xff; code == constraint || code == mismatch {
			return Refused
		}
		return strconv.Itoa(lite.Code())
	case errors.As(err, &connect), errors.As(err, &n), errors.Is(err, driver.ErrBadConn), errors.Is(err, mysql.ErrInvalidConn), Away(err):
		return Connection
	}
	for errors.Unwrap(err) != nil {
		err = errors.Unwrap(err)
	}
	return fmt.Sprintf("%T", err)
}
