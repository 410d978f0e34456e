package shape

import (
	"context"
	"fmt"
	"iter"
	"math"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/codec"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/typed"
)

// Scored is a member with its score.
type Scored[T any] struct {
	Member T
	Score  float64 // may be infinite, and not NaN
}

// SortedSetConfig says how sorted sets are loaded and kept.
type SortedSetConfig[K comparable, T any] struct {
	// Load returns the members with their scores, in any order; none, or ErrNotFound, is an empty set. Load or Stream must be set.
	// A member that comes twice has the first of its scores; beyond 10,000 members it may have either.
	Load func(context.Context, K) ([]Scored[T], error)
	// Stream is Load for sets that are too large for a slice: members go to Redis while they are read.
	Stream func(context.Context, K) iter.Seq2[Scored[T], error]
	// LoadOne reads the score of one member again, where writers of it overlapped; ErrNotFound if it is gone. Without it the set
	// is dropped then.
	LoadOne func(context.Context, K, T) (float64, error)
	// GrowingScores says that the score of a member never falls: of overlapping writers the higher one is right then, and
	// LoadOne is not needed.
	GrowingScores bool

	// Ascending puts the lowest score first: lap times. Else the highest is: points. Members of one score are in the order of
	// their text in Redis, or against it, as ZREVRANGE has them.
	Ascending bool

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

func (c *SortedSetConfig[K, T]) settings() settings {
	return settings{
		TTL: c.TTL, Stale: c.Stale, NotFoundTTL: c.NotFoundTTL, LoadTimeout: c.LoadTimeout, SoftTimeout: c.SoftTimeout,
		Refresh: c.Refresh, MaxLoads: c.MaxLoads, Jitter: c.Jitter, MaxElements: c.MaxElements, Hold: c.Hold, InDoubt: c.InDoubt,
	}
}

// SortedSet is a cache of sorted sets: leaderboards, top posts. Places count from 0, the first. It is safe for concurrent use.
type SortedSet[K comparable, T any] struct {
	Collection[K]
	members       members[K, T]
	reverse, grow bool
}

// NewSortedSet makes a cache of sorted sets whose keys are name, a colon, and the key: "leaderboard:chess". It panics as
// nearside.New does.
func NewSortedSet[K comparable, T any](client *nearside.Client, name string, c SortedSetConfig[K, T]) *SortedSet[K, T] {
	s := &SortedSet[K, T]{reverse: !c.Ascending, grow: c.GrowingScores}
	s.members = newMembers(&s.Collection, c.Member)
	e := typed.CollectionConfig[K]{Kind: store.SortedSet, Versioned: c.GrowingScores}
	e.Load = loader(c.Load, c.Stream, func(v Scored[T]) (store.Element, error) {
		text, err := s.members.encode(v.Member)
		return store.Element{Member: text, Score: v.Score}, err
	})
	if c.LoadOne != nil {
		e.LoadOne = func(ctx context.Context, k K, member string) (store.Element, bool, error) {
			v, err := s.members.read(member)
			if err != nil {
				return store.Element{}, false, err
			}
			score, err := c.LoadOne(ctx, k, v)
			if err == nil {
				err = s.ordered(k, member, score)
			}
			return store.Element{Member: member, Score: score}, err == nil, err
		}
	}
	s.init(client, "NewSortedSet", name, c.settings(), c.Key, e)
	return s
}

// scored is query for members with their scores.
func (s *SortedSet[K, T]) scored(ctx context.Context, k K, q store.Query) (out []Scored[T], place int, err error) {
	q.Reverse = s.reverse
	begin := func(n int) { out = make([]Scored[T], 0, n) }
	v, err := s.members.query(ctx, k, q, begin, func(m T, e store.Element) { out = append(out, Scored[T]{m, e.Score}) })
	return out, int(v.N), err
}

// Top returns the first n members.
func (s *SortedSet[K, T]) Top(ctx context.Context, k K, n int) ([]Scored[T], error) {
	if n <= 0 {
		return nil, nil
	}
	return s.Range(ctx, k, 0, n-1)
}

// Range returns the members from one place to another, both included; negative ones count from the end: 0, -1 are all.
func (s *SortedSet[K, T]) Range(ctx context.Context, k K, from, to int) ([]Scored[T], error) {
	out, _, err := s.scored(ctx, k, store.Query{Part: store.ByRank, From: int64(from), To: int64(to)})
	return out, err
}

// RangeByScore returns the members with scores from min to max, both included, in the order of the set; infinite bounds
// leave an end open. At most limit, all if it is zero.
func (s *SortedSet[K, T]) RangeByScore(ctx context.Context, k K, min, max float64, limit int) ([]Scored[T], error) {
	if err := s.bounds(k, min, max); err != nil {
		return nil, err
	}
	out, _, err := s.scored(ctx, k, store.Query{Part: store.ByScore, Min: store.Bound{Score: min}, Max: store.Bound{Score: max}, Limit: int64(limit)})
	return out, err
}

// Peek returns all members that the store has, in the order of the set, and never loads. It returns ErrNotFound if the store has no set.
func (s *SortedSet[K, T]) Peek(ctx context.Context, k K) ([]Scored[T], error) {
	q := store.Query{Part: store.ByRank, To: -1, Reverse: s.reverse}
	return peek(ctx, &s.members, k, q, func(v T, e store.Element) Scored[T] { return Scored[T]{v, e.Score} })
}

// Count returns how many members have scores from min to max, both included.
func (s *SortedSet[K, T]) Count(ctx context.Context, k K, min, max float64) (int, error) {
	if err := s.bounds(k, min, max); err != nil {
		return 0, err
	}
	v, err := s.e.Query(ctx, k, store.Query{Part: store.Count, Min: store.Bound{Score: min}, Max: store.Bound{Score: max}})
	return int(v.N), err
}

func (s *SortedSet[K, T]) bounds(k K, min, max float64) error {
	if math.IsNaN(min) || math.IsNaN(max) {
		return fmt.Errorf("scores of %.100q from %v to %v: expected bounds that are numbers, or infinite", s.Key(k), min, max)
	}
	return nil
}

// Rank returns the place of a member, 0 for the first. ErrNotFound if it is not in the set.
func (s *SortedSet[K, T]) Rank(ctx context.Context, k K, m T) (int, error) {
	name, err := s.members.textOf(k, m)
	if err != nil {
		return 0, err
	}
	v, err := s.e.Query(ctx, k, store.Query{Part: store.Rank, Names: []string{name}, Reverse: s.reverse})
	if err == nil && v.N < 0 {
		err = s.missing(k, name)
	}
	return int(v.N), err
}

func (s *SortedSet[K, T]) missing(k K, name string) error {
	return fmt.Errorf("the member %.100q of %.100q: %w", name, s.Key(k), nearside.ErrNotFound)
}

// Score returns the score of a member. ErrNotFound if it is not in the set.
func (s *SortedSet[K, T]) Score(ctx context.Context, k K, m T) (float64, error) {
	name, err := s.members.textOf(k, m)
	if err != nil {
		return 0, err
	}
	v, err := s.e.Query(ctx, k, store.Query{Part: store.Pick, Names: []string{name}})
	switch {
	case err != nil:
		return 0, err
	case !v.Has[0]:
		return 0, s.missing(k, name)
	}
	return v.Elements[0].Score, nil
}

// Around returns a member with up to n neighbours on either side, and the place of the first one returned. ErrNotFound if the
// member is not in the set.
func (s *SortedSet[K, T]) Around(ctx context.Context, k K, m T, n int) (near []Scored[T], place int, err error) {
	name, err := s.members.textOf(k, m)
	if err != nil {
		return nil, 0, err
	}
	near, place, err = s.scored(ctx, k, store.Query{Part: store.Around, Names: []string{name}, To: int64(max(n, 0))})
	if err == nil && len(near) == 0 {
		err = s.missing(k, name)
	}
	return near, place, err
}

// Add tells that a member has this score now, after the commit; if it is new, it comes in. Of two calls about one member the later wins, not the
// later commit: where that matters, use Update. A difference, such as 10 points more, is only right in Update: added
// after the commit it would count twice if a load came between.
func (s *SortedSet[K, T]) Add(ctx context.Context, k K, m T, score float64) error {
	name, err := s.members.textOf(k, m)
	if err == nil {
		err = s.ordered(k, name, score)
	}
	if err != nil {
		return err
	}
	return s.e.Write(ctx, k, store.Change{Op: store.Add, Element: store.Element{Member: name, Score: score}})
}

// Remove tells that members are gone, after the commit; as Add.
func (s *SortedSet[K, T]) Remove(ctx context.Context, k K, ms ...T) error {
	return s.members.change(ctx, k, store.Remove, ms)
}

// Update runs the database write that gives a member its score, and returns that; write holds the whole transaction, commit
// included. An error of write drops the set; what else follows from it is said at nearside.Cache.Update. ErrUnavailable: the
// database is written, and Redis could not be told. A score that is NaN is an error too, behind the write, and drops the set.
func (s *SortedSet[K, T]) Update(ctx context.Context, k K, m T, write func(context.Context) (float64, error)) (score float64, err error) {
	name, err := s.members.textOf(k, m)
	if err != nil {
		return 0, err
	}
	err = s.e.Update(ctx, k, name, func(ctx context.Context) (c store.Change, version float64, err error) {
		if score, err = write(ctx); err == nil {
			err = engine.Final(s.ordered(k, name, score)) // the set is dropped: the database is written, and the next load will say it
		}
		return store.Change{Op: store.Add, Element: store.Element{Member: name, Score: score}}, score, err
	})
	return score, err
}

// ordered returns an error for a score that is none.
func (s *SortedSet[K, T]) ordered(k K, name string, score float64) error {
	if math.IsNaN(score) {
		return fmt.Errorf("the score of %.100q in %.100q is NaN, which has no place in an order", name, s.Key(k))
	}
	return nil
}

// Delete is Update for a write that removes the member. With GrowingScores it drops the set: a member without a score cannot
// be told from one with an older one.
func (s *SortedSet[K, T]) Delete(ctx context.Context, k K, m T, write func(context.Context) error) error {
	op := store.Remove
	if s.grow {
		op = store.Drop
	}
	return s.members.update(ctx, k, m, op, write)
}
