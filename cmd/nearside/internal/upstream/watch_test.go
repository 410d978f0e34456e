package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// mark is a connection that notes its deadline.
type mark struct {
	net.Conn
	past atomic.Bool
}

func (m *mark) SetDeadline(at time.Time) error { m.past.Store(at.Before(time.Now())); return nil }

// suspected is a node that does not answer, until it does.
type suspected struct {
	route
	answers atomic.Bool
	asked   atomic.Int64
}

func (s *suspected) Suspect(context.Context, string) error {
	if s.asked.Add(1); s.answers.Load() {
		return nil
	}
	return errors.New("unavailable")
}

// Exchanges are interrupted by their own time, by the end of their caller and by their node's absence, and not while a client is
// waited for.
func TestWatch(t *testing.T) {
	r := new(suspected)
	p := New(redisurl.Target{}, r)
	defer p.Close()
	ctx, leave := context.WithCancel(t.Context())
	for name, c := range map[string]struct {
		do   func(x *underWay)
		ends bool
		why  string
	}{
		"in time":                  {func(x *underWay) {}, false, ""},
		"too late":                 {func(x *underWay) { x.deadline = x.deadline.Add(-timeout - time.Second) }, true, ""},
		"too late, for its client": {func(x *underWay) { x.deadline = x.deadline.Add(-timeout - time.Second); x.deadline = time.Time{} }, false, ""},
		"for the next part":        {func(x *underWay) { x.deadline = time.Time{}; x.deadline = time.Now().Add(timeout) }, false, ""},
		"its caller has left":      {func(x *underWay) { x.ctx = ctx; leave() }, true, "context canceled"},
		"its node is away": {func(x *underWay) {
			x.w.away, x.w.why, x.began = time.Now().Add(-awayFor), errors.New("away"), time.Now().Add(-awayFor)
		}, true, "away"},
		"its node is away for a bit": {func(x *underWay) {
			x.w.away, x.w.why, x.began = time.Now().Add(-awayFor/2), errors.New("away"), time.Now().Add(-awayFor)
		}, false, ""},
		"new where the node was away": {func(x *underWay) { x.w.away, x.w.why = time.Now().Add(-time.Hour), errors.New("away") }, false, ""},
	} {
		x, _ := p.watch(t.Context(), name)
		nc := new(mark)
		x.use(nc)
		x.w.mu.Lock()
		x.w.timer.Stop()
		c.do(x)
		x.w.mu.Unlock()
		x.w.tick()
		x.w.tick() // it is interrupted once
		interrupted, why := x.done()
		if interrupted != c.ends || nc.past.Load() != c.ends || (why != nil || c.why != "") && fmt.Sprint(why) != c.why {
			t.Errorf("%s: %v, %v, deadline past: %v", name, interrupted, why, nc.past.Load())
		}
		x.w.mu.Lock()
		if x.w.timer.Stop(); x.w.first != nil || x.w.n != 0 {
			t.Errorf("%s: %d exchanges are left", name, x.w.n)
		}
		x.w.mu.Unlock()
	}

	// A node that takes long is asked, in the background.
	x, _ := p.watch(t.Context(), "node")
	nc := new(mark)
	x.use(nc)
	eventually.True(t, "the node is asked again and again", func() bool { return r.asked.Load() > 2 })
	r.answers.Store(true)
	eventually.True(t, "the node answers", func() bool { x.w.mu.Lock(); defer x.w.mu.Unlock(); return x.w.away.IsZero() })
	eventually.True(t, "the exchange ends, or not", func() bool { return time.Since(x.began) > awayFor+time.Second })
	if interrupted, why := x.done(); interrupted {
		t.Errorf("interrupted, though the node answers: %v", why)
	}
	eventually.True(t, "the watcher rests", func() bool { x.w.mu.Lock(); defer x.w.mu.Unlock(); return !x.w.ticking })
}
