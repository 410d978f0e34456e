package engine

import (
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/near"
	"github.com/nearside/nearside/internal/store"
)

// What this process has loaded and filled is kept near as well, or the next read of it would go to the store. The loaded value
// itself cannot be kept: it was no tracked read, and the push of its own fill is still on its way. So it is read once more,
// behind the answer, together with all that was filled at about the same time.

const (
	readBackAfter = time.Millisecond // without a push: it is not tracked, or comes late and has the reservation void
	readBackMost  = 1000             // keys that wait; others are left to their next read
	readBackChunk = 100              // keys in one trip
)

// readBack are the keys that this process fills. The zero value is ready.
type readBack struct {
	mu      sync.Mutex     // guards the rest
	waiting map[string]any // for the push of their fill, by text; each with Key.Of
	ready   []Key
	wake    chan struct{} // something is ready
	running bool          // a goroutine comes for them
}

// pushed is called for each change that is told of.
func (b *readBack) pushed(key string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if of, ok := b.waiting[key]; ok {
		delete(b.waiting, key)
		b.ready = append(b.ready, Key{key, of})
		select {
		case b.wake <- struct{}{}:
		default:
		}
	}
}

// take returns what is to be read, all that waits included if late. Nothing, late: the goroutine is to end.
func (b *readBack) take(late bool) []Key {
	b.mu.Lock()
	defer b.mu.Unlock()
	if late {
		for key, of := range b.waiting {
			b.ready = append(b.ready, Key{key, of})
		}
		clear(b.waiting)
	}
	some := b.ready
	b.ready = nil
	b.running = !late || len(some) > 0
	return some
}

// readBack reads a key, which is about to be filled, when it has been.
func (c *Cache) readBack(k Key) {
	if c.near == nil || c.Shared.near.track.Load() == nil {
		return
	}
	b := &c.near.back
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting, b.wake = make(map[string]any), make(chan struct{}, 1)
	}
	if len(b.waiting)+len(b.ready) < readBackMost {
		b.waiting[k.Text] = k.Of
	}
	if !b.running {
		b.running = c.spawn(c.runReadBack)
	}
}

func (c *Cache) runReadBack() {
	b := &c.near.back
	timer := time.NewTimer(readBackAfter)
	defer timer.Stop()
	for {
		late := false
		select {
		case <-b.wake:
		case <-timer.C:
			late = true
			timer.Reset(readBackAfter)
		case <-c.Shared.ctx.Done():
			return
		}
		all := b.take(late)
		if late && len(all) == 0 {
			return
		}
		for some := range slices.Chunk(all, readBackChunk) {
			c.readFilled(some)
		}
	}
}

// readFilled reads keys and keeps them near.
func (c *Cache) readFilled(all []Key) {
	s := c.beginTrackedRead()
	if s.t == nil {
		return
	}
	var reserved []*near.Reservation
	var asked []Key
	var keys []string
	epoch := c.deferred.Epoch()
	for _, k := range all {
		if _, had := c.near.GetText(k.Text); had {
			continue // somebody has read it meanwhile
		}
		r, _ := c.reserve(s, k.Text)
		if c.recovery.Bypasses(k.Text) { // after the reservation: see Values.find
			c.near.Leave(r, false)
			continue
		}
		reserved, asked, keys = append(reserved, r), append(asked, k), append(keys, k.Text)
	}
	if len(keys) == 0 {
		return
	}
	for i, item := range s.t.GetMany(c.step(), keys, true) {
		if c.deferred.Overtaken(epoch) {
			item = store.Item{Err: errOvertaken}
		}
		c.keepFilled(s, reserved[i], asked[i], item)
	}
}

// keepFilled keeps what was read back. It copies for those who modify what they get, which may panic: nobody is called to blame.
func (c *Cache) keepFilled(s trackedRead, r *near.Reservation, k Key, item store.Item) {
	defer func() {
		if p := recover(); p != nil {
			c.ails.panics("Clone panicked: a value is not kept near", k.Text, p, debug.Stack())
		}
	}()
	var e Entry
	if v, err := c.strategy.decode(item.Value); item.Err == nil && item.Found && err == nil {
		e = c.newEntry(k, v, item.TTL)
	}
	c.completeReservation(s, r, e, item)
}
