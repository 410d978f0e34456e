package upstream

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"strconv"
	"syscall"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// conn is one connection.
type conn struct {
	nc net.Conn
	r  *bufio.Reader
	w  *bufio.Writer

	idle time.Time // since when it waits for its next command
}

func newConn(nc net.Conn) *conn {
	return &conn{nc: nc, r: bufio.NewReaderSize(nc, 16<<10), w: bufio.NewWriterSize(nc, 16<<10)}
}

// connect opens a connection to a node in a version of the protocol.
func connect(ctx context.Context, to redisurl.Target, address string, proto int) (*conn, error) {
	dial, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := to.Dial(dial, &net.Dialer{}, address)
	if err != nil {
		return nil, err
	}
	c := newConn(nc)
	if err := c.greet(ctx, greeting(to, proto)); err != nil {
		nc.Close()
		return nil, err
	}
	return c, nil
}

// greeting returns the commands that a connection begins with.
func greeting(to redisurl.Target, proto int) (cmds [][][]byte) {
	user := to.User
	if user == "" {
		user = "default"
	}
	switch {
	case proto == 3 && to.Password != "":
		cmds = append(cmds, words("HELLO", "3", "AUTH", user, to.Password))
	case proto == 3:
		cmds = append(cmds, words("HELLO", "3"))
	case to.Password != "" && to.User == "": // a server without users knows no other form
		cmds = append(cmds, words("AUTH", to.Password))
	case to.Password != "":
		cmds = append(cmds, words("AUTH", user, to.Password))
	}
	if to.DB != 0 {
		cmds = append(cmds, words("SELECT", strconv.Itoa(to.DB)))
	}
	return cmds
}

// greet sends cmds one after the other. It returns early if ctx ends.
func (c *conn) greet(ctx context.Context, cmds [][][]byte) error {
	if len(cmds) == 0 {
		return nil
	}
	c.nc.SetDeadline(time.Now().Add(timeout))
	stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(past) })
	defer stop()
	for _, cmd := range cmds {
		if err := c.send([][][]byte{cmd}); err != nil {
			return err
		}
		reply, err := resp.ReadReply(c.r, nil, nil, nil)
		if err != nil {
			return err
		}
		if r := resp.Reply(reply); r.IsError() {
			return errors.New(string(r.Text()))
		}
	}
	if !stop() { // the deadline may be set at any later moment
		return context.Cause(ctx)
	}
	c.nc.SetDeadline(time.Time{})
	return nil
}

func words(list ...string) [][]byte {
	args := make([][]byte, len(list))
	for i, word := range list {
		args[i] = []byte(word)
	}
	return args
}

// alive reports whether the other side has the connection open still. It does not wait, unless TLS has sent something: then it
// reads that, which may be the end or of TLS's own.
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
	silent, came := false, false
	err = rc.Read(func(fd uintptr) bool {
		var b [1]byte
		n, _, e := syscall.Recvfrom(int(fd), b[:], syscall.MSG_PEEK)
		silent, came = e == syscall.EAGAIN || e == syscall.EWOULDBLOCK, e == nil && n > 0
		return true
	})
	if err == nil && came && secure {
		c.nc.SetReadDeadline(time.Now().Add(tlsWait))
		defer c.nc.SetReadDeadline(time.Time{})
		_, err := c.r.Peek(1)
		return errors.Is(err, os.ErrDeadlineExceeded)
	}
	return err == nil && silent
}

// send sends commands in one write, if they fit into its buffer.
func (c *conn) send(cmds [][][]byte) error {
	for _, args := range cmds {
		resp.WriteCommand(c.w, args)
	}
	return c.w.Flush()
}
