package engine_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
	"github.com/nearside/nearside/internal/typed"
)

// renewals counts them, and has some fail.
type renewals struct {
	store.Store
	sent, leases atomic.Int64
	fail         func(n int64) bool
}

func (s *renewals) Renew(ctx context.Context, leases []store.Lease, life time.Duration) []store.Outcome {
	s.leases.Add(int64(len(leases)))
	if n := s.sent.Add(1); s.fail != nil && s.fail(n) {
		out := make([]store.Outcome, len(leases))
		for i := range out {
			out[i].Err = errors.New("not now")
		}
		return out
	}
	return s.Store.Renew(ctx, leases, life)
}

// pair opens two caches of two processes over one store, whose loads take a while.
func pair(t *testing.T, delay time.Duration, change func(*typed.Config[string, string])) (s *renewals, first, second *bench) {
	first = open(t, func(b *bench, c *typed.Config[string, string]) {
		s = &renewals{Store: b.store}
		b.store, b.delay = s, delay
		if change != nil {
			change(c)
		}
	})
	second = open(t, func(b *bench, c *typed.Config[string, string]) {
		b.store.Close()
		b.store, b.delay = s, delay
		if change != nil {
			change(c)
		}
	})
	return s, first, second
}

// A load that is over before its lease has to be renewed costs no command.
func TestOrdinaryLoadsAreNotRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, _ := pair(t, 100*time.Millisecond, nil)
		for i := range 100 {
			a.set(fmt.Sprint(i), "1")
			a.Get(t.Context(), fmt.Sprint(i))
		}
		want(t, "renewals", s.sent.Load(), 0)
	})
}

// A load of several lives of a lease is one for all processes, and is stored. With its end the renewals end.
func TestLongLoadsKeepTheirLease(t *testing.T) {
	for name, fail := range map[string]func(int64) bool{
		"": nil, "every other renewal fails": func(n int64) bool { return n%2 == 0 },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a, b := pair(t, 9*time.Second, nil)
				s.fail = fail
				var both sync.WaitGroup
				for _, c := range []*bench{a, b} {
					both.Go(func() {
						if v, err := c.Get(t.Context(), "a"); v != "1" || err != nil {
							t.Errorf("got %q, %v", v, err)
						}
					})
				}
				both.Wait()
				want(t, "loads", a.loads.Load()+b.loads.Load(), 1)
				want(t, "unfilled", a.Tally().Counts[tally.Unfilled]+b.Tally().Counts[tally.Unfilled], 0)
				n := s.sent.Load()
				if n < 9 || n > 36 {
					t.Errorf("%d renewals in 9 s", n)
				}
				time.Sleep(time.Minute)
				want(t, "renewals behind the load", s.sent.Load(), n)
			})
		})
	}
}

// Where renewals fail for longer than a lease lasts, another process loads. The first one's fill is refused.
func TestLeaseLapses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, b := pair(t, 5*time.Second, nil)
		s.fail = func(int64) bool { return true }
		b.delay = time.Millisecond
		done := make(chan string)
		go func() { v, _ := a.Get(t.Context(), "a"); done <- v }()
		time.Sleep(time.Second)
		began := time.Now()
		b.set("a", "2") // nobody is told
		if v, err := b.Get(t.Context(), "a"); v != "2" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		if took := time.Since(began); took > store.LeaseLife {
			t.Errorf("it waited for %v", took)
		}
		n := s.sent.Load()
		want(t, "the first one", <-done, "1")
		want(t, "renewals of a lease that has ended", s.sent.Load(), n)
		synctest.Wait()
		want(t, "unfilled", a.Tally().Counts[tally.Unfilled], 1)
		if e, err := a.Entry(t.Context(), "a"); e.Value != "2" || e.Source != engine.Store || err != nil {
			t.Errorf("got %+v, %v", e, err)
		}
	})
}

// The leases of loads that wait for their turn are renewed too: for one of MaxLoads, and in a batch without LoadMany.
func TestQueuedLoadsKeepTheirLeases(t *testing.T) {
	for name, maxLoads := range map[string]int{"a batch": 0, "MaxLoads": 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s, a, b := pair(t, time.Second, func(c *typed.Config[string, string]) { c.MaxLoads = maxLoads })
				keys := make([]string, 40)
				for i := range keys {
					keys[i] = fmt.Sprint("key", i)
					a.set(keys[i], "1")
					b.set(keys[i], "1")
				}
				if maxLoads > 0 { // a batch has half of the places, and all is loaded within LoadTimeout
					keys = keys[:16]
				}
				var both sync.WaitGroup
				for _, c := range []*bench{a, b} {
					both.Go(func() {
						for i, e := range c.Entries(t.Context(), keys) {
							if e.Err != nil || e.Entry.Value != "1" {
								t.Errorf("%s: %+v", keys[i], e)
							}
						}
					})
				}
				both.Wait()
				want(t, "loads", a.loads.Load()+b.loads.Load(), int64(len(keys)))
				want(t, "unfilled", a.Tally().Counts[tally.Unfilled]+b.Tally().Counts[tally.Unfilled], 0)
				if s.leases.Load() == 0 {
					t.Error("no lease was renewed")
				}
			})
		})
	}
}

