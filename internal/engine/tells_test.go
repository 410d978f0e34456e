package engine_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// slowToTell is a store that takes a while until it tells of changes, and notes when it was asked to tell of a key.
type slowToTell struct {
	store.Store
	takes time.Duration
	asked chan time.Time
}

func (s *slowToTell) Track(ctx context.Context, changed func(string), lost func()) (store.Tracking, error) {
	t, err := s.Store.Track(ctx, changed, lost)
	time.Sleep(s.takes)
	return &telling{t, s}, err
}

type telling struct {
	store.Tracking
	s *slowToTell
}

func (t *telling) Await(context.Context, []string) (<-chan struct{}, func(), error) {
	t.s.asked <- time.Now()
	return make(chan struct{}), func() {}, nil
}

// Who waits for another process' load while the store is not yet able to tell of it asks to be told as soon as it is, and
// not when it happens to look again.
func TestWaitersAreToldFromTheBeginning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowToTell{takes: 40 * time.Millisecond, asked: make(chan time.Time, 1)}
		b := open(t, func(b *bench, _ *typed.Config[string, string]) {
			s.Store, b.store = b.store, s
		})
		s.Acquire(t.Context(), []store.Claim{{Key: "a", Token: store.NewToken(), Lease: 10 * time.Second}})
		began := time.Now()
		ctx, leave := context.WithCancel(t.Context())
		defer leave()
		go b.Get(ctx, "a")
		if took := (<-s.asked).Sub(began); took != s.takes {
			t.Errorf("it asked after %v, the store could tell after %v", took, s.takes)
		}
	})
}
