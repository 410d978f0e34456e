package collection

import (
	"fmt"
	"math"
	"strings"

	"github.com/tidwall/btree"

	"github.com/nearside/nearside/internal/store"
)

// Query answers a query; Found is true, Key and TTL are the caller's business. Intersect needs the other collection: see
// IntersectWith. An error says that the query has no meaning.
func (c *Collection) Query(q store.Query) store.View {
	v, s := c.plan(q)
	s.read(c.tree, &v)
	return v
}

// Answer is Query in two steps: what it returns does the part that takes long, and may run while the collection changes.
func (c *Collection) Answer(q store.Query) func() store.View {
	v, s := c.plan(q)
	if s.n <= atOnce {
		s.read(c.tree, &v)
		return func() store.View { return v }
	}
	tree := c.tree.IsoCopy() // shares all nodes: whoever changes one makes a new one
	return func() store.View {
		s.read(tree, &v)
		return v
	}
}

// atOnce is how many elements Answer reads itself: some 20 µs of them.
const atOnce = 500

// IntersectWith returns the members of both.
func (c *Collection) IntersectWith(other *Collection) (both []store.Element) {
	c.tree.Scan(func(e store.Element) bool {
		if other.Has(e.Member) {
			both = append(both, c.shown(e))
		}
		return true
	})
	return both
}

// shown is an element as it was put in.
func (c *Collection) shown(e store.Element) store.Element {
	if c.kind != store.SortedSet {
		e.Score = 0
	}
	return e
}

// span is the elements that a view shows: places of the tree.
type span struct {
	c       *Collection
	from, n int
	reverse bool   // the places count from the end
	glob    string // of members; empty: all
}

// read appends the elements to a view.
func (s span) read(tree *btree.BTreeG[store.Element], v *store.View) {
	if s.n <= 0 {
		return
	}
	if s.glob == "" {
		v.Elements = make([]store.Element, 0, s.n)
	}
	left := s.n
	take := func(e store.Element) bool {
		if s.glob == "" || store.Match(s.glob, e.Member) {
			v.Elements = append(v.Elements, s.c.shown(e))
		}
		left--
		return left > 0
	}
	switch {
	case s.reverse && s.from == 0:
		tree.Reverse(take)
	case s.reverse:
		e, _ := tree.GetAt(tree.Len() - 1 - s.from)
		tree.Descend(e, take)
	case s.from == 0:
		tree.Scan(take)
	default:
		e, _ := tree.GetAt(s.from)
		tree.Ascend(e, take)
	}
}

// parts says which kinds have a part; what is not listed, all have.
var parts = map[store.Part]func(store.Kind) bool{
	store.Pick:      func(k store.Kind) bool { return k != store.List },
	store.Scan:      func(k store.Kind) bool { return k != store.List },
	store.ByRank:    func(k store.Kind) bool { return k == store.List || k == store.SortedSet },
	store.ByScore:   sorted,
	store.ByMember:  sorted,
	store.Count:     sorted,
	store.Rank:      sorted,
	store.Around:    sorted,
	store.Intersect: func(k store.Kind) bool { return k == store.Set },
}

func sorted(k store.Kind) bool { return k == store.SortedSet }

// plan answers a query but for the elements of the span.
func (c *Collection) plan(q store.Query) (v store.View, s span) {
	v.Found = true
	s = span{c: c, reverse: q.Reverse && c.kind == store.SortedSet}
	if has := parts[q.Part]; has != nil && !has(c.kind) {
		v.Err = fmt.Errorf("%w of %q: a %s has no part %d", store.ErrQuery, q.Key, c.kind, q.Part)
		return v, s
	}
	n := c.tree.Len()
	switch q.Part {
	case store.All:
		s.n, s.reverse = n, false
	case store.Scan: // all of it at once, so there is nothing to go on with
		s.n, s.reverse, s.glob = n, false, q.Match
	case store.Size:
		v.N = int64(n)
	case store.Pick:
		c.pick(q.Names, &v)
	case store.ByRank:
		s.places(q.From, q.To, n)
	case store.ByScore, store.Count:
		if math.IsNaN(q.Min.Score) || math.IsNaN(q.Max.Score) {
			v.Err = fmt.Errorf("%w of %q: a bound of the scores is no number", store.ErrQuery, q.Key)
			break
		}
		from, to := c.scores(q.Min, q.Max)
		if q.Part == store.Count {
			v.N = int64(to - from)
			break
		}
		s.between(from, to, n, q)
	case store.ByMember:
		from, to, err := c.members(q.MinMember, q.MaxMember)
		if err != nil {
			v.Err = fmt.Errorf("%w of %q: %w", store.ErrQuery, q.Key, err)
			break
		}
		s.between(from, to, n, q)
	case store.Rank, store.Around:
		c.around(q, n, &v, &s)
	}
	return v, s
}

