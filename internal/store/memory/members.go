package memory

import (
	"slices"

	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/store"
)

// many is what an entry has if it is a collection's: the elements, and who writes members. It exists while it has one of them.
type many struct {
	elements *collection.Collection // nil: the key holds none
	writers  []*writer              // intents that stand
	clusters map[string]*cluster    // by member: intents that overlap, and may be told apart
	due      int64                  // the earliest deadline of a writer; zero: there is none
	back     int64                  // the end of life before writers shortened it; zero: they did not
	swaps    int                    // loads that ended
	dropped  float64                // the number drawn when the collection was dropped: who drew before knows less than a later load
	bytes    int64                  // of the writers
}

// writer is an intent of one member.
type writer struct {
	token, member string
	deadline      int64
	swaps         int      // at its begin
	number        float64  // drawn for it; zero: none
	cluster       *cluster // counts only while it is the member's
}

// cluster is the writers of one member that overlap, one after the other if not all at once.
type cluster struct {
	order     store.Order
	versioned bool
	version   float64 // of what was applied last: a version of the row, or a drawn number; if versioned
	writers   int
}

// disturbed is the order of writers that only drawn numbers tell apart.
const disturbed store.Order = 255

// disturb also forgets the version: numbers and versions of rows do not compare, and every number that is drawn from now on is
// newer than what was applied until now.
func (c *cluster) disturb() {
	if c.order != disturbed {
		c.order, c.versioned = disturbed, false
	}
}

// newer tells whether an end that is sure brings news, and remembers it.
func (c *cluster) newer(e store.MemberEnd, dropped float64) bool {
	if c.order != store.Versioned && c.order != disturbed {
		return true
	}
	if c.versioned && e.Version <= c.version || c.order == disturbed && e.Version <= dropped {
		return false
	}
	c.versioned, c.version = true, e.Version
	return true
}

func (s *Store) draw() float64 { return float64(s.drawn.Add(1)) }

func (m *many) empty() bool         { return m != nil && m.elements == nil && len(m.writers) == 0 }
func (m *many) late(now int64) bool { return m != nil && m.due != 0 && m.due <= now }

// kind is the shape of what a key holds.
func (e *entry) kind() store.Kind {
	if e.many == nil || e.many.elements == nil {
		return ""
	}
	return e.many.elements.Kind()
}

// typeOf is a kind as Redis names it.
func typeOf(k store.Kind) string {
	if k == "" {
		return "string"
	}
	return string(k)
}

// members is what an entry has of a collection. If nothing comes of it, it goes again.
func (e *entry) members() *many {
	if e.many == nil {
		e.many = &many{}
	}
	return e.many
}

func (m *many) writer(token string) *writer {
	for _, w := range m.writers {
		if w.token == token {
			return w
		}
	}
	return nil
}

// begin adds a writer, and puts it beside those of its member.
func (m *many) begin(in store.MemberIntent, deadline int64) {
	c := m.clusters[in.Member]
	switch {
	case c == nil:
		c = &cluster{order: in.Order}
		m.gather(in.Member, c)
	case in.Order != store.Versioned || c.order != in.Order:
		c.disturb()
	}
	c.writers++
	w := &writer{token: in.Token, member: in.Member, deadline: deadline, swaps: m.swaps, cluster: c}
	m.writers = append(m.writers, w)
	m.bytes += w.size()
	m.due = m.limit(deadline)
}

func (m *many) gather(member string, c *cluster) {
	if m.clusters == nil {
		m.clusters = map[string]*cluster{}
	}
	m.clusters[member] = c
}

// draw gives a writer a number; from now on only numbers count for its member.
func (m *many) draw(w *writer, number float64) {
	c := m.clusters[w.member]
	if c == nil {
		c = &cluster{}
		m.gather(w.member, c)
	}
	if w.cluster != c {
		w.cluster = c
		c.writers++
	}
	c.disturb()
	w.number = number
}

// take removes a writer, if it stands.
func (m *many) take(token string) {
	if w := m.writer(token); w != nil {
		m.remove(func(other *writer) bool { return other == w })
	}
}

// forget removes the writers whose deadline has passed. What they wrote is unknown, so the versions of the others in their
// clusters say nothing any more.
func (m *many) forget(now int64) {
	for _, w := range m.writers {
		if w.deadline <= now && w.cluster.writers > 1 {
			w.cluster.disturb()
		}
	}
	m.remove(func(w *writer) bool { return w.deadline <= now })
}

func (m *many) remove(gone func(*writer) bool) {
	m.due = 0
	m.writers = slices.DeleteFunc(m.writers, func(w *writer) bool {
		if !gone(w) {
			m.due = m.limit(w.deadline)
			return false
		}
		m.bytes -= w.size()
		if w.cluster.writers--; w.cluster.writers == 0 && m.clusters[w.member] == w.cluster {
			delete(m.clusters, w.member)
		}
		return true
	})
}

// unsure takes from all writers the knowledge of each other: the collection was invalidated.
func (m *many) unsure() {
	if m != nil {
		m.clusters = nil
	}
}

// limit is the end of a life, or the earliest deadline.
func (m *many) limit(until int64) int64 {
	if m.due == 0 {
		return until
	}
	return min(until, m.due)
}

// shorten lets a collection live no longer than a deadline, if there is one, and keeps what is to be given back.
func (m *many) shorten(e *entry, deadline int64) {
	if deadline == 0 {
		return
	}
	if m.back == 0 {
		m.back = e.until
	}
	e.until = min(e.until, deadline)
}

// giveBack lengthens the life to what the writers leave of it.
func (m *many) giveBack(e *entry) {
	if m.back != 0 {
		e.until = m.limit(m.back)
	}
	if len(m.writers) == 0 {
		m.back = 0
	}
}

// discard drops the collection for a writer whose change cannot be told from others, or who died. The load under way may lack
// the change, and so may the absence.
func (sh *shard) discard(e *entry) {
	sh.drop(e)
	e.members().dropped = sh.s.draw()
	if e.side.is(lease) || e.side.is(absent) {
		e.side = nil
	}
}

const (
	manyCost   = 80
	writerCost = 64 + 16 + 32 + 64 // the struct, its slot, a cluster and its place in the map
)

func (m *many) size() int64 {
	n := manyCost + m.bytes
	if m.elements != nil {
		n += m.elements.Bytes()
	}
	return n
}

func (w *writer) size() int64 { return writerCost + rounded(len(w.token)) + rounded(len(w.member)) }
