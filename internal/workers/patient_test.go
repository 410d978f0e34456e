package workers

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// A deadline passes when the process has run for as long as the budget; where it runs at all times, that is the budget. A process that
// hardly runs waits for five budgets.
func TestDeadlineOfAStalledProcess(t *testing.T) {
	for name, c := range map[string]struct {
		ran         float64 // share of the time in which the process runs
		least, most time.Duration
	}{
		"running":      {1, 23 * time.Millisecond, 25 * time.Millisecond},
		"half stalled": {0.5, 46 * time.Millisecond, 52 * time.Millisecond},
		"stopped":      {0, 120 * time.Millisecond, 126 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				d := NewPatientDeadlines(25*time.Millisecond, func() time.Duration { return time.Duration(c.ran * float64(time.Since(began))) })
				ctx := d.From(began)
				derived, cancel := context.WithTimeout(ctx, time.Minute)
				defer cancel()
				var called atomic.Bool
				context.AfterFunc(ctx, func() { called.Store(true) })
				if ctx.Err() != nil {
					t.Error("it has ended before it begins")
				}
				<-ctx.Done()
				if took := time.Since(began); took < c.least || took > c.most {
					t.Errorf("ended after %v, want %v to %v", took, c.least, c.most)
				}
				if end, ok := ctx.Deadline(); !ok || end.Before(time.Now()) {
					t.Errorf("its deadline %v, %v is before its end", end, ok)
				}
				synctest.Wait()
				for _, ctx := range []context.Context{ctx, derived} {
					if !errors.Is(ctx.Err(), context.DeadlineExceeded) || !errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
						t.Errorf("got %v, cause %v", ctx.Err(), context.Cause(ctx))
					}
				}
				if !called.Load() {
					t.Error("a function for its end was not called")
				}
			})
		})
	}
}

// A patient context ends with its parent, and has its error then.
func TestPatientEndsWithItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		caller, leave := context.WithCancel(t.Context())
		p, cancel := Patient(caller, time.Second, time.Second, func() time.Duration { return 0 })
		defer cancel()
		time.Sleep(100 * time.Millisecond)
		leave()
		<-p.Done()
		if !errors.Is(p.Err(), context.Canceled) {
			t.Errorf("got %v", p.Err())
		}
		time.Sleep(10 * time.Second) // its timer ends
	})
}
