package engine

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/tally"
)

// collections is the strategy of loads of collections: chunk by chunk into the store, under the lease.
type collections struct {
	c   *Cache
	cfg *CollectionConfig
}

func (s *collections) loadsMany() bool                          { return false }
func (s *collections) loadMany(context.Context, jobs, []Loaded) {}
func (s *collections) expire(Key, any) time.Duration            { return 0 }
func (s *collections) decode([]byte) (any, error)               { return contents{}, nil } // queries read it from the store

func (s *collections) fill(j *job, l *Loaded, ttl time.Duration) (fill store.Fill, why error) {
	c := s.c
	switch {
	case l.partial == nil:
		return store.Fill{Key: j.key, Token: j.token, Kind: c.kind, Last: l.last, TTL: ttl + c.Policy.Stale, Empty: c.NotFoundTTL}, nil
	case errors.Is(l.partial, errLost):
		c.reportNotStored(nil)
	default:
		c.count.Add(tally.StoreError)
		c.reportNotStored(l.partial)
	}
	c.countUnfilled(nil)
	return fill, l.partial
}

// contents is what a load of a collection tells those who wait for it.
type contents struct {
	local *collection.Collection // nil: the store has it
}

const (
	keptElements = 10_000  // of a collection that goes to the store, so that who waits for it need not look there
	keptBytes    = 4 << 20 // the same; more is left to the store alone
	chunkBytes   = 1 << 20 // of one chunk, or one element: what waits to be sent is no larger, whatever the loader emits
)

// chunksAtOnce is how many chunks are on their way to the store while the next one is gathered: one keeps Redis waiting for the
// loader, and the loader for Redis. The order of those of a list matters, so that there is one at a time.
const chunksAtOnce = 4

// errLost ends a load whose lease is gone, and of which too much is not kept in this process to go on without.
var errLost = errors.New("somebody has invalidated the collection while it was loaded")

// intake takes what a loader emits.
type intake struct {
	s       *Shared
	ctx     context.Context // of the load
	kind    store.Kind
	key     string
	token   string // of the lease; empty: nothing goes to the store
	keepAll bool   // all is kept in this process
	most    int    // elements

	chunk   []store.Element        // what is left of it at the end goes with the fill
	bytes   int                    // of chunk
	sent    []chan store.Outcome   // the chunks on their way: whether each was taken
	local   *collection.Collection // nil: too much
	n       int
	partial error // why some of it has not reached the store
	err     error // the first, which ends the load
}

// add is what the loader calls.
func (in *intake) add(e store.Element) error {
	if in.err != nil {
		return in.err
	}
	if in.n++; in.n > in.most {
		in.err = fmt.Errorf("more than %d elements (the limit of one collection); raise the limit, or load fewer", in.most)
		return in.err
	}
	if math.IsNaN(e.Score) {
		in.err = fmt.Errorf("the score of %.100q is NaN, which has no place in an order", e.Member)
		return in.err
	}
	if in.local != nil && in.kind != store.List && in.local.Has(e.Member) {
		return nil // the first holds, as in the store, whatever chunks the two would be in
	}
	if in.token != "" {
		in.chunk, in.bytes = append(in.chunk, e), in.bytes+len(e.Member)+len(e.Value)
		if len(in.chunk) == store.MaxChunk || in.bytes >= chunkBytes {
			in.send()
		}
	}
	if in.local != nil {
		in.local.Add(e)
		if in.token != "" && !in.keepAll && (in.local.Len() > keptElements || in.local.Bytes() > keptBytes) {
			in.local = nil
		}
	}
	if in.local == nil && in.token == "" && in.err == nil {
		in.err = errLost
	}
	return in.err
}

// send sends what was gathered. If the lease is gone, the load goes on for those who wait for it, if it can.
func (in *intake) send() {
	if len(in.chunk) == 0 || in.token == "" {
		return
	}
	most := chunksAtOnce
	if in.kind == store.List {
		most = 1
	}
	if in.arrive(most - 1); in.token == "" {
		return
	}
	c, taken := store.Chunk{Key: in.key, Token: in.token, Kind: in.kind, Elements: in.chunk}, make(chan store.Outcome, 1)
	send := func() {
		ctx, cancel := in.s.detached(in.ctx, in.s.WriteBudget)
		defer cancel()
		taken <- in.s.Store.Chunk(ctx, c)
	}
	if !in.s.spawn(send) {
		taken <- store.Outcome{Err: ErrClosed}
	}
	in.sent = append(in.sent, taken)
	in.chunk, in.bytes = make([]store.Element, 0, store.MaxChunk), 0
}

// arrive waits until no more than most chunks are on their way.
func (in *intake) arrive(most int) {
	for len(in.sent) > most {
		if o := <-in.sent[0]; !o.OK {
			in.token, in.chunk, in.partial = "", nil, cmp.Or(in.partial, o.Err, errLost)
		}
		in.sent = in.sent[1:]
	}
}

// load loads a collection: into the store if the job has a lease, and into this process as far as it is kept there.
func (s *collections) load(ctx context.Context, j *job) Loaded {
	in := &intake{
		s: s.c.Shared, ctx: ctx, kind: s.cfg.Kind, key: j.key, keepAll: j.keepAll, most: s.cfg.MaxElements, local: collection.New(s.cfg.Kind),
	}
	if j.leased {
		in.token = j.token
	}
	err := s.cfg.Load(ctx, j.k(), in.add)
	if in.arrive(0); in.err != nil {
		err = in.err // what its loader made of it is of no use
	}
	switch {
	case errors.Is(err, errLost):
		return Loaded{partial: in.partial}
	case errors.Is(err, ErrNotFound) && in.n == 0, err == nil:
		return Loaded{Value: contents{in.local}, partial: in.partial, last: in.chunk}
	case errors.Is(err, ErrNotFound):
		err = fmt.Errorf("the loader emitted %d elements, and then said that there are none: %v", in.n, err)
	}
	return Loaded{Err: err}
}
