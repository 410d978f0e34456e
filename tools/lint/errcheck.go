package main

// unchecked lists the functions whose errors may be ignored, besides those that errcheck itself knows. For one call that is not
// listed, `_ =` says that its error is ignored on purpose.
var unchecked = []string{
	// The end of what is read, or of a connection: there is nothing left to do about it. Files are not listed: closing one that
	// was written may report that the writes failed.
	"(io.ReadCloser).Close",
	"(net.Conn).Close",
	"(net.Listener).Close",
	"(*net.conn).Close", // of *net.TCPConn and the like
	"(*database/sql.Conn).Close",
	"(*database/sql.DB).Close",
	"(*database/sql.Rows).Close",
	"(*database/sql.Stmt).Close",
	"(*database/sql.Tx).Rollback",

	// On a connection that fails, the read or write that follows reports it.
	"(net.Conn).SetDeadline",
	"(net.Conn).SetReadDeadline",
	"(*net/http.ResponseController).SetReadDeadline",
	"(*net/http.ResponseController).SetWriteDeadline",

	// Output for a person or a client who may have left.
	"fmt.Fprint",
	"fmt.Fprintf",
	"fmt.Fprintln",
	"(net/http.ResponseWriter).Write",

	// Clearing up.
	"os.RemoveAll",
	"(*os.Process).Kill",
	"(*os.Process).Signal",
}
