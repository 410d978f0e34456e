package conn

import (
	"errors"
	"net"
	"sync"
)

// Single reads have connections of their own (package health says why). Behind a proxy, or a name that is moved, one address may lead
// to another server than before, while connections to the old one stay. An invalidation on the new server and a read on the old one
// would be a stale value. So all connections to an address lead to one server:
//
//   - Who makes connections for single reads compares the server with that of the shared connection.
//   - When any other connection to the address is made, those for single reads are closed before it is handed on.

// The keys of contexts of single reads.
var (
	NoDialing any = noDialing{} // the command is sent only if there is a connection
	ForDirect any = forDirect{} // what is connected is for single reads
)

type (
	noDialing struct{}
	forDirect struct{}
)

var errNoDialing = errors.New("there is no connection for a single read")

// directs are the connections for single reads.
type directs struct {
	mu    sync.Mutex // guards conns
	conns map[*directConn]bool
}

// directConn is a connection for single reads.
type directConn struct {
	net.Conn
	address string
	of      *directs
}

func (d *directs) add(address string, nc net.Conn) net.Conn {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.conns == nil {
		d.conns = make(map[*directConn]bool)
	}
	c := &directConn{nc, address, d}
	d.conns[c] = true
	return c
}

// close closes those of which which returns true.
func (d *directs) close(which func(*directConn) bool) {
	var closing []net.Conn
	d.mu.Lock()
	for c := range d.conns {
		if which(c) {
			closing = append(closing, c.Conn)
			delete(d.conns, c)
		}
	}
	d.mu.Unlock()
	for _, c := range closing { // which may take a while with TLS
		c.Close()
	}
}

// CloseDirect closes all connections for single reads.
func (d *Dialer) CloseDirect() { d.directs.close(func(*directConn) bool { return true }) }

// Close implements net.Conn.
func (c *directConn) Close() error {
	c.of.mu.Lock()
	delete(c.of.conns, c)
	c.of.mu.Unlock()
	return c.Conn.Close()
}
