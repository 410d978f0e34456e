package respserver

import (
	"io"
	"net"
	"syscall"
	"unsafe"
)

func newWire(nc net.Conn) wire {
	if sc, ok := nc.(syscall.Conn); ok {
		if rc, err := sc.SyscallConn(); err == nil {
			w := &rawWire{rc: rc}
			w.readFn, w.writeFn = w.tryRead, w.tryWrite
			return w
		}
	}
	return &plainWire{nc: nc}
}

// A rawWire reads and writes the socket by itself and lets the runtime do the waiting. The socket never blocks, so the
// calls need not be announced to the scheduler: that saves a thread's wake-up at most writes, which is a fifth of the time.
// And a buffer is needed only when there is something to read.
type rawWire struct {
	rc              syscall.RawConn
	readFn, writeFn func(fd uintptr) bool // made once: a method value for each call would be an allocation

	// Of the read under way and the write under way; both belong to the serving goroutine.
	c   *Conn
	b   []byte
	n   int
	err error
}

func (w *rawWire) read(c *Conn) (int, error) {
	w.c = c
	if err := w.rc.Read(w.readFn); err != nil {
		return 0, err
	}
	return w.n, w.err
}

// tryRead reads first and waits then, although that costs a call that finds nothing: the runtime tells of an edge, and one
// that came before the wait began would be missed.
func (w *rawWire) tryRead(fd uintptr) bool {
	n, errno := transfer(syscall.SYS_READ, fd, w.c.room())
	if errno == syscall.EAGAIN {
		w.c.noRoom()
		return false
	}
	w.n, w.err = n, nil
	if errno != 0 {
		w.n, w.err = 0, errno
	} else if n == 0 {
		w.err = io.EOF
	}
	return true
}

func (w *rawWire) try(b []byte) (int, error) {
	w.b = b
	err := w.rc.Write(w.writeFn)
	w.b = nil
	if err != nil {
		return 0, err
	}
	return w.n, w.err
}

func (w *rawWire) tryWrite(fd uintptr) bool {
	n, errno := transfer(syscall.SYS_WRITE, fd, w.b)
	w.n, w.err = n, nil
	if errno != 0 {
		w.n = 0
		if errno != syscall.EAGAIN {
			w.err = errno
		}
	}
	return true
}

func transfer(trap, fd uintptr, b []byte) (int, syscall.Errno) {
	for {
		n, _, errno := syscall.RawSyscall(trap, fd, uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
		if errno != syscall.EINTR {
			return int(n), errno
		}
	}
}

// What poll is asked for and tells: the other side has closed its half, or all of it.
const (
	pollErr       = 0x8
	pollHup       = 0x10
	pollPeerClose = 0x2000
)

func (w *rawWire) closed() (closed bool) {
	_ = w.rc.Control(func(fd uintptr) {
		p := struct {
			fd           int32
			events, told int16
		}{fd: int32(fd), events: pollPeerClose}
		var now syscall.Timespec // do not wait
		n, _, _ := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&p)), 1, uintptr(unsafe.Pointer(&now)), 0, 0, 0)
		closed = int(n) == 1 && p.told&(pollPeerClose|pollHup|pollErr) != 0
	})
	return closed
}
