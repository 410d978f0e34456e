package conn

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"net"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// The client library trusts a server: it allocates what a length announces, and panics in a goroutine of its own at a reply that
// belongs to no command. One broken reply would end the process. So the framing of all replies is checked before the library
// sees them, and a broken one ends the connection. Payloads are skipped: the cost is some nanoseconds a reply.

// Limits of one reply.
const (
	longestString = 512 << 20 // bytes; Redis has no longer ones
	longestLine   = 1 << 20   // bytes of a status, an error or a number
	mostElements  = 1 << 24   // of all arrays in one reply
	deepest       = 32        // arrays in arrays
)

var (
	errFraming = errors.New("redis: a reply is not of the protocol")
	errExtra   = fmt.Errorf("%w: it belongs to no command", errFraming)
	errLength  = fmt.Errorf("%w: its length is out of range", errFraming)
	errPush    = fmt.Errorf("%w: it is of a subscription that nobody has made", errFraming)
	errPlace   = fmt.Errorf("%w: a push or an attribute stands where none may", errFraming)
	errWords   = fmt.Errorf("%w: a redirection names no node", errFraming)
	errEmpty   = fmt.Errorf("%w: it has too few elements", errFraming)
)

// checked is a connection whose replies are checked.
type checked struct {
	net.Conn
	commands framing // that were sent; of the writer
	replies  framing // of the reader
	sent     atomic.Int64
	seen     int64 // of sent, as the reader knows it
	broken   error // of the reader
	sender   sender
	gather   gatherer
	patience patience
	sentinel *sentinel // nil: the connection never leads to one
}

// check returns a connection whose Read fails at the first reply that is not of the protocol.
func check(nc net.Conn, o Config) net.Conn {
	c := &checked{Conn: nc, gather: gatherer{pause: o.Gather}, patience: patience{ran: o.Ran}}
	c.sender.plain.Store(math.MaxInt64)
	if o.Target.Mode == redisurl.Sentinels { // it may lead to one
		c.sentinel = &sentinel{}
		c.replies.empty = c.sentinel.mustNotBeEmpty
	}
	return c
}

func (c *checked) Write(b []byte) (int, error) {
	before := c.commands.messages
	if err := c.note(b); err != nil { // not written by the library: its replies cannot be counted
		return 0, err
	}
	if n := c.commands.messages - before; n != 0 {
		c.sent.Add(n)
	}
	n, err := c.Conn.Write(b)
	c.gather.afterWrite(c.sent.Load())
	return n, err
}

func (c *checked) Read(b []byte) (int, error) {
	if c.broken != nil {
		return 0, c.broken
	}
	if c.sentinel != nil && c.sentinel.reading {
		return c.readSentinel(b)
	}
	n, err := c.patience.read(c.Conn, b)
	if n == 0 {
		return n, err
	}
	if c.sentinel != nil && c.sentinel.known() { // a command has told so meanwhile
		c.startCollecting()
		if bad := c.collect(b[:n], err); bad != nil {
			return 0, c.fail(bad)
		}
		return c.readSentinel(b)
	}
	c.replies.hello, c.replies.plain = c.sender.hello.Load(), c.sender.plain.Load()
	bad := c.replies.next(b[:n])
	c.gather.answered.Store(c.replies.messages)
	if bad == nil && c.replies.messages > c.seen {
		c.seen = c.sent.Load()
		if c.sentinel != nil {
			c.seen = c.sentinel.before(c.seen)
		}
		if c.replies.messages > c.seen {
			bad = errExtra
		}
	}
	if bad != nil {
		return 0, c.fail(bad)
	}
	return n, err
}

// SetDeadline implements net.Conn. A read counts only time in which this process ran.
func (c *checked) SetDeadline(t time.Time) error {
	c.patience.begin(t, time.Now())
	return c.Conn.SetDeadline(t)
}

// fail ends the connection.
func (c *checked) fail(bad error) error {
	c.broken = fmt.Errorf("%s: %w", c.RemoteAddr(), bad)
	c.Conn.Close()
	return c.broken
}

// CloseWrite ends what is sent, where the connection can.
func (c *checked) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}

