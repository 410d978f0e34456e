// Package upstream passes commands to Redis and replies back, byte by byte: clients of the Redis protocol turn replies into
// values of their own, and lose how they were written.
package upstream

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/nearside/nearside/internal/store/redis"
)

const (
	dialTimeout = time.Second
	timeout     = 10 * time.Second // of one exchange: commands that wait for others are not passed, so a longer one hangs
	maxIdle     = 64               // connections that wait for the next command, for each version of the protocol
	maxReply    = 64 << 20         // bytes
	maxDepth    = 64               // of arrays in arrays
)

// Pool is connections to one Redis. It is safe for concurrent use.
type Pool struct {
	to redis.Server

	mu     sync.Mutex // guards the rest
	idle   map[int][]*conn
	table  table
	closed bool
}

// New returns a pool that connects when it is asked to. The URL is that of the store.
func New(rawURL string) (*Pool, error) {
	to, err := redis.Parse(rawURL)
	return &Pool{to: to, idle: make(map[int][]*conn)}, err
}

// Close closes the connections that wait.
func (p *Pool) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.drop()
}

func (p *Pool) drop() {
	for proto, cs := range p.idle {
		for _, c := range cs {
			c.nc.Close()
		}
		p.idle[proto] = nil
	}
}

// Do sends commands in one write, appends their replies to out, and returns where each ends. proto is the version of the
// protocol in which they are written, 2 or 3. Nothing is sent twice: after an error it is not known what Redis did.
func (p *Pool) Do(ctx context.Context, proto int, cmds [][][]byte, out []byte) ([]byte, []int, error) {
	c, err := p.get(ctx, proto)
	if err != nil {
		return out, nil, p.failed(err)
	}
	begin := len(out)
	ends := make([]int, 0, len(cmds))
	deadline := time.Now().Add(timeout)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	c.nc.SetDeadline(deadline)
	stop := context.AfterFunc(ctx, func() { c.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	sent := make(chan error, 1)
	write := func() error {
		for _, args := range cmds {
			c.write(args)
		}
		return c.w.Flush()
	}
	if len(cmds) > 1 { // replies are read meanwhile: Redis may stop reading while nobody reads them
		go func() { sent <- write() }()
	} else {
		sent <- write()
	}
	for range cmds {
		if out, err = c.reply(out, begin); err != nil {
			break
		}
		ends = append(ends, len(out))
	}
	if err != nil {
		c.nc.Close()
	}
	if e := <-sent; err == nil {
		err = e
	}
	if err != nil {
		c.nc.Close()
		p.mu.Lock()
		p.drop() // they lead to the same place
		p.mu.Unlock()
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return out[:begin], nil, p.failed(err)
	}
	p.put(proto, c)
	return out, ends, nil
}

func (p *Pool) failed(err error) error {
	var n net.Error
	if errors.As(err, &n) && n.Timeout() {
		err = fmt.Errorf("no answer within %v", timeout)
	}
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) {
		err = errors.New("it closed the connection; whether the command was carried out is not known")
	}
	return fmt.Errorf("Redis at %s: %w", p.to.Address, err)
}

func (p *Pool) get(ctx context.Context, proto int) (*conn, error) {
	for {
		p.mu.Lock()
		cs := p.idle[proto]
		if p.closed || len(cs) == 0 {
			closed := p.closed
			p.mu.Unlock()
			if closed {
				return nil, net.ErrClosed
			}
			return p.dial(ctx, proto)
		}
		c := cs[len(cs)-1]
		p.idle[proto] = cs[:len(cs)-1]
		p.mu.Unlock()
		if c.alive() {
			return c, nil
		}
		c.nc.Close()
	}
}

func (p *Pool) put(proto int, c *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle[proto]) >= maxIdle {
		c.nc.Close()
		return
	}
	p.idle[proto] = append(p.idle[proto], c)
}

func (p *Pool) dial(ctx context.Context, proto int) (*conn, error) {
	d := net.Dialer{Timeout: dialTimeout}
	nc, err := d.DialContext(ctx, p.to.Network, p.to.Address)
	if err != nil {
		return nil, err
	}
	c := &conn{nc: nc, r: bufio.NewReaderSize(nc, 16<<10), w: bufio.NewWriterSize(nc, 16<<10)}
	nc.SetDeadline(time.Now().Add(timeout))
	var hello [][]string
	user := p.to.User
	if user == "" {
		user = "default"
	}
	if proto == 3 {
		hello = append(hello, []string{"HELLO", "3"})
		if p.to.Password != "" {
			hello[0] = append(hello[0], "AUTH", user, p.to.Password)
		}
	} else if p.to.Password != "" {
		hello = append(hello, []string{"AUTH", p.to.Password})
		if p.to.User != "" {
			hello[0] = []string{"AUTH", user, p.to.Password}
		}
	}
	if p.to.DB != 0 {
		hello = append(hello, []string{"SELECT", strconv.Itoa(p.to.DB)})
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

// conn is one connection.
type conn struct {
	nc net.Conn
	r  *bufio.Reader
	w  *bufio.Writer
}

// alive looks whether the other side has closed it, without waiting.
func (c *conn) alive() bool {
	sc, ok := c.nc.(syscall.Conn)
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
		_, e := syscall.Read(int(fd), b[:])
		good = e == syscall.EAGAIN || e == syscall.EWOULDBLOCK // nothing has come, and nothing should have
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
