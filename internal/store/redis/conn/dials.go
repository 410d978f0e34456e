package conn

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"
)

// While the client makes a connection, all who need it wait, whatever their contexts say: beside a server that takes
// connections and does not answer, as one that hangs does, reads would wait for as long as whoever came first, a second,
// where they have 25 ms. So a connection is made behind the callers and handed on when the server has answered on it. One
// that takes long is waited for once, for as long as a read waits for Redis; until it is there, or has failed, others are told
// so at once, and after some of them nobody asks any more (package health).

const (
	dialLimit = 5 * time.Second  // for a connection and the first answer
	dialKept  = 10 * time.Second // how long one that came late is kept for the next caller
)

// dials are the connections that are being made, and that nobody waits for any more.
type dials struct {
	mu      sync.Mutex          // guards late
	late    map[string]*attempt // by address
	running sync.WaitGroup
}

// attempt is a connection that is being made.
type attempt struct {
	done    chan struct{} // closed when conn and err are there
	conn    net.Conn
	err     error
	claimed chan struct{} // closed, under the lock, when somebody has it or nobody wants it
	cancel  context.CancelFunc
}

// connect returns a connection on which the server has answered.
func (d *Dialer) connect(ctx context.Context, address string, dial func(context.Context) (net.Conn, error)) (net.Conn, error) {
	a, conn, err := d.attempt(address, dial)
	if a == nil {
		return conn, err
	}
	patience := time.NewTimer(d.config.Patience())
	defer patience.Stop()
	select {
	case <-a.done:
	case <-patience.C:
	case <-ctx.Done():
	}
	d.dials.mu.Lock()
	defer d.dials.mu.Unlock()
	switch {
	case a.isDone():
		close(a.claimed)
		return a.conn, a.err
	case d.dials.late[address] == nil:
		d.dials.late[address] = a
	default:
		a.cancel() // another one is late too: one is enough
	}
	return nil, connecting(address)
}

// connecting is the error of a command that was not sent, since there is no connection yet.
func connecting(address string) error { return connectingError(address) }

type connectingError string

func (e connectingError) Error() string {
	return fmt.Sprintf("the connection to %s is being made, and the server has not answered yet", string(e))
}

// Unsent reports whether a command was not sent, since there is no connection yet.
func Unsent(err error) bool {
	var e connectingError
	return errors.As(err, &e)
}

// attempt begins a connection, unless one that was late is there by now, or is still being made.
func (d *Dialer) attempt(address string, dial func(context.Context) (net.Conn, error)) (*attempt, net.Conn, error) {
	d.dials.mu.Lock()
	defer d.dials.mu.Unlock()
	if err := d.config.Ctx.Err(); err != nil {
		return nil, nil, err
	}
	if a := d.dials.late[address]; a != nil {
		if !a.isDone() {
			return nil, nil, connecting(address)
		}
		delete(d.dials.late, address)
		close(a.claimed)
		if a.err == nil {
			return nil, a.conn, nil
		}
	}
	if d.dials.late == nil {
		d.dials.late = make(map[string]*attempt)
	}
	ctx, cancel := context.WithTimeout(d.config.Ctx, dialLimit)
	a := &attempt{done: make(chan struct{}), claimed: make(chan struct{}), cancel: cancel}
	d.dials.running.Go(func() { d.make(ctx, address, a, dial) })
	return a, nil, nil
}

func (a *attempt) isDone() bool {
	select {
	case <-a.done:
		return true
	default:
		return false
	}
}

// make makes a connection, and closes it if nobody comes for it.
func (d *Dialer) make(ctx context.Context, address string, a *attempt, dial func(context.Context) (net.Conn, error)) {
	if a.conn, a.err = dial(ctx); a.err == nil {
		if a.err = hello(ctx, a.conn); a.err == nil {
			a.err = ctx.Err() // nobody wants it, or its deadline is touched
		}
		if a.err != nil {
			a.conn.Close()
			a.conn = nil
		}
	}
	a.cancel()
	close(a.done)
	if a.err != nil {
		return
	}
	kept := time.NewTimer(dialKept)
	defer kept.Stop()
	select {
	case <-a.claimed:
		return
	case <-kept.C:
	case <-d.config.Ctx.Done():
	}
	d.dials.mu.Lock()
	defer d.dials.mu.Unlock()
	select {
	case <-a.claimed:
	default:
		if d.dials.late[address] == a {
			delete(d.dials.late, address)
		}
		a.conn.Close()
	}
}

// hello waits for a first answer: whatever it is, NOAUTH perhaps, somebody is there.
func hello(ctx context.Context, conn net.Conn) error {
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if _, err := conn.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		return err
	}
	answer := make([]byte, 512)
	for n := 0; n < len(answer); {
		got, err := conn.Read(answer[n:])
		if n += got; n > 0 && answer[n-1] == '\n' {
			return nil
		}
		if err != nil {
			return err
		}
	}
	return fmt.Errorf("expected an answer to PING, got %q", answer[:40])
}

// end waits for the connections that are being made, when the dialer's context has ended.
func (d *dials) end() {
	d.mu.Lock()   // a goroutine that is about to begin one has done so, or sees that it is over
	d.mu.Unlock() //lint:ignore SA2001 there is nothing to do but wait
	d.running.Wait()
}