// framing is the place in a stream of messages of the protocol, version 2 or 3. It is fed the stream in pieces of any length.
type framing struct {
	messages int64 // that were complete, without pushes

	state      state
	kind       byte
	number     int64 // of the line so far
	digits     int
	minus      bool
	line       int   // bytes of the line so far
	left       int64 // bytes of the string, with its line end
	depth      int
	open       [deepest]int64 // elements that the arrays around this place have still to come
	elements   int64          // of all arrays of this message
	push       bool           // this message is one
	attributed bool           // this message begins with attributes
	first      bool           // the first element of a push is next, or the only one of a command
	word       [16]byte       // of that, or the beginning of an error
	letters    int
	spaces     int // of an error, so far

	// What is known of the place in the stream of replies. The ordinal of a reply is how many came before it.
	ping  bool                     // the next one must be a line: it answers the PING of a new connection (dials.go)
	hello int64                    // ordinal of the reply to HELLO, plus one; zero: none
	info  bool                     // this is it
	next6 bool                     // the next string of it is the version of the server
	six   bool                     // the server is Redis 6
	plain int64                    // ordinal of the first reply at which the client expects pushes in arrays
	moved int64                    // elements of this array in whose places pushes stand: they follow it
	owed  int64                    // such elements of the array before
	empty func(ordinal int64) bool // the reply must have an element; nil: any may be empty

	subscribed bool // confirmations of subscriptions may come

	only func(name []byte, ordinal int64) // of a stream of commands: is told of each that has no arguments
}

// between reports whether the stream is between two messages.
func (f *framing) between() bool { return f.state == atKind && f.depth == 0 && !f.push }

type state uint8

const (
	atKind state = iota
	inNumber
	inText
	atLineEnd
	inString
)

// next reads a piece.
func (f *framing) next(b []byte) error {
	_, err := f.step(b, false)
	return err
}

// step reads a piece, or with stop at most the rest of one message. It returns how much it has read.
func (f *framing) step(b []byte, stop bool) (int, error) {
	for i := 0; i < len(b); {
		if stop && i > 0 && f.between() {
			return i, nil
		}
		switch f.state {
		case atKind:
			if f.ping && f.depth == 0 {
				if f.ping = false; b[i] != '+' && b[i] != '-' {
					return i, errPlace
				}
			}
			if n := short(b[i:]); n > 0 && !f.first && !f.info {
				i += n
				if f.depth == 0 && f.owed == 0 {
					f.messages++
				} else if err := f.value(); err != nil {
					return i, err
				}
				continue
			}
			f.kind = b[i]
			i++
			f.number, f.digits, f.minus, f.line = 0, 0, false, 0
			if f.first && f.depth > 0 && f.kind != '$' {
				return i, errPlace
			}
			if !f.first {
				f.letters, f.spaces = 0, 0
			}
			switch f.kind {
			case '$', '*', ':', '%', '~', '>', '=', '!', '|':
				f.state = inNumber
			case '+', '-', ',', '(', '_', '#':
				f.state = inText
			default:
				return i, fmt.Errorf("%w: it begins with %q", errFraming, f.kind)
			}
			if f.kind == '>' && f.depth == 0 {
				if f.owed > 0 {
					return i, errPlace
				}
				f.push, f.first, f.letters = true, true, 0
			}
		case inNumber:
			for ; i < len(b); i++ {
				d := b[i] - '0'
				if d <= 9 && f.digits < 19 {
					f.number, f.digits = f.number*10+int64(d), f.digits+1
					continue
				}
				if b[i] == '-' && f.digits == 0 && !f.minus {
					f.minus = true
					continue
				}
				if b[i] == '+' && f.kind == ':' && f.digits == 0 && !f.minus {
					continue
				}
				if b[i] != '\r' || f.digits == 0 {
					return i, fmt.Errorf("%w: found %q in a number", errFraming, b[i])
				}
				f.state = atLineEnd
				i++
				break
			}
		case inText:
			for ; i < len(b); i++ {
				if b[i] == '\r' {
					f.state = atLineEnd
					i++
					break
				}
				if f.line++; b[i] == '\n' || f.line > longestLine {
					return i, errLength
				}
				if f.kind == '-' || f.info {
					f.begins(b[i:i+1], 1)
				}
				if f.kind == '_' || f.kind == '#' && (f.line > 1 || b[i] != 't' && b[i] != 'f') {
					return i, fmt.Errorf("%w: found %q in a null or a boolean", errFraming, b[i])
				}
			}
		case atLineEnd:
			if b[i] != '\n' {
				return i, fmt.Errorf("%w: found %q at the end of a line", errFraming, b[i])
			}
			i++
			if err := f.header(); err != nil {
				return i, err
			}
		case inString:
			n := min(f.left, int64(len(b)-i))
			if f.first || f.info || f.kind == '!' {
				f.begins(b[i:i+int(min(n, max(f.left-2, 0)))], 0)
			}
			for k := max(0, n-2); k < n; k++ { // the last two bytes of it end the line
				if left := f.left - k; left == 2 && b[i+int(k)] != '\r' || left == 1 && b[i+int(k)] != '\n' {
					return i, fmt.Errorf("%w: a string does not end where it should", errFraming)
				}
			}
			f.left -= n
			i += int(n)
			if f.left == 0 {
				if err := f.value(); err != nil {
					return i, err
				}
			}
		}
	}
	return len(b), nil
}

