package dash

import (
	"cmp"
	"context"
	"errors"
	"sync"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/check"
)

const (
	viewFresh = 2 * time.Second // how long what was read is shown to all who look
	infoFresh = 5 * time.Second
	infoLimit = 2 * time.Second // for the servers to answer
	readLimit = 5 * time.Second
	tries     = 8
	again     = 250 * time.Millisecond
)

// watch reads for all who look what they look at, once.
type watch struct {
	client *nearside.Client
	ctx    context.Context // ends what is being read

	view shared[*fleet.View]
	info shared[servers]
}

// shared is something that is read anew when it is asked for and old.
type shared[T any] struct {
	mu      sync.Mutex // guards the rest
	at      time.Time  // when it was read; zero: never
	value   T
	err     error
	reading chan struct{} // closed when the read under way ends; nil: there is none
}

// get returns what is fresh, or reads it. One caller reads, and others have what was read before meanwhile; they wait for it only if
// there is nothing yet.
func (s *shared[T]) get(fresh time.Duration, read func(before T, age time.Duration) (T, error)) (T, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	age := time.Since(s.at)
	switch {
	case !s.at.IsZero() && (age < fresh || s.reading != nil): // what is old is better than to wait for a server that is slow
		return s.value, s.err
	case s.reading != nil:
		reading := s.reading
		s.mu.Unlock()
		<-reading
		s.mu.Lock()
		return s.value, s.err
	}
	before, reading := s.value, make(chan struct{})
	s.reading = reading
	s.mu.Unlock()
	value, err := before, errPanicked
	defer func() {
		s.mu.Lock()
		s.value, s.err, s.at, s.reading = value, err, time.Now(), nil
		close(reading)
	}()
	value, err = read(before, age)
	return value, err
}

var errPanicked = errors.New("the read of it panicked")

var errNoFleet = errors.New("the client shares no statistics")

// look returns the fleet's view. An error beside a view tells why that is an old one. It does not end with who asks: others
// wait for it too.
func (w *watch) look() (*fleet.View, error) {
	reader := w.client.Fleet()
	if reader == nil {
		return nil, errNoFleet
	}
	return w.view.get(viewFresh, func(before *fleet.View, _ time.Duration) (v *fleet.View, err error) {
		ctx, cancel := context.WithTimeout(w.ctx, readLimit)
		defer cancel()
		for range tries {
			if v, err = reader.Read(ctx, fleet.Query{}); err == nil {
				for _, c := range v.Caches {
					err = cmp.Or(err, c.Err)
				}
			}
			if err == nil {
				return v, nil
			}
			select { // a breaker that opens for a moment is none of the reader's business
			case <-time.After(again):
			case <-w.ctx.Done():
				return before, err
			}
		}
		if v != nil {
			return v, nil // of some caches there are numbers, and of the others it is told why not
		}
		return before, err
	})
}

// servers are all servers behind the client, and how many keys each evicted in a second.
type servers struct {
	check.Servers
	evicting map[string]float64 // by address; none: it was seen once
}

func (w *watch) servers() servers {
	s, _ := w.info.get(infoFresh, func(before servers, age time.Duration) (servers, error) {
		ctx, cancel := context.WithTimeout(w.ctx, infoLimit)
		defer cancel()
		now := servers{check.Servers{Before: before.After, After: w.client.Inside().Shared.Store.Server(ctx), Apart: age}, make(map[string]float64)}
		for _, n := range now.After.Nodes {
			for _, old := range before.After.Nodes {
				if n.Address == old.Address && n.Err == nil && old.Err == nil && n.Evicted >= old.Evicted && age > 0 {
					now.evicting[n.Address] = float64(n.Evicted-old.Evicted) / age.Seconds()
				}
			}
		}
		return now, nil
	})
	return s
}
