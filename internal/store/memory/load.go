package memory

import (
	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/store"
)

// load is a collection on its way in: what chunks have brought, and what writers have done to it meanwhile. It is part of its
// lease, so whatever ends the one ends the other.
type load struct {
	elements *collection.Collection
	removed  map[string]struct{} // members that a later chunk must not bring
}

// mostRemoved bounds what a load remembers of removals; with more it is stopped.
const mostRemoved = 3000

func (c *sidecar) loading() *load {
	if c == nil {
		return nil
	}
	return c.load
}

func (l *load) of(kind store.Kind) bool { return l != nil && l.elements.Kind() == kind }

// merge does to the load what was done to a member. False: it cannot, and the load must end.
func (l *load) merge(c store.Change) bool {
	if !l.of(c.Kind) || c.Kind == store.List { // an element of a list that comes twice is there twice
		return false
	}
	change(l.elements, c)
	if c.Op == store.Add {
		delete(l.removed, c.Element.Member)
		return true
	}
	if l.removed == nil {
		l.removed = map[string]struct{}{}
	}
	l.removed[c.Element.Member] = struct{}{}
	return len(l.removed) <= mostRemoved
}

func change(elements *collection.Collection, c store.Change) {
	switch c.Op {
	case store.Add:
		elements.Add(c.Element)
	case store.Remove:
		elements.Remove(c.Element.Member)
	case store.PushFront:
		elements.PushFront(c.Element.Member, c.Cap)
	case store.PushBack:
		elements.PushBack(c.Element.Member, c.Cap)
	}
}

func (l *load) size() int64 { return 16 + l.elements.Bytes() + 64*int64(len(l.removed)) }