// short returns the length of a string or a number that b begins with, if all of it is there: most replies are one. Zero: it is
// something else, or wrong.
func short(b []byte) int {
	n, i := 0, 1
	for ; i < len(b) && i <= 9; i++ {
		d := b[i] - '0'
		if d > 9 {
			break
		}
		n = n*10 + int(d)
	}
	if i == 1 || i+1 >= len(b) || b[i] != '\r' || b[i+1] != '\n' {
		return 0
	}
	i += 2
	switch end := i + n + 2; {
	case b[0] == ':':
		return i
	case b[0] == '$' && n <= longestString && end <= len(b) && b[end-2] == '\r' && b[end-1] == '\n':
		return end
	}
	return 0
}

// begins keeps the first letters of a value, and counts the spaces of a line.
func (f *framing) begins(b []byte, line int) {
	f.letters += copy(f.word[f.letters:], b)
	if line > 0 && b[0] == ' ' {
		f.spaces++
	}
}

// header has read a line.
func (f *framing) header() error {
	f.state = atKind
	n := f.number
	if f.minus {
		n = -n
	}
	switch f.kind {
	case '$', '=', '!':
		if n > longestString || n < 0 && (f.kind != '$' || n != -1) {
			return errLength
		}
		if n < 0 {
			return f.value()
		}
		f.left, f.state = n+2, inString
		return nil
	case '*', '~', '>', '%', '|':
		if n < 0 && (f.kind != '*' || n != -1) {
			return errLength
		}
		if n > mostElements {
			return errLength
		}
		if f.kind == '%' || f.kind == '|' {
			n *= 2
		}
		if f.kind == '>' && f.depth > 0 { // Redis 6 pushes in the middle of an array, whose last element then follows it
			if !f.six || f.depth > 1 || f.messages < f.plain || f.owed > 0 || f.push || f.attributed || f.info {
				return errPlace
			}
			f.moved++
		}
		if f.info && f.depth == 1 && f.next6 {
			f.next6, f.six = false, false
		}
		if f.depth == 0 && f.owed == 0 && f.kind != '>' && f.kind != '|' {
			f.info = f.messages+1 == f.hello
			if n == 0 && f.empty != nil && f.empty(f.messages) {
				return errEmpty
			}
			if n == 1 && f.only != nil {
				f.first, f.letters = true, 0
			}
		}
		if f.elements += max(n, 0); f.elements > mostElements || f.depth == deepest {
			return errLength
		}
		if f.kind == '|' { // attributes stand before their value
			if f.push || f.info {
				return errPlace
			}
			f.attributed = true
			if f.depth == 0 {
				f.open[0], f.depth = 1, 1
			}
			f.open[f.depth-1] += n
			return nil
		}
		if n <= 0 {
			return f.value()
		}
		f.open[f.depth] = n
		f.depth++
		return nil
	case '_', '#':
		if f.kind == '#' && f.line != 1 {
			return errLength
		}
	case '-':
		if f.spaces < 2 && f.redirects() {
			return errWords
		}
	}
	return f.value()
}

// redirects reports whether an error begins as one does that sends the client to another node. The library takes the third word of
// it for the address.
func (f *framing) redirects() bool {
	word := f.word[:f.letters]
	return bytes.HasPrefix(word, []byte("MOVED")) || bytes.HasPrefix(word, []byte("ASK"))
}

// value has read a whole value: that of an array may be complete with it.
func (f *framing) value() error {
	f.state = atKind
	switch word := f.word[:f.letters]; {
	case f.kind == '!' && f.redirects():
		return errWords
	case f.first && f.depth > 0 && f.push:
		f.first = false
		if !f.subscribed && (bytes.HasSuffix(word, []byte("subscribe")) || bytes.HasSuffix(word, []byte("message"))) {
			return errPush
		}
	case f.first && f.depth > 0:
		f.first = false
		f.only(word, f.messages)
	case f.info && f.depth == 1 && f.next6:
		f.next6, f.six = false, len(word) > 0 && word[0] == '6'
	case f.info && f.depth == 1:
		f.next6 = f.open[0]%2 == 0 && string(word) == "version"
	}
	f.letters = 0
	for f.depth > 0 {
		if f.open[f.depth-1]--; f.open[f.depth-1] > 0 {
			return nil
		}
		f.depth--
	}
	switch {
	case f.push:
	case f.moved > 0: // it is complete when they have come
		f.owed, f.moved = f.moved, 0
	case f.owed > 0:
		if f.owed--; f.owed == 0 {
			f.messages++
		}
	default:
		f.messages++
	}
	f.push, f.attributed, f.first, f.info, f.next6, f.elements = false, false, false, false, false, 0
	return nil
}
