package memory

import (
	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/store"
)

// load is a collection on its way in: what chunks have brought, and what writers have done to it meanwhile. It is part of its
// lease, so whatever ends the one ends the other.
type load struct {
	elements *collection.Collection
	removed  map[string]struct{} // members that were taken out: no later chunk brings them
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

// add brings what was read into the load, as far as it is not known better: what ended meanwhile is newer.
func (l *load) add(es []store.Element) {
	for _, e := range es {
		if _, gone := l.removed[e.Member]; !gone {
			l.elements.AddNew(e)
		}
	}
}

// merge does to the load what was done to a member. False: it cannot, and the load must end.
func (l *load) merge(c store.Change) bool {
	if !l.of(c.Kind) {
		return false
	}
	change(l.elements, c)
	if c.Op != store.Remove {
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
