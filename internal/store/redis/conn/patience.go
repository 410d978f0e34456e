package conn

import (
	"errors"
	"net"
	"os"
	"time"
)

// mostPatience is how many times its limit a read takes at most, however little this process runs.
const mostPatience = 5

// patience makes the deadline of a read count only the time in which this process ran. An answer that has arrived, and that this
// process could not read yet, is not given up that way.
type patience struct {
	ran    func() time.Duration // nil: the deadline is that of the wall clock
	until  time.Duration        // by ran
	latest time.Time            // by the wall clock; zero: there is no deadline
}

// begin notes a deadline that was set at now.
func (p *patience) begin(deadline, now time.Time) {
	if p.ran == nil || deadline.IsZero() {
		p.latest = time.Time{}
		return
	}
	left := deadline.Sub(now)
	p.until, p.latest = p.ran()+left, now.Add(mostPatience*left)
}

// more returns how much longer a read may take whose deadline has passed.
func (p *patience) more() time.Duration {
	if p.latest.IsZero() {
		return 0
	}
	return min(p.until-p.ran(), time.Until(p.latest))
}

// read reads from a connection. When the deadline passes, the read goes on for as long as this process did not run.
func (p *patience) read(nc net.Conn, b []byte) (int, error) {
	for {
		n, err := nc.Read(b)
		if n > 0 || err == nil || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, err
		}
		more := p.more()
		if more <= 0 {
			return n, err
		}
		if late := nc.SetReadDeadline(time.Now().Add(max(more, time.Millisecond))); late != nil {
			return n, err
		}
	}
}
