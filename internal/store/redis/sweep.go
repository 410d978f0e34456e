package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/retry"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
	"github.com/nearside/nearside/internal/store/redis/reply"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

// A sweep finds the keys of a cache by SCAN, in two passes over each master: first every sidecar, then every value or
// collection.
//
// One pass over both would miss a fill. The cursor passes the place of the value, where there is nothing yet. Then a loader
// that has read the old row fills: the value is put behind the cursor, and the lease goes. The cursor comes to the place of
// the lease, finds nothing, and the old value stays.
//
// With two passes every lease that stood when the sweep began either is found by the first one, and its fill is rejected;
// or it became a value before the first pass ended. Such a value stands during the whole of the second pass, and SCAN
// promises to return what does. A lease that is taken while the sweep runs belongs to a load that began behind the writes
// that the sweep is about. An intent is like a lease: one that stood is dirty after the first pass, and its end puts nothing.
// Those of members stand beside the sidecar (E of keys.go) and go in the first pass too, whether there is a collection or not:
// their ends would be applied to one that is loaded behind it.

const (
	scanCount   = 500                                // keys that one SCAN looks at
	scanRate    = 10_000                             // keys per second and master, at most: a core of Redis scans a hundred times as many
	scanPause   = time.Second * scanCount / scanRate // from one SCAN to the next
	emptyPause  = scanPause / 10                     // the same if nothing is read meanwhile; see package history
	scanLimit   = time.Second                        // of one SCAN, and of the invalidation of what it found
	sidecarGlob = "*~[le]*"                          // all forms of keys.go; keyOf tells which are sidecars or members
)

// errMoved says that slots moved while they were swept: a key may have gone from a node that was not scanned yet to one that
// was.
var errMoved = errors.New("another server answers for some keys than at the beginning, or slots are on their way to another node: do it again")

// Sweep invalidates all keys that match a glob and that ours takes for one.
func (s *Store) Sweep(ctx context.Context, glob string, ours func(key string) bool) error {
	if err := s.unusable(); err != nil {
		return err
	}
	return (&sweep{s: s, glob: glob, ours: ours, pause: scanPause}).run(ctx)
}

// Empty implements store.Historic.
func (s *Store) Empty(ctx context.Context, glob string, ours func(key string) bool) error {
	if err := s.unusable(); err != nil {
		return err
	}
	return (&sweep{s: s, glob: glob, ours: ours, pause: emptyPause}).run(ctx)
}

// sweep is one run over all masters.
type sweep struct {
	s     *Store
	glob  string
	ours  func(key string) bool
	pause time.Duration
	paged func(pass int) // a test's; called behind each page
}

func (w *sweep) run(ctx context.Context) error {
	if err := store.CheckGlob(w.glob); err != nil {
		return err
	}
	if err := w.all(ctx, w.node); err != nil {
		return reply.Failed("sweep", w.glob, err)
	}
	return nil
}

// all visits all masters at once, and fails if slots moved meanwhile.
func (w *sweep) all(ctx context.Context, visit func(context.Context, rueidis.Client) error) error {
	before, err := w.settled(ctx)
	if err != nil {
		return err
	}
	masters, err := w.masters(before)
	if err != nil {
		return err
	}
	errs := make([]error, len(masters))
	var visits sync.WaitGroup
	for i, c := range masters {
		visits.Go(func() { errs[i] = visit(ctx, c) })
	}
	visits.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	after, err := w.settled(ctx)
	if err == nil && !slices.Equal(before, after) {
		err = errMoved
	}
	return err
}

