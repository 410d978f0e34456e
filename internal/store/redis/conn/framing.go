package conn

import (
	"errors"
	"fmt"
	"net"
	"sync/atomic"
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
	errPush    = fmt.Errorf("%w: it confirms a subscription that nobody has made", errFraming)
)

// checked is a connection whose replies are checked.
type checked struct {
	net.Conn
	commands framing // that were sent; of the writer
	replies  framing // of the reader
	sent     atomic.Int64
	seen     int64 // of sent, as the reader knows it
	broken   error // of the reader
}

// check returns a connection whose Read fails at the first reply that is not of the protocol. subscribes says that it may be used
// to subscribe to channels.
func check(nc net.Conn, subscribes bool) net.Conn {
	c := &checked{Conn: nc}
	c.replies.subscribed = subscribes
	return c
}

func (c *checked) Write(b []byte) (int, error) {
	before := c.commands.messages
	if err := c.commands.next(b); err != nil { // not written by the library: its replies cannot be counted
		return 0, err
	}
	if n := c.commands.messages - before; n != 0 {
		c.sent.Add(n)
	}
	return c.Conn.Write(b)
}

func (c *checked) Read(b []byte) (int, error) {
	if c.broken != nil {
		return 0, c.broken
	}
	n, err := c.Conn.Read(b)
	if n == 0 {
		return n, err
	}
	bad := c.replies.next(b[:n])
	if bad == nil && c.replies.messages > c.seen {
		if c.seen = c.sent.Load(); c.replies.messages > c.seen {
			bad = errExtra
		}
	}
	if bad != nil {
		c.broken = fmt.Errorf("%s: %w", c.RemoteAddr(), bad)
		c.Conn.Close()
		return 0, c.broken
	}
	return n, err
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
	first      bool           // its first element is next
	word       [16]byte       // of that
	letters    int
	subscribed bool
}

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
	for i := 0; i < len(b); {
		switch f.state {
		case atKind:
			if n := short(b[i:]); n > 0 && !f.first {
				i += n
				if f.depth == 0 {
					f.messages++
				} else if err := f.value(); err != nil {
					return err
				}
				continue
			}
			f.kind = b[i]
			i++
			f.number, f.digits, f.minus, f.line = 0, 0, false, 0
			switch f.kind {
			case '$', '*', ':', '%', '~', '>', '=', '!', '|':
				f.state = inNumber
			case '+', '-', ',', '(', '_', '#':
				f.state = inText
			default:
				return fmt.Errorf("%w: it begins with %q", errFraming, f.kind)
			}
			if f.kind == '>' && f.depth == 0 {
				f.push, f.first = true, true
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
					return fmt.Errorf("%w: found %q in a number", errFraming, b[i])
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
					return errLength
				}
				if f.kind == '_' || f.kind == '#' && (f.line > 1 || b[i] != 't' && b[i] != 'f') {
					return fmt.Errorf("%w: found %q in a null or a boolean", errFraming, b[i])
				}
			}
		case atLineEnd:
			if b[i] != '\n' {
				return fmt.Errorf("%w: found %q at the end of a line", errFraming, b[i])
			}
			i++
			if err := f.header(); err != nil {
				return err
			}
		case inString:
			n := min(f.left, int64(len(b)-i))
			if f.first {
				f.letters += copy(f.word[f.letters:], b[i:i+int(min(n, max(f.left-2, 0)))])
			}
			for k := max(0, n-2); k < n; k++ { // the last two bytes of it end the line
				if left := f.left - k; left == 2 && b[i+int(k)] != '\r' || left == 1 && b[i+int(k)] != '\n' {
					return fmt.Errorf("%w: a string does not end where it should", errFraming)
				}
			}
			f.left -= n
			i += int(n)
			if f.left == 0 {
				if err := f.value(); err != nil {
					return err
				}
			}
		}
	}
	return nil
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
			f.messages--
		}
		if f.elements += max(n, 0); f.elements > mostElements || f.depth == deepest {
			return errLength
		}
		if f.kind == '|' { // attributes stand before their value
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
	}
	return f.value()
}

// value has read a whole value: that of an array may be complete with it.
func (f *framing) value() error {
	f.state = atKind
	if f.first && f.depth > 0 {
		f.first = false
		if word := f.word[:f.letters]; !f.subscribed && len(word) >= 9 && string(word[len(word)-9:]) == "subscribe" {
			return errPush
		}
		f.letters = 0
	}
	for f.depth > 0 {
		if f.open[f.depth-1]--; f.open[f.depth-1] > 0 {
			return nil
		}
		f.depth--
	}
	if !f.push {
		f.messages++
	}
	f.push, f.first, f.elements, f.letters = false, false, 0, 0
	return nil
}
