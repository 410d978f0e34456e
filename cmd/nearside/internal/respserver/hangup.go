package respserver

import (
	"context"
	"time"
)

// The goroutine of a connection does not read while a call of the handler runs, so it would not learn that the client has hung
// up, and the call would go on to wait for what nobody wants any more. So the server looks at the connections whose call lasts:
// whether the other side is closed. A client that closes its side alone, and waits for the reply, is taken for one that has
// hung up too: Redis does so with a client that waits.

// Gone returns a context that ends as that of the call does, and also when the client is seen to have hung up. It is for calls
// that may be given up: reads, and not writes, whose outcome would be unknown.
func (c *Conn) Gone() context.Context {
	if c.gone == nil {
		return context.Background()
	}
	return c.gone
}

// watch looks at clients whose call has begun before the last look.
func (s *Server) watch(stop <-chan struct{}) {
	tick := time.NewTicker(s.cfg.hangup)
	defer tick.Stop()
	for {
		select {
		case <-stop:
			return
		case <-tick.C:
			for _, c := range s.clients() {
				turns := c.turns.Load()
				if lasts := turns%2 == 1 && c.seen.Swap(turns) == turns; lasts && c.w.closed() {
					c.leave()
				}
			}
		}
	}
}
