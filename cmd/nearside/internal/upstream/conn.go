package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// conn is one connection.
type conn struct {
	nc net.Conn
	r  *bufio.Reader
	w  *bufio.Writer

	idle time.Time // since when it waits for its next command
}

// connect opens a connection to a node, in a version of the protocol.
func connect(ctx context.Context, to redisurl.Target, address string, proto int) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := to.Dial(ctx, &net.Dialer{}, address)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc, r: bufio.NewReaderSize(nc, 16<<10), w: bufio.NewWriterSize(nc, 16<<10)}
	nc.SetDeadline(time.Now().Add(timeout))
	var hello [][]string
	user := to.User
	if user == "" {
		user = "default"
	}
	if proto == 3 {
		hello = append(hello, []string{"HELLO", "3"})
		if to.Password != "" {
			hello[0] = append(hello[0], "AUTH", user, to.Password)
		}
	} else if to.Password != "" {
		hello = append(hello, []string{"AUTH", to.Password})
		if to.User != "" {
			hello[0] = []string{"AUTH", user, to.Password}
		}
	}
	if to.DB != 0 {
		hello = append(hello, []string{"SELECT", strconv.Itoa(to.DB)})
	}
	for _, cmd := range hello {
		args := make([][]byte, len(cmd))
		for i, a := range cmd {
			args[i] = []byte(a)
		}
		c.write(args)
		err := c.w.Flush()
		var out []byte
		if err == nil {
			out, err = (&reading{c: c}).reply(nil)
		}
		if err == nil && out[0] == '-' {
			err = errors.New(string(out[1 : len(out)-2]))
		}
		if err != nil {
			nc.Close()
			return nil, err
		}
	}
	nc.SetDeadline(time.Time{})
	return c, nil
}

// alive looks whether the other side has closed it, without waiting.
func (c *conn) alive() bool {
	nc, secure := c.nc, false
	if t, ok := nc.(*tls.Conn); ok {
		nc, secure = t.NetConn(), true
	}
	sc, ok := nc.(syscall.Conn)
	if !ok {
		return true
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	good := false
	err = rc.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, e := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		// Nothing has come, and nothing should have; but TLS has messages of its own.
		good = e == syscall.EAGAIN || e == syscall.EWOULDBLOCK || e == nil && n > 0 && secure
		return true
	})
	return err == nil && good
}

// send sends commands in one write, if they fit into its buffer.
func (c *conn) send(cmds [][][]byte) error {
	for _, args := range cmds {
		c.write(args)
	}
	return c.w.Flush()
}

// write fills the buffer. An error of the connection is what Flush returns.
func (c *conn) write(args [][]byte) {
	c.count('*', len(args))
	for _, a := range args {
		c.count('$', len(a))
		_, _ = c.w.Write(a)
		_, _ = c.w.WriteString("\r\n")
	}
}

func (c *conn) count(kind byte, n int) {
	var b [24]byte
	_, _ = c.w.Write(append(strconv.AppendInt(append(b[:0], kind), int64(n), 10), '\r', '\n'))
}

// reply reads one reply and returns what of it was not given to take: all of it without one, and where it is small. What the
// server pushes by itself is left out.
func (r *reading) reply(out []byte) ([]byte, error) {
	for {
		r.begin = len(out)
		kind, err := r.c.r.Peek(1)
		if err != nil {
			return out, err
		}
		pushed := kind[0] == '>'
		one := *r
		if pushed {
			one.take = nil
		}
		if out, err = one.value(out, 0); err != nil || !pushed {
			return out, err
		}
		out = out[:r.begin]
	}
}

// A reading is one reply after the other from a connection.
type reading struct {
	c     *conn
	take  func(part []byte)  // parts of a large reply; nil: it is collected
	hold  func(n int64) bool // counts collected bytes; nil: nothing does
	renew func()             // gives the server time for the next part
	begin int                // where this reply begins in what is collected
}

const piece = 64 << 10 // bytes of a reply that are read at once

var (
	errReply    = errors.New("its reply is not of the Redis protocol")
	errTooLarge = fmt.Errorf("its reply is larger than %d MiB", maxReply>>20)
	errNoMemory = errors.New("the memory for replies is used up")
)

// grown passes on what is collected of this reply, or counts the n bytes that were added to it.
func (r *reading) grown(out []byte, n int) ([]byte, error) {
	switch size := len(out) - r.begin; {
	case r.take != nil && size >= piece:
		r.take(out[r.begin:])
		r.renew()
		return out[:r.begin], nil
	case r.take != nil:
		return out, nil
	case size > maxReply:
		return out, errTooLarge
	}
	if r.hold != nil && !r.hold(int64(n)) {
		return out, errNoMemory
	}
	return out, nil
}

// value appends a value with all that it contains. https://redis.io/docs/latest/develop/reference/protocol-spec/
func (r *reading) value(out []byte, depth int) ([]byte, error) {
	line, err := r.c.r.ReadSlice('\n')
	for errors.Is(err, bufio.ErrBufferFull) { // a long error or status
		out = append(out, line...)
		if out, err = r.grown(out, len(line)); err != nil {
			return out, err
		}
		line, err = r.c.r.ReadSlice('\n')
		if err == nil {
			return append(out, line...), nil
		}
	}
	if err != nil {
		return out, err
	}
	if len(line) < 3 || line[len(line)-2] != '\r' || depth > maxDepth {
		return out, errReply
	}
	kind, elements := line[0], 0
	switch kind {
	case '+', '-', ':', '_', ',', '#', '(':
		return r.grown(append(out, line...), len(line))
	case '$', '!', '=', '*', '~', '>', '%', '|':
		n, err := strconv.Atoi(string(line[1 : len(line)-2]))
		if err != nil || n < -1 || n > maxLength {
			return out, errReply
		}
		elements = n
	default:
		return out, errReply
	}
	if out, err = r.grown(append(out, line...), len(line)); err != nil {
		return out, err
	}
	switch kind {
	case '$', '!', '=':
		if elements < 0 {
			return out, nil
		}
		if r.take == nil && len(out)-r.begin+elements > maxReply {
			return out, errTooLarge
		}
		for left := elements + 2; left > 0; {
			n, at := min(left, piece), len(out)
			out = slices.Grow(out, n)[:at+n] // as bytes arrive, whatever was announced
			if _, err := io.ReadFull(r.c.r, out[at:]); err != nil {
				return out, err
			}
			if left -= n; left == 0 && (out[len(out)-2] != '\r' || out[len(out)-1] != '\n') {
				return out, errReply
			}
			if out, err = r.grown(out, n); err != nil {
				return out, err
			}
		}
		return out, nil
	case '%':
		elements *= 2
	case '|': // attributes stand before their value
		elements = 2*elements + 1
	}
	for range max(elements, 0) {
		if out, err = r.value(out, depth+1); err != nil {
			return out, err
		}
	}
	return out, nil
}
