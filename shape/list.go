package shape

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/codec"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// ListConfig says how lists are loaded and kept.
type ListConfig[K comparable, T any] struct {
	// Load returns the elements in their order; none, or ErrNotFound, is an empty list. Load or Stream must be set.
	Load func(context.Context, K) ([]T, error)
	// Stream is Load for lists that are too large for a slice.
	Stream func(context.Context, K) iter.Seq2[T, error]

	// Cap is how many elements a list has at most: what Load brings beyond is left out, and what Update pushes moves others
	// out at the far end. Let Load have the same limit. None if zero.
	Cap int
	// Back has Update push at the end of the list; else it pushes at the front: the newest first.
	Back bool

	Key     func(K) string // writes a key as text. Strings, integers, bools and encoding.TextMarshaler need none
	Element codec.Codec[T] // writes elements. Text if nil for strings, numbers, bools and encoding.TextMarshaler, else JSON

	TTL         time.Duration // how long a list is fresh. 1 h if zero
	Stale       time.Duration // how much longer it is served while one process loads it anew, or when Load fails. Off if zero
	NotFoundTTL time.Duration // how long it is remembered that a list has no elements. As long as TTL if zero; Off switches it off
	LoadTimeout time.Duration // of one load, and of the function given to Update. 10 s if zero
	SoftTimeout time.Duration // how long a read waits for a fresh list before it is given a stale one. Off if zero
	Refresh     float64       // how eagerly a list is loaded anew before it is stale; 1 is usual. Off if zero
	MaxLoads    int           // how many loads this process runs at once. No limit if zero
	Jitter      float64       // shortens each key's TTL by a share between 0 and this. 0.1 if zero, at most 1; Off switches it off
	MaxElements int           // how many elements a load may bring; more are an error. 1,000,000 if zero

	// Hold is how long after an Invalidate nothing is cached: at least the lag of the replica that Load reads. Writes of single
	// elements do not hold: where Load reads a replica, use Invalidate. Off if zero.
	Hold time.Duration

	// InDoubt is how long after an Update has failed its commit may still become visible; nearside.Config says more. Nothing of
	// the list is cached for that long. 1 min if zero.
	InDoubt time.Duration
}

func (c *ListConfig[K, T]) settings() settings {
	return settings{
		TTL: c.TTL, Stale: c.Stale, NotFoundTTL: c.NotFoundTTL, LoadTimeout: c.LoadTimeout, SoftTimeout: c.SoftTimeout,
		Refresh: c.Refresh, MaxLoads: c.MaxLoads, Jitter: c.Jitter, MaxElements: c.MaxElements, Hold: c.Hold, InDoubt: c.InDoubt, Cap: c.Cap,
	}
}

// List is a cache of lists: recent actions, a feed. It is safe for concurrent use.
type List[K comparable, T any] struct {
	Collection[K]
	members members[K, T]
	cap     int64
	push    store.Op
}

// NewList makes a cache of lists whose keys are name, a colon, and the key: "actions:42". It panics as nearside.New does.
func NewList[K comparable, T any](client *nearside.Client, name string, c ListConfig[K, T]) *List[K, T] {
	l := &List[K, T]{cap: int64(c.Cap), push: store.PushFront}
	l.members = newMembers(&l.Collection, c.Element)
	if c.Back {
		l.push = store.PushBack
	}
	from := loader(c.Load, c.Stream, func(v T) (store.Element, error) {
		text, err := l.members.encode(v)
		return store.Element{Member: text}, err
	})
	switch {
	case from == nil || c.Cap <= 0:
	case c.Back:
		from = last(from, c.Cap)
	default:
		from = first(from, c.Cap)
	}
	l.init(client, "NewList", name, c.settings(), c.Key, typed.CollectionConfig[K]{Kind: store.List, Load: from})
	return l
}

// Range returns the elements from one place to another, both included; negative ones count from the end: 0, -1 are all.
func (l *List[K, T]) Range(ctx context.Context, k K, from, to int) ([]T, error) {
	return l.members.plain(ctx, k, store.Query{Part: store.ByRank, From: int64(from), To: int64(to)})
}

// Peek returns all elements that the store has, and never loads. It returns ErrNotFound if the store has no list.
func (l *List[K, T]) Peek(ctx context.Context, k K) ([]T, error) {
	return peek(ctx, &l.members, k, store.Query{Part: store.All}, func(v T, _ store.Element) T { return v })
}

// Update runs the database write that appends a row, and pushes what it returns; write holds the whole transaction, commit
// included. If another Update of the list overlaps, or a load, their order is not known, and the list is dropped: the next read
// loads it. An error of write drops it too; what else follows from it is said at nearside.Cache.Update. So does, with an error, an
// element that cannot be written. ErrUnavailable: the database is written, and Redis could not be told.
//
// A row that was changed or deleted is a matter for Invalidate.
func (l *List[K, T]) Update(ctx context.Context, k K, write func(context.Context) (T, error)) (v T, err error) {
	err = l.e.Update(ctx, k, "", func(ctx context.Context) (c store.Change, version float64, err error) {
		if v, err = write(ctx); err != nil {
			return c, 0, err
		}
		text, err := l.members.encode(v)
		if err != nil {
			return c, 0, l.written(k, err)
		}
		return store.Change{Op: l.push, Element: store.Element{Member: text}, Cap: l.cap}, 0, nil
	})
	return v, err
}

type load[K comparable] = func(context.Context, K, func(store.Element) error) error

// errEnough ends a load early.
var errEnough = errors.New("the list has as many elements as it may")

// first leaves out what is beyond the first n.
func first[K comparable](from load[K], n int) load[K] {
	return func(ctx context.Context, k K, emit func(store.Element) error) error {
		left, failed := n, error(nil)
		err := from(ctx, k, func(e store.Element) error {
			switch {
			case failed != nil:
			case left == 0:
				failed = errEnough
			default:
				failed = emit(e)
				left--
			}
			return failed
		})
		if errors.Is(failed, errEnough) {
			return nil
		}
		return err
	}
}

// last leaves out what is before the last n.
func last[K comparable](from load[K], n int) load[K] {
	return func(ctx context.Context, k K, emit func(store.Element) error) error {
		var kept []store.Element // a ring when it is full
		next := 0
		err := from(ctx, k, func(e store.Element) error {
			if len(kept) < n {
				kept = append(kept, e)
				return nil
			}
			kept[next] = e
			next = (next + 1) % n
			return nil
		})
		for i := range kept {
			if err == nil {
				err = emit(kept[(next+i)%len(kept)])
			}
		}
		return err
	}
}