func (c *Collection) pick(names []string, v *store.View) {
	v.Elements, v.Has = make([]store.Element, len(names)), make([]bool, len(names))
	for i, name := range names {
		at, found := c.at[name]
		if !found {
			continue
		}
		v.Has[i], v.Elements[i] = true, store.Element{Member: name, Score: at}
		if c.kind == store.Hash {
			v.Elements[i], _ = c.tree.Get(v.Elements[i])
		}
		v.Elements[i] = c.shown(v.Elements[i])
	}
}

// around is a member's place, and its neighbours' for Around.
func (c *Collection) around(q store.Query, n int, v *store.View, s *span) {
	v.N = -1
	if len(q.Names) != 1 {
		v.Err = fmt.Errorf("query of %q: expected one name, found %d", q.Key, len(q.Names))
		return
	}
	score, found := c.at[q.Names[0]]
	if !found {
		return
	}
	e := store.Element{Member: q.Names[0], Score: score}
	place := c.before(func(other store.Element) bool { return less(other, e) })
	if s.reverse {
		place = n - 1 - place
	}
	if q.Part == store.Rank {
		v.N, v.Elements = int64(place), []store.Element{e}
		return
	}
	near := int(min(max(q.To, 0), int64(n)))
	s.from = max(place-near, 0)
	s.n = min(place+near, n-1) - s.from + 1
	v.N = int64(s.from)
}

// places is what LRANGE and ZRANGE make of two places.
func (s *span) places(from, to int64, n int) {
	size := int64(n)
	if from < 0 {
		from = max(from+size, 0)
	}
	if to < 0 {
		to += size
	}
	to = min(to, size-1)
	if from <= to {
		s.from, s.n = int(from), int(to-from)+1
	}
}

// between is the places from and before to, but for those that Offset and Limit leave out.
func (s *span) between(from, to, n int, q store.Query) {
	if s.reverse {
		from, to = n-to, n-from
	}
	left := int64(to - from)
	if q.Offset < 0 || q.Offset >= left {
		return
	}
	left -= q.Offset
	if q.Limit > 0 {
		left = min(left, q.Limit)
	}
	s.from, s.n = from+int(q.Offset), int(left)
}

// before counts the elements for which f is true: those before a place. The tree finds an element by its place, which is slow
// beside a step to the next one: so the search ends in a walk.
func (c *Collection) before(f func(store.Element) bool) int {
	low, high := 0, c.tree.Len() // the place is between the two, both included
	for high-low > walk {
		middle := int(uint(low+high) / 2)
		if e, _ := c.tree.GetAt(middle); f(e) {
			low = middle + 1
		} else {
			high = middle
		}
	}
	if first, ok := c.tree.GetAt(low); ok {
		c.tree.Ascend(first, func(e store.Element) bool {
			if low == high || !f(e) {
				return false
			}
			low++
			return true
		})
	}
	return low
}

const walk = 64

// scores finds the places of the scores between two bounds: from, and the one behind the last.
func (c *Collection) scores(low, high store.Bound) (from, to int) {
	from = c.before(func(e store.Element) bool { return e.Score < low.Score || low.Exclusive && e.Score == low.Score })
	to = c.before(func(e store.Element) bool { return e.Score < high.Score || !high.Exclusive && e.Score == high.Score })
	return from, max(from, to)
}

// members is scores for members, where all scores are the same. Where they are not, it means as little as in Redis.
func (c *Collection) members(low, high string) (from, to int, err error) {
	lower, err := lexical(low)
	if err != nil {
		return 0, 0, err
	}
	upper, err := lexical(high)
	if err != nil {
		return 0, 0, err
	}
	from = c.before(func(e store.Element) bool { order := lower(e.Member); return order < 0 || order == 0 && low[0] == '(' })
	to = c.before(func(e store.Element) bool { order := upper(e.Member); return order < 0 || order == 0 && high[0] == '[' })
	return from, max(from, to), nil
}

// lexical returns how a member compares to a bound.
func lexical(bound string) (func(member string) int, error) {
	switch {
	case bound == "-":
		return func(string) int { return 1 }, nil
	case bound == "+":
		return func(string) int { return -1 }, nil
	case bound != "" && (bound[0] == '[' || bound[0] == '('):
		return func(member string) int { return strings.Compare(member, bound[1:]) }, nil
	}
	return nil, fmt.Errorf("the bound %.100q of members: expected -, +, [member or (member", bound)
}