// settled returns who serves which slots, if all of them answer and no slot is on its way from one to another.
func (w *sweep) settled(ctx context.Context) ([]topology.Span, error) {
	ctx, cancel := context.WithTimeout(ctx, scanLimit)
	defer cancel()
	spans, err := w.s.spans(ctx)
	if err != nil {
		return nil, err
	}
	if !topology.Complete(spans) {
		return nil, errors.New("not all masters answer")
	}
	if w.s.target.Mode != redisurl.Cluster {
		return spans, nil
	}
	masters, err := w.masters(spans)
	if err != nil {
		return nil, err
	}
	for _, c := range masters {
		text, err := c.Do(ctx, c.B().ClusterNodes().Build()).ToString()
		if reply.Denied(err) {
			w.s.problems.Add("the user %s may not run cluster nodes: a value that moves to another node while a cache is swept may be missed; grant it: %s",
				w.s.target.UserName(), w.s.target.Grant("+cluster|nodes"))
			continue
		}
		if err != nil {
			return nil, err
		}
		if strings.Contains(text, "->-") || strings.Contains(text, "-<-") { // a node shows what moves from it and to it
			return nil, errMoved
		}
	}
	return spans, nil
}

// masters returns a client for each master of spans.
func (w *sweep) masters(spans []topology.Span) (out []rueidis.Client, err error) {
	if w.s.target.Mode != redisurl.Cluster {
		return []rueidis.Client{w.s.c}, nil
	}
	nodes := w.s.c.Nodes()
	seen := make(map[string]bool)
	for _, sp := range spans {
		address := sp.Node.Address
		if seen[address] {
			continue
		}
		seen[address] = true
		if nodes[address] == nil {
			return nil, fmt.Errorf("the master %s is not connected yet", address)
		}
		out = append(out, nodes[address])
	}
	return out, nil
}

// node sweeps one master.
func (w *sweep) node(ctx context.Context, c rueidis.Client) error {
	matching := func(key string) bool {
		return store.Match(w.glob, key) && (w.ours == nil || w.ours(key))
	}
	err := w.pass(ctx, c, 1, sidecarGlob, func(name string) (string, bool) {
		key, ok := keyOf(name)
		return key, ok && matching(key)
	})
	if err != nil {
		return err
	}
	return w.pass(ctx, c, 2, w.glob, func(name string) (string, bool) { return name, matching(name) })
}

// pass scans all keys of a master, and invalidates those of the names that matter.
func (w *sweep) pass(ctx context.Context, c rueidis.Client, number int, glob string, keyOf func(name string) (string, bool)) error {
	return w.pages(ctx, c, glob, func(names []string) error {
		var keys []string
		for _, name := range names {
			if key, ok := keyOf(name); ok {
				keys = append(keys, key)
			}
		}
		if err := w.invalidate(ctx, keys); err != nil {
			return err
		}
		if w.paged != nil {
			w.paged(number)
		}
		return nil
	})
}

// pages scans all keys of a master, no faster than the pace.
func (w *sweep) pages(ctx context.Context, c rueidis.Client, glob string, each func(names []string) error) error {
	for cursor := uint64(0); ; {
		began := time.Now()
		page, err := w.page(ctx, c, cursor, glob)
		if err != nil {
			return fmt.Errorf("scan: %w", err)
		}
		if err := each(page.Elements); err != nil {
			return err
		}
		if cursor = page.Cursor; cursor == 0 {
			return nil
		}
		if !retry.Sleep(ctx, w.pause-time.Since(began)) {
			return ctx.Err()
		}
	}
}

func (w *sweep) page(ctx context.Context, c rueidis.Client, cursor uint64, glob string) (rueidis.ScanEntry, error) {
	ctx, cancel := context.WithTimeout(ctx, scanLimit)
	defer cancel()
	return c.Do(ctx, c.B().Scan().Cursor(cursor).Match(glob).Count(scanCount).Build()).AsScanEntry()
}

// invalidate goes by the cluster's client, which finds a key that has just moved, and notes what it did: a failover may lose it.
func (w *sweep) invalidate(ctx context.Context, keys []string) error {
	ctx, cancel := context.WithTimeout(ctx, scanLimit)
	defer cancel()
	for batch := range slices.Chunk(keys, 1000) {
		for _, o := range w.s.Invalidate(ctx, batch, 0) {
			if o.Err != nil {
				return o.Err
			}
		}
	}
	return nil
}
