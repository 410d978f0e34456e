package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"syscall"
	"time"

	"github.com/nearside/nearside/internal/store/redis"
)

// conn is one connection.
type conn struct {
	nc net.Conn
	r  *bufio.Reader
	w  *bufio.Writer
}

// connect opens a connection to a node, in a version of the protocol.
func connect(ctx context.Context, to redis.Target, address string, proto int) (*conn, error) {
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
			out, err = c.reply(nil, 0)
		}
		if err == nil && out[0] == '-' {
			err = errors.New(string(out[1 : len(out)-2]))
		}
		if err != nil {
			nc.Close()
			return nil, err
		}
	}
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

func (c *conn) write(args [][]byte) {
	c.count('*', len(args))
	for _, a := range args {
		c.count('$', len(a))
		c.w.Write(a)
		c.w.WriteString("\r\n")
	}
}

func (c *conn) count(kind byte, n int) {
	var b [24]byte
	c.w.Write(append(strconv.AppendInt(append(b[:0], kind), int64(n), 10), '\r', '\n'))
}

// reply appends one reply to out. What the server pushes by itself is left out.
func (c *conn) reply(out []byte, begin int) ([]byte, error) {
	for {
		start := len(out)
		out, err := c.value(out, begin, 0)
		if err != nil || out[start] != '>' {
			return out, err
		}
		out = out[:start]
	}
}

var errReply = errors.New("its reply is not of the Redis protocol")

// value appends a value with all that it contains. https://redis.io/docs/latest/develop/reference/protocol-spec/
func (c *conn) value(out []byte, begin, depth int) ([]byte, error) {
	line, err := c.r.ReadSlice('\n')
	for err == bufio.ErrBufferFull { // a long error or status
		out = append(out, line...)
		if len(out)-begin > maxReply {
			return out, errTooLarge
		}
		line, err = c.r.ReadSlice('\n')
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
	out = append(out, line...)
	kind, elements := line[0], 0
	switch kind {
	case '+', '-', ':', '_', ',', '#', '(':
		return out, nil
	case '$', '!', '=', '*', '~', '>', '%', '|':
		n, err := strconv.Atoi(string(line[1 : len(line)-2]))
		if err != nil || n < -1 || n > maxReply {
			return out, errReply
		}
		elements = n
	default:
		return out, errReply
	}
	if len(out)-begin > maxReply {
		return out, errTooLarge
	}
	switch kind {
	case '$', '!', '=':
		if elements < 0 {
			return out, nil
		}
		if len(out)-begin+elements > maxReply {
			return out, errTooLarge
		}
		at := len(out)
		out = append(out, make([]byte, elements+2)...)
		_, err := io.ReadFull(c.r, out[at:])
		return out, err
	case '%':
		elements *= 2
	case '|': // attributes stand before their value
		elements = 2*elements + 1
	}
	for range max(elements, 0) {
		if out, err = c.value(out, begin, depth+1); err != nil {
			return out, err
		}
	}
	return out, nil
}

var errTooLarge = fmt.Errorf("its reply is larger than %d MiB", maxReply>>20)
