// Package respserver serves clients of the Redis protocol: it accepts connections, reads commands, and has a Handler answer
// them. The wire format is that of package resp.
//
// # Turns
//
// Each connection has a goroutine, which holds no buffers while it waits for input. When input arrives it takes a turn (buffers
// from a pool), reads once, and answers every complete command. For a GET it asks the Handler's Get. If that has no answer, the
// reply is left as a gap, and one GetMany fills all gaps. Any other command runs alone, after the gaps before it are filled. So
// reads between two other commands run together, which their client cannot observe, and a client reads its own writes. One write
// sends the replies. The replies before a slow GetMany are sent early. An unfinished command is kept for the next turn.
//
// # Slow readers
//
// Bytes that the socket does not accept go to a list, and a goroutine writes them as long as there are any. The connection goes
// on reading until the list has MaxOutput bytes; then its commands wait. A reader that accepts nothing for WriteTimeout is
// disconnected. All lists and all unfinished commands share a Budget; above it the connection that holds most is closed.
//
// # Closing
//
// The goroutine of a connection finishes it: it sends the replies, then the end of the stream, and then discards input for a
// moment, because the kernel drops undelivered replies if input is left unread. Any goroutine may kill a connection instead,
// which closes it at once. Shutdown wakes the connections that wait for input, and they finish.
//
// # Locks
//
// Server.mu (the set of connections) and head.mu are taken before Conn.mu (the unsent output). No handler is called under
// either, and nothing under them waits for a client.
//
// # Files
//
//	handler.go   the interface that answers commands
//	server.go    accept, stats, shutdown, sweeper, budget
//	conn.go      one client and its input
//	turn.go      the commands of one read, and the order of their replies
//	head.go      the replies before a slow batch
//	overflow.go  output, and what a slow reader has not accepted
//	hangup.go    clients that hang up during a call
//	wire.go, io_linux.go, io_other.go   reading and writing the socket
package respserver
