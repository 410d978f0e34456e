package engine_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/typed"
)

// closing calls a function behind a claim, before its answer is given.
type closing struct {
	store.Store
	claimed func()
}

func (s *closing) Acquire(ctx context.Context, claims []store.Claim) []store.Grant {
	out := s.Store.Acquire(ctx, claims)
	s.claimed()
	return out
}

func (s *closing) Close() {}

// A client that is closed while it claims gives back what it was granted: other processes must not wait for its end.
func TestCloseGivesBackLeases(t *testing.T) {
	m := memory.New(memory.Options{})
	defer m.Close()
	s := &closing{Store: m}
	sh := engine.NewShared(s, 5*time.Second, time.Second, slog.New(slog.DiscardHandler))
	c := typed.New(sh, typed.Config[string, []byte]{
		Key: func(k string) (string, error) { return k, nil },
		Load: func(ctx context.Context, _ string) ([]byte, error) {
			<-ctx.Done()
			return nil, ctx.Err()
		},
		Encode: func(v []byte) ([]byte, error) { return v, nil }, Decode: func(v []byte) ([]byte, error) { return v, nil },
		Policy: engine.Policy{TTL: time.Minute, LoadTimeout: time.Minute}, MaxValue: 100,
	})
	m.Acquire(t.Context(), []store.Claim{{Key: "elsewhere", Token: "t1", Lease: time.Minute}})
	closed := make(chan error, 1)
	s.claimed = func() {
		s.claimed = func() {}
		go func() { closed <- sh.Close(context.Background()) }()
		for { // until it is
			if _, err := c.Peek(t.Context(), "a"); errors.Is(err, engine.ErrClosed) {
				return
			}
			time.Sleep(time.Millisecond)
		}
	}
	for _, a := range c.GetMany(t.Context(), []string{"a", "b", "elsewhere"}) {
		if !errors.Is(a.Err, engine.ErrClosed) {
			t.Errorf("%+v", a)
		}
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
	for _, key := range []string{"a", "b"} {
		if g := m.Acquire(t.Context(), []store.Claim{{Key: key, Token: "t2", Lease: time.Minute}})[0]; g.State != store.Granted {
			t.Errorf("the lease of %q is left: %v", key, g.State)
		}
	}
}

// refusesOften refuses to release leases until it is asked for the fifth time, as a node does whose circuit was open for a moment.
type refusesOften struct {
	store.Store
	asked atomic.Int64
}

func (s *refusesOften) Release(ctx context.Context, leases []store.Lease) []store.Outcome {
	if s.asked.Add(1) < 5 {
		return slices.Repeat([]store.Outcome{{Err: store.ErrAway}}, len(leases))
	}
	return s.Store.Release(ctx, leases)
}

func (s *refusesOften) Close() {}

// The lease of a load that fails is given back, although the store refuses at first: also if the client is closed by then.
func TestReleaseIsRepeated(t *testing.T) {
	for _, closes := range []bool{false, true} {
		t.Run(fmt.Sprintf("closed %v", closes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := memory.New(memory.Options{})
				defer m.Close()
				s := &refusesOften{Store: m}
				sh := engine.NewShared(s, time.Second, time.Second, slog.New(slog.DiscardHandler))
				loads, fail := make(chan struct{}), make(chan struct{})
				c := typed.New(sh, typed.Config[string, []byte]{
					Key: func(k string) (string, error) { return k, nil },
					Load: func(context.Context, string) ([]byte, error) {
						close(loads)
						<-fail
						return nil, errors.New("the database is down")
					},
					Encode: func(v []byte) ([]byte, error) { return v, nil }, Decode: func(v []byte) ([]byte, error) { return v, nil },
					Policy: engine.Policy{TTL: time.Minute, LoadTimeout: time.Minute}, MaxValue: 100,
				})
				go c.Get(t.Context(), "a")
				<-loads
				if closes {
					go func() {
						synctest.Wait()
						close(fail)
					}()
				} else {
					close(fail)
					time.Sleep(time.Second)
				}
				if err := sh.Close(t.Context()); err != nil {
					t.Error(err)
				}
				if g := m.Acquire(t.Context(), []store.Claim{{Key: "a", Token: "t2", Lease: time.Minute}})[0]; g.State != store.Granted {
					t.Errorf("the lease is left: %v, after %d releases", g.State, s.asked.Load())
				}
			})
		})
	}
}
