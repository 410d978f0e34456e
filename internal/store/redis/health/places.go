package health

import (
	"context"
	"sync/atomic"
)

// The client keeps the commands of a connection in a ring of 4096. When that is full, one more waits without regard to its
// context. So commands are let in by places, fewer than the ring has, and whoever finds none waits with his context.
//
// A command whose caller has left stays in the ring until the server answers: its place is given back then, and not before.

// Each connection has places of its own: the client that tracks has another one to each node, with a ring of 1024. An answer on one
// connection says nothing about what is under way on the other.

// They leave a quarter of the ring to what is not counted: looks at the topology, probes, commands sent on by a node.
const (
	maxPlaces        = 3072
	maxTrackedPlaces = 768
)

// places are those of one connection. A batch takes one.
type places struct {
	most    int64
	taken   atomic.Int64
	left    atomic.Int64 // of those taken, by callers who have left before the answer
	waiting atomic.Int64
	free    chan struct{} // tells those who wait of a place; as large as there are places, so that nobody is forgotten
}

func newPlaces(most int64) places { return places{most: most, free: make(chan struct{}, most)} }

// take takes a place, and reports whether it had to wait. The error is ctx's.
func (p *places) take(ctx context.Context) (waited bool, err error) {
	if p.try() {
		return false, nil
	}
	p.waiting.Add(1)
	defer p.waiting.Add(-1)
	for !p.try() {
		select {
		case <-p.free:
		case <-ctx.Done():
			return true, ctx.Err()
		}
	}
	return true, nil
}

func (p *places) try() bool {
	for {
		n := p.taken.Load()
		if n >= p.most {
			return false
		}
		if p.taken.CompareAndSwap(n, n+1) {
			return true
		}
	}
}

// leave gives back the place of a command that was answered, or whose connection has ended, and the places of all who have
// left: a connection answers in order.
func (p *places) leave() {
	p.give(1)
	p.settle()
}

// settle gives back the places of those who have left.
func (p *places) settle() {
	if p.left.Load() != 0 {
		p.give(p.left.Swap(0))
	}
}

// abandon leaves without an answer.
func (p *places) abandon() { p.left.Add(1) }

func (p *places) give(n int64) {
	p.taken.Add(-n)
	for range min(n, p.waiting.Load()) {
		select {
		case p.free <- struct{}{}:
		default:
			return
		}
	}
}
