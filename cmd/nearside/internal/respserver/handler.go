package respserver

import "context"

// A Handler answers commands. It is called from many goroutines, but for one connection from one at a time and in the order
// of the commands. Keys and arguments are valid until the call returns; what is kept must be copied.
//
// The context ends when the connection is given up (its reader is stuck, or memory is short) and when Shutdown runs out
// of time. A client that hangs up is noticed at the next read or write, and during a call by Conn.Gone.
type Handler interface {
	// Get appends the reply to `GET key` to out and reports true, if it can be given without waiting for anybody.
	// Otherwise the key joins the batch of this turn.
	Get(c *Conn, out, key []byte) ([]byte, bool)

	// GetMany answers a batch of `GET`s: one call of a method of r for each key, in the order of keys.
	GetMany(ctx context.Context, c *Conn, keys [][]byte, r *Replies)

	// Do runs any other command and appends its reply to out. All commands before it have been answered; none behind it
	// has begun. args is never empty. A client that has not authenticated comes here with whatever it sends, GET too.
	Do(ctx context.Context, c *Conn, out []byte, args [][]byte) []byte
}
