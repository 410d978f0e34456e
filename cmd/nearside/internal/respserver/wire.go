package respserver

import "net"

// A wire is how a connection reaches its socket. There are two: one that reads and writes the socket itself, and one for
// everything that is only a net.Conn.
type wire interface {
	// read waits for input and reads once into c.room. It holds no turn while it waits.
	read(c *Conn) (int, error)
	// try writes what can be written without waiting, perhaps nothing.
	try(b []byte) (int, error)
	// closed reports whether the other side has closed the connection; false if that is not known. Any goroutine may ask.
	closed() bool
}

// A plainWire works on any net.Conn, so also where there is no other way to the bytes: TLS, other systems, tests.
type plainWire struct {
	nc net.Conn
	in [4 << 10]byte
}

func (w *plainWire) read(c *Conn) (int, error) {
	n, err := w.nc.Read(w.in[:])
	if n > 0 {
		return copy(c.room(), w.in[:n]), nil
	}
	return 0, err
}

// try leaves everything to drain: a Write could wait, and one of TLS that was cut short cannot be continued.
func (w *plainWire) try([]byte) (int, error) { return 0, nil }

func (w *plainWire) closed() bool { return false }
