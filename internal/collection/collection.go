// Package collection holds lists, sets, sorted sets and hashes in this process, with the meaning that Redis gives them. The
// memory store keeps its collections so; the engine answers from one what it could load and not store.
package collection

import (
	"math/bits"

	"github.com/tidwall/btree"

	"github.com/nearside/nearside/internal/store"
)

// Collection holds elements of one kind. It is not safe for concurrent changes; readers may be many.
//
// All kinds are one ordered tree, which can be copied cheaply and knows its elements by place, and a map from a member to
// where it is in the tree. A sorted set is ordered by score and then by member. All others are in the order in which their
// elements came: a number in place of the score.
type Collection struct {
	kind        store.Kind
	tree        *btree.BTreeG[store.Element]
	at          map[string]float64 // member -> score or number; nil of a list, whose elements may be there twice
	first, last float64            // the next numbers at the two ends
	bytes       int64
}

// New returns an empty collection.
func New(kind store.Kind) *Collection {
	c := &Collection{kind: kind, tree: btree.NewBTreeGOptions(less, btree.Options{Degree: degree, NoLocks: true}), last: 1}
	if kind != store.List {
		c.at = map[string]float64{}
	}
	return c
}

// degree of the tree. With 16 a rank takes longer and the nodes more memory, with 48 a change takes longer too.
const degree = 32

func less(a, b store.Element) bool {
	return a.Score < b.Score || a.Score == b.Score && a.Member < b.Member
}

// Kind is the shape of the collection.
func (c *Collection) Kind() store.Kind { return c.kind }

// Add puts an element in, or gives it another score or value; at the end of a list.
func (c *Collection) Add(e store.Element) { c.add(e, true) }

// AddNew puts an element in that is not there yet; at the end of a list.
func (c *Collection) AddNew(e store.Element) { c.add(e, false) }

func (c *Collection) add(e store.Element, replace bool) {
	if c.kind == store.List {
		c.PushBack(e.Member, 0)
		return
	}
	if c.kind != store.Hash {
		e.Value = ""
	}
	at, found := c.at[e.Member]
	switch {
	case found && !replace:
		return
	case found && c.kind == store.SortedSet:
		if at == e.Score {
			return
		}
		c.take(store.Element{Member: e.Member, Score: at})
	case found:
		e.Score = at
	case c.kind != store.SortedSet:
		e.Score = c.last
		c.last++
	}
	c.at[e.Member] = e.Score
	c.set(e)
}

// Remove takes a member out. Not of a list. True: it was there.
func (c *Collection) Remove(member string) bool {
	at, found := c.at[member]
	if found {
		delete(c.at, member)
		c.take(store.Element{Member: member, Score: at})
	}
	return found
}

// PushFront puts an element before the first of a list, which is then cut to most elements from there; zero: it is not.
func (c *Collection) PushFront(member string, most int64) {
	c.set(store.Element{Member: member, Score: c.first})
	c.first--
	for most > 0 && int64(c.tree.Len()) > most {
		e, _ := c.tree.PopMax()
		c.bytes -= c.cost(e)
	}
}

// PushBack is PushFront at the other end.
func (c *Collection) PushBack(member string, most int64) {
	c.set(store.Element{Member: member, Score: c.last})
	c.last++
	for most > 0 && int64(c.tree.Len()) > most {
		e, _ := c.tree.PopMin()
		c.bytes -= c.cost(e)
	}
}

// Has tells whether a member is there. In a list it looks at every element.
func (c *Collection) Has(member string) (found bool) {
	if c.kind != store.List {
		_, found = c.at[member]
		return found
	}
	c.tree.Scan(func(e store.Element) bool {
		found = e.Member == member
		return !found
	})
	return found
}

// Len is how many elements there are.
func (c *Collection) Len() int { return c.tree.Len() }

// Bytes is what the collection takes, about; TestBytes compares it with the heap.
func (c *Collection) Bytes() int64 { return emptyCost + c.bytes }

const (
	emptyCost    = 512
	elementCost  = 40 * 3 / 2 // a place in the tree, whose nodes are two thirds full
	sequenceCost = 40 * 2     // the same where all came at an end: then they are half full
	placeCost    = 44         // a place in the map
)

func (c *Collection) cost(e store.Element) int64 {
	n := rounded(len(e.Member)) + rounded(len(e.Value))
	switch c.kind {
	case store.List:
		return n + sequenceCost
	case store.SortedSet:
		return n + elementCost + placeCost
	}
	return n + sequenceCost + placeCost
}

// rounded is about what the runtime allocates for a string.
func rounded(n int) int64 {
	step := max(8, 1<<bits.Len(uint(n))>>4)
	return int64((n + step - 1) &^ (step - 1))
}

func (c *Collection) set(e store.Element) {
	if old, replaced := c.tree.Set(e); replaced {
		c.bytes -= c.cost(old)
	}
	c.bytes += c.cost(e)
}

func (c *Collection) take(e store.Element) {
	if old, found := c.tree.Delete(e); found {
		c.bytes -= c.cost(old)
	}
}
