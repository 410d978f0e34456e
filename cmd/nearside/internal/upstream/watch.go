package upstream

import (
	"context"
	"net"
	"sync"
	"time"
)

const (
	suspectAfter = 25 * time.Millisecond // a node that takes longer is asked whether it answers at all, as reads ask it
	watchPause   = 25 * time.Millisecond // between two looks at the exchanges that are under way
	awayFor      = 3 * time.Second       // that a command waits for a node that is known not to answer: it may go on
)

// watcher looks after all exchanges with one node. It interrupts one whose caller has left, whose time is over, or whose node has been
// unavailable for awayFor. A command that takes long is not touched while the node answers others.
//
// One timer for all of them, and no deadline and no context for each, leaves a command with little more than what it is sent and
// read with. They end up to watchPause late.
type watcher struct {
	p       *Pool
	address string

	mu      sync.Mutex // guards the rest, and the exchanges
	first   *underWay
	n       int // exchanges
	ticking bool
	timer   *time.Timer
	asking  bool      // the node is being asked whether it answers
	away    time.Time // since when it has not; zero: it does
	why     error
}

// underWay is one exchange.
type underWay struct {
	w          *watcher
	ctx        context.Context
	prev, next *underWay

	began    time.Time
	deadline time.Time // zero: none at the moment
	nc       net.Conn  // nil: it has none yet
	cancel   context.CancelCauseFunc

	interrupted bool
	cause       error // nil: its time was over
}

// watch begins to look after an exchange. done must be called.
func (p *Pool) watch(ctx context.Context, address string) (x *underWay, crowded bool) {
	p.mu.Lock()
	w := p.watchers[address]
	if w == nil {
		w = &watcher{p: p, address: address}
		p.watchers[address] = w
	}
	p.mu.Unlock()
	x = &underWay{w: w, ctx: ctx, began: time.Now()}
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.next = w.first; x.next != nil {
		x.next.prev = x
	}
	w.first = x
	w.n++
	if !w.ticking {
		w.ticking = true
		if w.timer == nil {
			w.timer = time.AfterFunc(watchPause, w.tick)
		} else {
			w.timer.Reset(watchPause)
		}
	}
	return x, w.n > 1
}

// waiting returns a context for what has to be waited for before there is a connection. leave must be called.
func (x *underWay) waiting() (_ context.Context, leave context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(x.ctx)
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	if x.cancel = cancel; x.interrupted {
		cancel(x.cause)
	}
	return ctx, func() { cancel(nil) }
}

// use says on which connection it goes on. The server has its time from now on.
func (x *underWay) use(nc net.Conn) {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.nc, x.deadline = nc, time.Now().Add(timeout)
	if x.interrupted {
		nc.SetDeadline(past)
	}
}

// pause stops the server's time, until renew: the client is waited for.
func (x *underWay) pause() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.deadline = time.Time{}
}

// renew gives the server time for the next part.
func (x *underWay) renew() {
	x.w.mu.Lock()
	defer x.w.mu.Unlock()
	x.deadline = time.Now().Add(timeout)
}

// done ends the watch. interrupted says that the deadline of the connection is past; cause is why, nil if the server took too long.
func (x *underWay) done() (interrupted bool, cause error) {
	w := x.w
	w.mu.Lock()
	defer w.mu.Unlock()
	if x.prev != nil {
		x.prev.next = x.next
	} else {
		w.first = x.next
	}
	if x.next != nil {
		x.next.prev = x.prev
	}
	w.n--
	return x.interrupted, x.cause
}

var past = time.Unix(1, 0)

// interrupt ends what the exchange waits for.
func (x *underWay) interrupt(cause error) {
	x.interrupted, x.cause = true, cause
	if x.cancel != nil {
		x.cancel(cause)
	}
	if x.nc != nil {
		x.nc.SetDeadline(past)
	}
}

func (w *watcher) tick() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.first == nil {
		w.ticking, w.away = false, time.Time{}
		return
	}
	now, slow := time.Now(), false
	for x := w.first; x != nil; x = x.next {
		since := x.began
		if w.away.After(since) {
			since = w.away
		}
		switch {
		case x.interrupted:
		case x.ctx.Err() != nil:
			x.interrupt(context.Cause(x.ctx))
		case !w.away.IsZero() && now.Sub(since) >= awayFor:
			x.interrupt(w.why)
		case !x.deadline.IsZero() && now.After(x.deadline):
			x.interrupt(nil)
		default:
			slow = slow || now.Sub(x.began) >= suspectAfter
		}
	}
	if slow && !w.asking {
		w.asking = true
		go w.ask()
	}
	w.timer.Reset(watchPause)
}

// ask asks the node whether it answers.
func (w *watcher) ask() {
	err := w.p.route.Suspect(w.p.ctx, w.address)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asking = false
	switch {
	case err == nil:
		w.away = time.Time{}
	case w.away.IsZero():
		w.away = time.Now()
	}
	w.why = err
}
