// Package faultproxy is a TCP proxy for tests that harms what goes through it: it refuses, falls silent, is slow, or resets
// a connection in the middle of an answer.
//
// It is our own since the known ones do two things differently. Silence that ends must deliver what was sent meanwhile, as
// a network that comes back does, late copies of commands included; and a reset must come behind so many bytes of an
// answer, as a reset and not as an orderly end.
package faultproxy

import (
	"net"
	"sync"
	"time"
)

// Fault is what happens to the connections. The zero value is none. Requests are forwarded at once, except in silence.
type Fault struct {
	Silent  bool          // connections are taken, nothing passes; what was sent is delivered when it is over
	Latency time.Duration // each answer comes so much later
	Rate    int           // bytes of answers per second and connection; zero: no bound
	Cut     func() int    // after how many bytes of answers a connection is reset; asked once for each. Nil: never
}

// Proxy forwards connections to one address.
type Proxy struct {
	Addr   string // where it listens, also after Refuse and Accept
	target string

	mu    sync.Mutex
	ln    net.Listener // nil: refused
	fault Fault
	turn  chan struct{} // closed when fault changes
	pairs map[*pair]bool
	wg    sync.WaitGroup
}

// Start returns a proxy on a free port of 127.0.0.1.
func Start(target string) (*Proxy, error) {
	p := &Proxy{Addr: "127.0.0.1:0", target: target, turn: make(chan struct{}), pairs: make(map[*pair]bool)}
	if err := p.Accept(); err != nil {
		return nil, err
	}
	return p, nil
}

// Set changes what happens, to connections that stand as well.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	close(p.turn)
	p.turn = make(chan struct{})
	for pair := range p.pairs {
		pair.cut = f.cut()
	}
}

// cut is how many bytes of answers pass until the reset; -1: all.
func (f Fault) cut() int {
	if f.Cut == nil {
		return -1
	}
	return f.Cut()
}

// Refuse ends all connections, and refuses new ones until Accept.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != nil {
		p.ln.Close()
		p.ln = nil
	}
	for pair := range p.pairs {
		pair.end(true)
	}
}

// Accept takes connections again.
func (p *Proxy) Accept() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ln != nil {
		return nil
	}
	var ln net.Listener
	var err error
	for range 100 { // somebody's outgoing connection may have the port for a moment
		if ln, err = net.Listen("tcp", p.Addr); err == nil {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	if err != nil {
		return err
	}
	p.ln, p.Addr = ln, ln.Addr().String()
	p.wg.Go(func() { p.serve(ln) })
	return nil
}

// Close ends everything.
func (p *Proxy) Close() {
	p.Refuse()
	p.wg.Wait()
}

func (p *Proxy) serve(ln net.Listener) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		if p.ln != ln {
			p.mu.Unlock()
			c.Close()
			return
		}
		pair := &pair{p: p, client: c.(*net.TCPConn), ended: make(chan struct{}), cut: p.fault.cut()}
		p.pairs[pair] = true
		p.wg.Go(pair.run)
		p.mu.Unlock()
	}
}
