package engine

import (
	"context"
	"slices"
	"sync"
)

// places are those of MaxLoads, or of the loads of one batch. Loads that find none wait in the order in which they came.
type places struct {
	mu    sync.Mutex
	free  int
	queue []*queued
}

// queued is a load that waits for a place.
type queued struct {
	of    *places
	load  *attempt
	begin func(place) // called once
	over  bool        // begin is called; guarded by places.mu
}

// place is what a load was given.
type place int

const (
	none      place = iota // its time limit has passed
	unlimited              // there is no limit
	own
	lent      // it runs on the place of a load that waits for it
	abandoned // nothing is to run: its last caller has left
)

// held reports whether a load has a place, so that loads which it waits for need none.
func (p place) held() bool { return p == own || p == lent }

// try takes a place if there is one.
func (p *places) try() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.free == 0 {
		return false
	}
	p.free--
	return true
}

// enqueue calls begin when there is a place. It returns nil if there was one already.
func (p *places) enqueue(l *attempt, begin func(place)) *queued {
	p.mu.Lock()
	if p.free > 0 {
		p.free--
		p.mu.Unlock()
		begin(own)
		return nil
	}
	q := &queued{of: p, load: l, begin: begin}
	p.queue = append(p.queue, q)
	p.mu.Unlock()
	if waits.queue(q) {
		q.give(lent)
	}
	return q
}

// wait takes a place, and waits for one until ctx ends. desert is called, as soon as the load waits, with what is to be called
// when its last caller has left.
func (p *places) wait(ctx context.Context, l *attempt, desert func(leave func())) place {
	turn := make(chan place, 1)
	q := p.enqueue(l, func(got place) { turn <- got })
	if q == nil {
		return <-turn
	}
	desert(func() { q.give(abandoned) })
	select {
	case got := <-turn:
		return got
	case <-ctx.Done():
		q.give(none)
		return <-turn
	}
}

// give ends the wait of a load, unless it has ended.
func (q *queued) give(what place) {
	p := q.of
	p.mu.Lock()
	if q.over {
		p.mu.Unlock()
		return
	}
	q.over = true
	if i := slices.Index(p.queue, q); i >= 0 {
		p.queue = slices.Delete(p.queue, i, i+1)
	}
	p.mu.Unlock()
	waits.unqueue(q)
	q.begin(what)
}

// leave gives back a place: to the load that has waited longest.
func (p *places) leave() {
	p.mu.Lock()
	if len(p.queue) == 0 {
		p.free++
		p.mu.Unlock()
		return
	}
	q := p.queue[0]
	p.queue = slices.Delete(p.queue, 0, 1)
	q.over = true
	p.mu.Unlock()
	waits.unqueue(q)
	q.begin(own)
}