// occupied is a store in which another has every lease. It can be made to fail.
type occupied struct {
	store.Store
	holder func() string
	fail   atomic.Bool
	claims atomic.Int64
}

func (s *occupied) Acquire(_ context.Context, claims []store.Claim) []store.Grant {
	s.claims.Add(1)
	out := make([]store.Grant, len(claims))
	for i := range out {
		if out[i] = (store.Grant{State: store.Waiting, Holder: s.holder()}); s.fail.Load() {
			out[i] = store.Grant{Err: errors.New("WRONGTYPE")}
		}
	}
	return out
}

// However a lease comes to stand, the wait for it has a bound: one that stays, and one that another program writes again and again.
func TestNoWaitWithoutBound(t *testing.T) {
	n := 0
	for name, c := range map[string]struct {
		holder func() string
		most   time.Duration
	}{
		"the same for ever":    {func() string { return "foo" }, 14 * time.Second},
		"without a name":       {func() string { return "" }, 14 * time.Second},
		"another at each look": {func() string { n++; return fmt.Sprint(n) }, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := open(t, func(b *bench, _ *typed.Config[string, string]) {
					b.store = &occupied{Store: b.store, holder: c.holder}
				})
				began := time.Now()
				if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
					t.Errorf("got %q, %v", v, err)
				}
				if took := time.Since(began); took > c.most {
					t.Errorf("it took %v, want %v at most", took, c.most)
				}
				want(t, "unfilled", b.Tally().Counts[tally.Unfilled], 1)
			})
		})
	}
}

// An error of the store while another's lease is waited for is an error, and not the name of a holder: the job loads at once.
func TestErrorsWhileWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &occupied{holder: func() string { return "foo" }}
		b := open(t, func(b *bench, _ *typed.Config[string, string]) { s.Store, b.store = b.store, s })
		began := time.Now()
		time.AfterFunc(time.Second, func() { s.fail.Store(true) })
		if v, err := b.Get(t.Context(), "a"); v != "1" || err != nil {
			t.Errorf("got %q, %v", v, err)
		}
		if took := time.Since(began); took < time.Second || took > 1200*time.Millisecond {
			t.Errorf("it took %v", took)
		}
	})
}

// refusing is a store that refuses to end leases.
type refusing struct {
	store.Store
	refuses atomic.Bool
}

func (s *refusing) Fill(ctx context.Context, fills []store.Fill) []store.Outcome {
	if s.refuses.Load() {
		return refused(len(fills))
	}
	return s.Store.Fill(ctx, fills)
}

func (s *refusing) Release(ctx context.Context, leases []store.Lease) []store.Outcome {
	if s.refuses.Load() {
		return refused(len(leases))
	}
	return s.Store.Release(ctx, leases)
}

func refused(n int) []store.Outcome {
	out := make([]store.Outcome, n)
	for i := range out {
		out[i].Err = errors.New("NOPERM")
	}
	return out
}

// A process does not wait for a lease of its own that it could not give back.
func TestOwnLeaseThatIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &refusing{}
		b := open(t, func(b *bench, c *typed.Config[string, string]) {
			s.Store, b.store = b.store, s
			c.LoadMany = func(ctx context.Context, ks []string) (map[string]string, error) {
				return map[string]string{"a": "1", "b": "1"}, nil
			}
		})
		b.delay = 0
		b.set("b", "1")
		s.refuses.Store(true)
		for try := range 3 {
			for what, read := range map[string]func(){
				"get":   func() { b.Get(t.Context(), "a") },
				"batch": func() { b.Entries(t.Context(), []string{"a", "b"}) },
			} {
				began := time.Now()
				read()
				if took := time.Since(began); took > 100*time.Millisecond {
					t.Errorf("%s %d took %v", what, try, took)
				}
			}
			synctest.Wait()
		}
		s.refuses.Store(false)
		time.Sleep(store.LeaseLife)
		b.Get(t.Context(), "a")
		if e, err := b.Entry(t.Context(), "a"); e.Source != engine.Store || err != nil {
			t.Errorf("got %+v, %v", e, err)
		}
	})
}

// Close ends loads and gives back their leases, renewed or not.
func TestCloseEndsRenewals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, a, _ := pair(t, time.Minute, nil)
		done := make(chan error)
		go func() { _, err := a.Get(t.Context(), "a"); done <- err }()
		time.Sleep(5 * time.Second)
		a.shared.Close(t.Context())
		if err := <-done; !errors.Is(err, engine.ErrClosed) {
			t.Errorf("got %v", err)
		}
		n := s.sent.Load()
		time.Sleep(time.Minute)
		want(t, "renewals behind Close", s.sent.Load(), n)
	})
}
