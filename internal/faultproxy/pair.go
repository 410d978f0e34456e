package faultproxy

import (
	"net"
	"sync"
	"time"
)

// pair is a connection of a client and ours to the target.
type pair struct {
	p              *Proxy
	client, server *net.TCPConn
	once           sync.Once
	ended          chan struct{}
	cut            int // bytes of answers until the reset; -1: none. Guarded by p.mu
}

// chunk is what was read, and when it may be written.
type chunk struct {
	data []byte
	due  time.Time
}

const chunkSize = 16 << 10

// run forwards until either side has had enough.
func (c *pair) run() {
	defer func() {
		c.end(false)
		c.p.mu.Lock()
		delete(c.p.pairs, c)
		c.p.mu.Unlock()
	}()
	if c.pass() != nil { // silent: it does not even connect
		return
	}
	conn, err := net.DialTimeout("tcp", c.p.target, 5*time.Second)
	if err != nil {
		return
	}
	c.p.mu.Lock()
	c.server = conn.(*net.TCPConn)
	c.p.mu.Unlock()
	select {
	case <-c.ended: // before it knew of the server
		conn.Close()
		return
	default:
	}
	var wg sync.WaitGroup
	wg.Go(func() { c.forward(c.server, c.client, false) })
	wg.Go(func() { c.forward(c.client, c.server, true) })
	wg.Wait()
}

// end closes both sides, once; with a reset where the client is to see one.
func (c *pair) end(reset bool) {
	c.once.Do(func() {
		close(c.ended)
		if reset {
			_ = c.client.SetLinger(0)
		}
		c.client.Close()
		if c.server != nil {
			c.server.Close()
		}
	})
}

// forward reads and writes in two goroutines, so that latency does not cost throughput.
func (c *pair) forward(to, from *net.TCPConn, answers bool) {
	queue := make(chan chunk, 256)
	var wg sync.WaitGroup
	wg.Go(func() {
		for k := range queue {
			if !c.write(to, k, answers) {
				c.stop(answers)
				for range queue { // the reader is not to wait for us
				}
				return
			}
		}
		c.stop(false)
	})
	for {
		buf := make([]byte, chunkSize)
		n, err := from.Read(buf)
		if n > 0 {
			k := chunk{data: buf[:n]}
			if answers {
				c.p.mu.Lock()
				k.due = time.Now().Add(c.p.fault.Latency)
				c.p.mu.Unlock()
			}
			queue <- k
		}
		if err != nil {
			break
		}
	}
	close(queue)
	wg.Wait()
}

func (c *pair) stop(reset bool) {
	c.p.mu.Lock()
	defer c.p.mu.Unlock()
	c.end(reset)
}

// write writes when it is time to. False: the connection is over.
func (c *pair) write(to *net.TCPConn, k chunk, answers bool) bool {
	if !c.wait(time.Until(k.due)) || c.pass() != nil {
		return false
	}
	if !answers {
		_, err := to.Write(k.data)
		return err == nil
	}
	c.p.mu.Lock()
	rate, cut := c.p.fault.Rate, c.cut
	if cut >= 0 {
		c.cut = max(0, cut-len(k.data))
	}
	c.p.mu.Unlock()
	if cut >= 0 && cut <= len(k.data) {
		_, _ = to.Write(k.data[:cut]) // the connection ends in any case
		return false
	}
	for len(k.data) > 0 {
		n := len(k.data)
		if rate > 0 {
			n = min(n, 1+rate/50)
			if !c.wait(time.Duration(n) * time.Second / time.Duration(rate)) {
				return false
			}
		}
		if _, err := to.Write(k.data[:n]); err != nil {
			return false
		}
		k.data = k.data[n:]
	}
	return true
}

// pass waits while there is silence.
func (c *pair) pass() error {
	for {
		c.p.mu.Lock()
		silent, turn := c.p.fault.Silent, c.p.turn
		c.p.mu.Unlock()
		if !silent {
			return nil
		}
		select {
		case <-turn:
		case <-c.ended:
			return net.ErrClosed
		}
	}
}

// wait waits. False: the connection is over.
func (c *pair) wait(d time.Duration) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-c.ended:
		return false
	}
}
