// Package memory is the store in the process: the protocol of package store under a lock per shard, bounded in bytes.
//
// It is what runs where there is no Redis, and what users' tests run against, so it obeys testing/synctest: time is
// read from package time alone, and the one goroutine waits on a ticker.
//
// A key is one entry: value, sidecar and place in its shard's list. No two shards are ever locked at once; what belongs
// to all of them is atomic.
package memory

import (
	"context"
	"errors"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store"
)

const (
	defaultBytes = 256 << 20
	shards       = 64 // a power of two
)

// Options are the settings of a store.
type Options struct {
	MaxBytes int64 // of memory for all entries, what the runtime adds included; 256 MiB if zero

	Refuse func(context.Context) error // asked before each verb, which fails with its error; nil: none does
}

// Store keeps entries in memory. Over its bound it evicts values and remembered absences, those first that were not
// read since they were last looked at (SIEVE, https://www.usenix.org/conference/nsdi24/presentation/zhang-yazhuo).
// Leases and barriers are never evicted.
type Store struct {
	max    int64
	refuse func(context.Context) error
	start  time.Time
	seed   maphash.Seed

	used, values, evicted atomic.Int64
	drawn                 atomic.Int64 // the last number given to a writer
	trackers              trackers
	turn                  atomic.Uint64 // the shard that evicts next
	closed                atomic.Bool

	stop    chan struct{}  // closed by Close, ends the sweeper
	sweeper sync.WaitGroup // the sweeper alone

	shards [shards]shard
}

var _ store.Store = (*Store)(nil)

// New returns an empty store. Its goroutine runs until Close.
func New(o Options) *Store {
	s := &Store{max: o.MaxBytes, refuse: o.Refuse, start: time.Now(), seed: maphash.MakeSeed(), stop: make(chan struct{})}
	if s.max <= 0 {
		s.max = defaultBytes
	}
	for i := range s.shards {
		s.shards[i].init(s)
	}
	s.sweeper.Go(s.sweep)
	return s
}

// Ping returns nil while the store is open.
func (s *Store) Ping(ctx context.Context) error { return s.ready(ctx) }

// Usage counts what is there, and what has expired and was not swept yet. Absences count among the evicted.
func (s *Store) Usage(ctx context.Context) (store.Usage, error) {
	if err := s.ready(ctx); err != nil {
		return store.Usage{}, err
	}
	return store.Usage{Keys: s.values.Load(), Bytes: s.used.Load(), MaxBytes: s.max, Evicted: s.evicted.Load()}, nil
}

// Close forgets everything.
func (s *Store) Close() {
	if s.closed.Swap(true) {
		return
	}
	close(s.stop)
	s.sweeper.Wait()
	for i := range s.shards {
		sh := &s.shards[i]
		sh.mu.Lock()
		sh.init(s)
		sh.mu.Unlock()
	}
}

// ready returns the error of a call that must not begin. A deadline that has passed does not stop it: this store never
// waits, so the time went by while the process did not run.
func (s *Store) ready(ctx context.Context) error {
	if s.closed.Load() {
		return store.ErrClosed
	}
	if s.refuse != nil {
		if err := s.refuse(ctx); err != nil {
			return err
		}
	}
	if err := ctx.Err(); !errors.Is(err, context.DeadlineExceeded) {
		return err
	}
	return nil
}

// now is the time since the start: monotonic, and short.
func (s *Store) now() int64 { return int64(time.Since(s.start)) }

func (s *Store) shard(key string) *shard {
	return &s.shards[maphash.String(s.seed, key)&(shards-1)]
}

// trim evicts until the bound holds, one entry of one shard after the other. Where only leases and barriers are left
// there is nothing to evict.
func (s *Store) trim() {
	for barren := 0; s.used.Load() > s.max && barren < shards; barren++ {
		if s.shards[s.turn.Add(1)&(shards-1)].evict() {
			barren = -1
		}
	}
}

// sweep removes what has expired and is not asked for any more, all of it within a minute.
func (s *Store) sweep() {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			for i := range s.shards {
				s.shards[i].sweep(s.now())
			}
		case <-s.stop:
			return
		}
	}
}

// Recovered does nothing: it always answers.
func (s *Store) Recovered(func(context.Context) int) {}

// CheckKeys does nothing: all keys are ours.
func (s *Store) CheckKeys(context.Context, string) {}

// Problems returns nil: it can do all of the protocol.
func (s *Store) Problems() []string { return nil }
