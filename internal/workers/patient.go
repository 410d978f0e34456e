package workers

import (
	"cmp"
	"context"
	"time"
)

// patient is a context without values that ends with its parent, or when this process has run for as long as was left at its
// start. An answer that has arrived, and that this process could not read yet, is not given up that way. It ends after five
// budgets in any case.
type patient struct {
	context.Context // ends with the parent or at the deadline
	parent          context.Context
	ran             func() time.Duration
	until           time.Duration // by ran
	latest          time.Time
}

// mostPatience is how many budgets a step waits at most, however little the process ran.
const mostPatience = 5

// Patient returns a context that ends with its parent, or after left. budget bounds by how much it may end later.
func Patient(parent context.Context, left, budget time.Duration, ran func() time.Duration) (context.Context, context.CancelFunc) {
	p := &patient{parent: parent, ran: ran, until: ran() + left, latest: time.Now().Add(left + (mostPatience-1)*budget)}
	var end context.CancelFunc
	p.Context, end = context.WithCancel(parent)
	timer := time.AfterFunc(left, func() { p.pass(end) })
	return p, func() { timer.Stop(); end() }
}

// pass ends the context, or waits for the rest.
func (p *patient) pass(end context.CancelFunc) {
	rest := min(p.until-p.ran(), time.Until(p.latest))
	if rest <= 0 || p.Context.Err() != nil {
		end()
		return
	}
	time.AfterFunc(max(rest, time.Millisecond), func() { p.pass(end) })
}

func (p *patient) Deadline() (time.Time, bool) { return p.latest, true }

// Value hides the context that is embedded from the package context, which would take its Err for that of this one.
func (p *patient) Value(any) any { return nil }

func (p *patient) Err() error {
	if p.Context.Err() == nil {
		return nil
	}
	return cmp.Or(p.parent.Err(), context.DeadlineExceeded)
}

// AfterFunc is used by the package context, which would otherwise start a goroutine for each context derived from this one.
func (p *patient) AfterFunc(f func()) (stop func() bool) { return context.AfterFunc(p.Context, f) }
