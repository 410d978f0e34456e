// Package resp is the Redis protocol as a server speaks it: a reader of commands, writers of replies, and the loop between.
//
// # A turn
//
// Each connection has a goroutine, which waits for input holding nothing. When input comes it takes a turn (buffers from
// a pool), reads once, and answers every complete command: a GET from the Handler's Get if it knows the answer, else it
// leaves a gap in the replies, and all gaps are filled by one GetMany. Any other command runs alone, behind the gaps
// before it. So the reads between two other commands run together, which their client cannot observe, and a client
// reads what it has written. One write sends the replies; those in front of a GetMany that takes long are sent before. What is unfinished is kept for the next turn.
//
// # A slow reader
//
// What the socket does not take goes to a list, which a goroutine writes for as long as there is one. Reading goes on
// meanwhile, up to MaxOutput; then the connection's commands wait. A reader who takes nothing for WriteTimeout is closed.
// All lists together, and all unfinished commands, have a Budget; beyond it the connection with the most is closed.
//
// # The end
//
// A connection is finished by its own goroutine: replies written, then the end of the stream, then what still comes in is
// read away for a moment, so that the kernel does not take back what it has not delivered. Or it is killed, by anybody and
// at once. Shutdown wakes those that wait for input, and they finish.
//
// # Locks
//
// Server.mu (which connections there are) and head.mu come before Conn.mu (what waits to be written). No handler is called under
// either, and nothing under them waits for a client.
//
// # Files
//
//	parser.go    commands from bytes; no I/O
//	inline.go    commands that are a line of words
//	append.go    replies to bytes
//	handler.go   who answers
//	server.go    who is connected: accept, stats, shutdown, sweeper, budget
//	conn.go      one client: its life, and its input
//	turn.go      the commands of one read and the order of their replies
//	head.go      the replies in front of a batch that takes long
//	overflow.go  the way out, and what a slow reader leaves behind
//	wire.go, io_linux.go, io_other.go   reaching the socket
package resp
