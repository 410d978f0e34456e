// Package resp is the wire format of the Redis protocol, versions 2 and 3, in both directions. It opens no connections.
//
//	parser.go   reads commands from the bytes of a client
//	inline.go   reads commands that are a line of words
//	command.go  writes commands
//	append.go   writes replies
//	stream.go   reads replies from a server
//	reply.go    takes a reply apart
package resp
