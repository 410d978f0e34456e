package resp

import (
	"errors"
	"unsafe"
)

// Limits bounds what one command may ask the server to keep.
type Limits struct {
	Bulk    int // bytes of one argument
	Args    int // arguments, the name among them
	Command int // bytes of the whole command as sent
}

// The limits of a client before and after it has authenticated.
var (
	PreAuth = Limits{Bulk: 16 << 10, Args: 10, Command: 64 << 10}
	Normal  = Limits{Bulk: 16 << 20, Args: 1 << 20, Command: 64 << 20}
)

// The ways to break the protocol. The texts go to the client.
var (
	errStart   = errors.New("Protocol error: expected '*' or an inline command")
	errHTTP    = errors.New("Protocol error: found an HTTP request, this port speaks the Redis protocol")
	errLine    = errors.New("Protocol error: too big inline request")
	errQuotes  = errors.New("Protocol error: quotes are not supported in an inline command: send an array")
	errArgs    = errors.New("Protocol error: invalid multibulk length")
	errDollar  = errors.New("Protocol error: expected '$'")
	errBulk    = errors.New("Protocol error: invalid bulk length")
	errEnd     = errors.New("Protocol error: expected CRLF after an argument")
	errCommand = errors.New("Protocol error: command too large")
)

// A Parser reads commands as clients send them: arrays of bulk strings, each in its one spelling, and the inline commands of
// health checks and of people at a terminal (inline.go). It does no I/O and keeps no bytes.
//
// Lim must be set before the first Next; otherwise the zero Parser is ready.
type Parser struct {
	Args [][]byte // of the command just read: slices of the bytes given to Next, valid as long as those
	Lim  *Limits  // may be exchanged between two commands

	// The place in an unfinished command. All offsets count from its first byte, since the bytes may move until the rest
	// arrives. To begin again from the front each time would be quadratic for a long command in small pieces.
	line  int    // bytes of an unfinished inline command, none of which ends it
	open  bool   // the header has been read
	left  int    // arguments still to come
	bulk  int    // length of the argument at pos, or -1 if pos is at its '$'
	pos   int    // first byte not yet understood
	spans []span // of the arguments read
}

type span struct{ from, to int }

// maxKept is how many entries of a table Reset keeps.
const maxKept = 1 << 10

// Next reads one command from the front of b. With n > 0 it has read n bytes and Args holds the command; `*0`, `*-1` and an
// empty line are commands of no arguments. With n == 0 the command is unfinished: call again when there are at least need bytes, beginning with
// the same ones. After an error nothing more can be read.
func (p *Parser) Next(b []byte) (n, need int, err error) {
	if !p.open {
		if len(b) == 0 {
			return 0, 1, nil
		}
		if b[0] != '*' {
			return p.inline(b)
		}
		if len(b) > 1 && b[1] == '-' {
			return p.null(b)
		}
		args, at := length(b, 1, p.Lim.Args)
		if at < 0 {
			return 0, 0, errArgs
		}
		if at == 0 {
			return 0, len(b) + 1, nil
		}
		p.open, p.left, p.bulk, p.pos, p.spans = true, args, -1, at, p.spans[:0]
	}
	for p.left > 0 {
		if p.bulk < 0 {
			if p.pos >= len(b) {
				return 0, p.pos + 1, nil
			}
			if b[p.pos] != '$' {
				return 0, 0, errDollar
			}
			size, at := length(b, p.pos+1, p.Lim.Bulk)
			if at < 0 {
				return 0, 0, errBulk
			}
			if at == 0 {
				return 0, len(b) + 1, nil
			}
			if at+size+2 > p.Lim.Command {
				return 0, 0, errCommand
			}
			p.bulk, p.pos = size, at
		}
		end := p.pos + p.bulk
		if len(b) < end+2 {
			return 0, end + 2, nil
		}
		if b[end] != '\r' || b[end+1] != '\n' {
			return 0, 0, errEnd
		}
		p.spans = append(p.spans, span{p.pos, end})
		p.left, p.bulk, p.pos = p.left-1, -1, end+2
	}
	p.open = false
	p.Args = p.Args[:0]
	for _, s := range p.spans {
		p.Args = append(p.Args, b[s.from:s.to:s.to])
	}
	return p.pos, 0, nil
}

// Size returns the bytes of the tables.
func (p *Parser) Size() int64 {
	return int64(cap(p.spans))*int64(unsafe.Sizeof(span{})) + int64(cap(p.Args))*int64(unsafe.Sizeof([]byte(nil)))
}

// Reset makes the parser ready for another connection: it drops the command that an error has cut short, tables that a
// long command has grown, and references to bytes that somebody else will use again.
func (p *Parser) Reset() {
	p.open, p.line = false, 0
	if cap(p.Args) > maxKept || cap(p.spans) > maxKept {
		p.Args, p.spans = nil, nil
		return
	}
	clear(p.Args[:cap(p.Args)])
	p.Args = p.Args[:0]
}

// null reads a null array, `*-1`.
func (p *Parser) null(b []byte) (n, need int, err error) {
	const text = "*-1" + crlf
	if m := min(len(b), len(text)); string(b[:m]) != text[:m] {
		return 0, 0, errArgs
	} else if m < len(text) {
		return 0, len(b) + 1, nil
	}
	p.Args = p.Args[:0]
	return len(text), 0, nil
}

// length reads digits and CRLF at b[at:] and returns the number and the offset behind it: 0 if bytes are missing, -1 if this
// is no number from 0 to most in its shortest spelling. It refuses at the first digit that is too much.
func length(b []byte, at, most int) (n, next int) {
	for i := at; i < len(b); i++ {
		d := b[i] - '0'
		if d > 9 {
			if b[i] != '\r' || i == at {
				return 0, -1
			}
			if i+1 == len(b) {
				return 0, 0
			}
			if b[i+1] != '\n' {
				return 0, -1
			}
			return n, i + 2
		}
		if n == 0 && i > at {
			return 0, -1
		}
		if n = n*10 + int(d); n > most {
			return 0, -1
		}
	}
	return 0, 0
}
