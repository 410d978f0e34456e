package respserver

import (
	"sync"
	"time"
)

// headDelay is how long replies wait for a batch behind them. Most batches are answered by then, and one write in place of
// two is a fifth of what a pipeline with a miss costs; but a load may take its time, and nobody is to wait for that whose
// reply is there.
const headDelay = 5 * time.Millisecond

// A head is the replies in front of a batch of GETs. It is sent by itself if the batch takes long.
type head struct {
	mu    sync.Mutex // before Conn.mu
	timer *time.Timer
	c     *Conn // nil: nothing is to be sent
	b     []byte
	sent  bool
}

// arm has b sent after headDelay, unless disarm comes first. The connection writes nothing else until then.
func (h *head) arm(c *Conn, b []byte) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.c, h.b = c, b
	if h.timer == nil {
		h.timer = time.AfterFunc(headDelay, h.send)
	} else {
		h.timer.Reset(headDelay)
	}
}

// send may come late, when another head is armed already: that one is then sent a little early.
func (h *head) send() {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.c != nil {
		h.c.send(h.b)
		h.c, h.b, h.sent = nil, nil, true
	}
}

// disarm reports whether what was armed last was sent; false if nothing was.
func (h *head) disarm() (sent bool) {
	if h.timer != nil {
		h.timer.Stop()
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	sent, h.sent, h.c, h.b = h.sent, false, nil, nil
	return sent
}
