package limit

import (
	"net"
	"sync"
	"sync/atomic"
)

// Listener accepts at most so many connections at the same time; one more is closed at once.
type Listener struct {
	net.Listener
	most int64
	open atomic.Int64
}

// Listen bounds the connections of a listener.
func Listen(ln net.Listener, most int) *Listener { return &Listener{Listener: ln, most: int64(most)} }

// Accept returns the next connection that has a place.
func (l *Listener) Accept() (net.Conn, error) {
	for {
		nc, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= l.most {
			return &conn{Conn: nc, l: l}, nil
		}
		l.open.Add(-1)
		nc.Close()
	}
}

// conn gives its place back once.
type conn struct {
	net.Conn
	l    *Listener
	once sync.Once
}

func (c *conn) Close() error {
	c.once.Do(func() { c.l.open.Add(-1) })
	return c.Conn.Close()
}

// CloseWrite ends what is sent, where the connection can: a client then gets the reply to what was not read as a whole.
func (c *conn) CloseWrite() error {
	if half, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return half.CloseWrite()
	}
	return nil
}
