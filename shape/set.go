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

// SetConfig says how sets are loaded and kept.
type SetConfig[K comparable, T any] struct {
	// Load returns the members; none, or ErrNotFound, is an empty set. Load or Stream must be set.
	Load func(context.Context, K) ([]T, error)
	// Stream is Load for sets that are too large for a slice: members go to Redis while they are read.
	Stream func(context.Context, K) iter.Seq2[T, error]
	// LoadOne reads again whether one member is in, where writers of it overlapped. Without it the set is dropped then.
	LoadOne func(context.Context, K, T) (bool, error)

	Key    func(K) string // writes a key as text. Strings, integers, bools and encoding.TextMarshaler need none
	Member codec.Codec[T] // writes members. Text if nil for strings, numbers, bools and encoding.TextMarshaler, else JSON

	TTL         time.Duration // how long a set is fresh. 1 h if zero
	Stale       time.Duration // how much longer it is served while one process loads it anew, or when Load fails. Off if zero
	NotFoundTTL time.Duration // how long it is remembered that a set has no members. As long as TTL if zero; Off switches it off
	LoadTimeout time.Duration // of one load, and of the function given to Update. 10 s if zero
	SoftTimeout time.Duration // how long a read waits for a fresh set before it is given a stale one. Off if zero
	Refresh     float64       // how eagerly a set is loaded anew before it is stale; 1 is usual. Off if zero
	MaxLoads    int           // how many loads this process runs at once. No limit if zero
	Jitter      float64       // shortens each key's TTL by a share between 0 and this. 0.1 if zero, at most 1; Off switches it off
	MaxElements int           // how many members a load may bring; more are an error. 1,000,000 if zero

	// Hold is how long after an Invalidate nothing is cached: at least the lag of the replica that Load reads. Writes of single
	// members do not hold: where Load reads a replica, use Invalidate. Off if zero.
	Hold time.Duration

	// InDoubt is how long after an Update has failed its commit may still become visible; nearside.Config says more. Nothing of
	// the set is cached for that long. 1 min if zero.
	InDoubt time.Duration
}

func (c *SetConfig[K, T]) settings() settings {
	return settings{
		TTL: c.TTL, Stale: c.Stale, NotFoundTTL: c.NotFoundTTL, LoadTimeout: c.LoadTimeout, SoftTimeout: c.SoftTimeout,
		Refresh: c.Refresh, MaxLoads: c.MaxLoads, Jitter: c.Jitter, MaxElements: c.MaxElements, Hold: c.Hold, InDoubt: c.InDoubt,
	}
}

// Set is a cache of sets: who is friends with whom. It is safe for concurrent use.
type Set[K comparable, T any] struct {
	Collection[K]
	members members[K, T]
}

// NewSet makes a cache of sets whose keys are name, a colon, and the key: "friends:42". It panics as nearside.New does.
func NewSet[K comparable, T any](client *nearside.Client, name string, c SetConfig[K, T]) *Set[K, T] {
	s := new(Set[K, T])
	s.members = newMembers(&s.Collection, c.Member)
	e := typed.CollectionConfig[K]{Kind: store.Set, Load: loader(c.Load, c.Stream, s.element)}
	if c.LoadOne != nil {
		e.LoadOne = func(ctx context.Context, k K, member string) (e store.Element, ok bool, err error) {
			v, err := s.members.read(member)
			if err == nil {
				ok, err = c.LoadOne(ctx, k, v)
			}
			return store.Element{Member: member}, ok, err
		}
	}
	s.init(client, "NewSet", name, c.settings(), c.Key, e)
	return s
}

func (s *Set[K, T]) element(v T) (store.Element, error) {
	text, err := s.members.encode(v)
	return store.Element{Member: text}, err
}

// Has reports whether v is a member.
func (s *Set[K, T]) Has(ctx context.Context, k K, v T) (bool, error) {
	has, err := s.HasMany(ctx, k, v)
	return err == nil && has[0], err
}

// HasMany reports which of vs are members, in their order.
func (s *Set[K, T]) HasMany(ctx context.Context, k K, vs ...T) ([]bool, error) {
	names, err := s.members.textsOf(k, vs)
	if err != nil || len(vs) == 0 {
		return nil, err
	}
	v, err := s.e.Query(ctx, k, store.Query{Part: store.Pick, Names: names})
	return v.Has, err
}

// Members returns all members, in no order.
func (s *Set[K, T]) Members(ctx context.Context, k K) ([]T, error) {
	return s.members.plain(ctx, k, store.Query{Part: store.All})
}

// Peek returns all members that the store has, and never loads. It returns ErrNotFound if the store has no set.
func (s *Set[K, T]) Peek(ctx context.Context, k K) ([]T, error) {
	return peek(ctx, &s.members, k, store.Query{Part: store.All}, func(v T, _ store.Element) T { return v })
}

// Intersect returns the members that both sets have: friends in common. In a cluster Redis can do it for sets in one slot
// ("friends:{7}:..."); those of two slots are both read.
func (s *Set[K, T]) Intersect(ctx context.Context, a, b K) ([]T, error) {
	out, err := s.intersect(ctx, a, b)
	var bad undecodable
	if !errors.As(err, &bad) {
		return out, err
	}
	for _, k := range []K{a, b} { // who reads the whole has it loaded anew
		if _, err := s.Members(ctx, k); err != nil {
			return nil, err
		}
	}
	return s.intersect(ctx, a, b)
}

func (s *Set[K, T]) intersect(ctx context.Context, a, b K) ([]T, error) {
	both, err := s.e.Intersect(ctx, a, b)
	if err != nil {
		return nil, err
	}
	out := make([]T, len(both))
	for i, e := range both {
		if out[i], err = s.members.read(e.Member); err != nil {
			return nil, s.members.undecodable(a, e.Member, err)
		}
	}
	return out, nil
}

// Add tells that members were added, after the commit. Of an Add and a Remove of one member the later call wins, not the later
// commit: where that matters, use Update and Delete.
func (s *Set[K, T]) Add(ctx context.Context, k K, vs ...T) error {
	return s.members.change(ctx, k, store.Add, vs)
}

// Remove tells that members were removed, after the commit; as Add.
func (s *Set[K, T]) Remove(ctx context.Context, k K, vs ...T) error {
	return s.members.change(ctx, k, store.Remove, vs)
}

// Update runs the database write that makes v a member; write holds the whole transaction, commit included. An error of write
// drops the set; what else follows from it is said at nearside.Cache.Update. ErrUnavailable: the database is written, and Redis
// could not be told.
func (s *Set[K, T]) Update(ctx context.Context, k K, v T, write func(context.Context) error) error {
	return s.members.update(ctx, k, v, store.Add, write)
}

// Delete is Update for a write after which v is no member.
func (s *Set[K, T]) Delete(ctx context.Context, k K, v T, write func(context.Context) error) error {
	return s.members.update(ctx, k, v, store.Remove, write)
}
