package memory

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Query reads parts of collections. A long answer is read from a copy of the tree, which costs nothing until the collection
// changes, so that nobody waits for it.
func (s *Store) Query(ctx context.Context, queries []store.Query) []store.View {
	out, err := make([]store.View, len(queries)), s.ready(ctx)
	for i, q := range queries {
		switch {
		case err != nil:
			out[i].Err = err
		case q.Part == store.Intersect:
			out[i] = s.intersect(q)
		default:
			out[i] = s.query(q)
		}
	}
	return out
}

func (s *Store) query(q store.Query) (v store.View) {
	now, sh := s.now(), s.shard(q.Key)
	sh.mu.Lock()
	e := sh.live(q.Key, now)
	if e == nil || !e.found || e.kind() != q.Kind || q.Kind == "" {
		sh.mu.Unlock()
		return v
	}
	e.read = true
	ttl, answer := time.Duration(e.until-now), e.many.elements.Answer(q)
	sh.mu.Unlock()
	v = answer()
	v.TTL = ttl
	return v
}

// intersect looks at one collection after the other: no two shards are locked at once.
func (s *Store) intersect(q store.Query) store.View {
	v := s.query(store.Query{Key: q.Key, Kind: q.Kind, Part: store.All})
	if q.Kind != store.Set {
		v.Elements, v.Err = nil, fmt.Errorf("%w of %q: a %s cannot be intersected", store.ErrQuery, q.Key, q.Kind)
		return v
	}
	other := s.query(store.Query{Key: q.Other, Kind: q.Kind, Part: store.All})
	members := make(map[string]struct{}, len(other.Elements))
	for _, e := range other.Elements {
		members[e.Member] = struct{}{}
	}
	both := v.Elements[:0]
	for _, e := range v.Elements {
		if _, found := members[e.Member]; found {
			both = append(both, e)
		}
	}
	v.Elements, v.Other = both, other.Found
	return v
}

// Chunk adds to a load.
func (s *Store) Chunk(ctx context.Context, c store.Chunk) store.Outcome {
	if err := checkAll(c.Key, c.Elements); err != nil {
		return store.Outcome{Err: err}
	}
	return write(s, ctx, []store.Chunk{c}, func(c store.Chunk) bool {
		k := s.lock(c.Key)
		defer k.unlock()
		l := k.side.loading()
		if !k.side.has(c.Token) || !l.of(c.Kind) {
			return false
		}
		l.add(c.Elements)
		return true
	})[0]
}

// swap puts what was loaded in the place of a collection.
func (k *locked) swap(f store.Fill) bool {
	l := k.side.loading()
	if !l.of(f.Kind) {
		return false
	}
	l.add(f.Last)
	k.side = nil
	k.drop()
	m := k.members()
	m.swaps++
	if l.elements.Len() == 0 {
		if f.Empty > 0 {
			k.side = &sidecar{kind: absent, until: m.limit(after(k.now, f.Empty))}
		}
		return true
	}
	until := after(k.now, f.TTL)
	k.sh.put(k.entry, nil, until)
	k.value, m.elements = nil, l.elements
	m.shorten(k.entry, m.due)
	return true
}

// Write tells of members.
func (s *Store) Write(ctx context.Context, changes []store.Change) []store.Outcome {
	out := make([]store.Outcome, len(changes))
	for i, c := range changes {
		if c.Kind == store.List && c.Op != store.Drop {
			out[i].Err = fmt.Errorf("write of %q: a list takes no element that was not announced", c.Key)
		} else if out[i].Err = checkChange(c); out[i].Err == nil {
			out[i] = write(s, ctx, changes[i:i+1], s.write)[0]
		}
	}
	return out
}

func (s *Store) write(c store.Change) bool {
	k := s.lock(c.Key)
	defer k.unlock()
	if k.many != nil {
		delete(k.many.clusters, c.Element.Member) // its writers cannot tell any more who came last
	}
	if c.Op == store.Drop {
		k.discard()
		return false
	}
	k.merge(c)
	return true
}

// BeginMember announces a write of a member.
func (s *Store) BeginMember(ctx context.Context, in store.MemberIntent) store.Outcome {
	return write(s, ctx, []store.MemberIntent{in}, func(in store.MemberIntent) bool {
		k := s.lock(in.Key)
		defer k.unlock()
		m := k.members()
		if m.writer(in.Token) != nil {
			return true
		}
		for _, t := range in.Earlier {
			m.take(t)
		}
		due := after(k.now, in.Life)
		m.begin(in, due)
		if k.found && k.kind() == in.Kind {
			m.shorten(k.entry, due)
		}
		if k.side.is(absent) {
			k.side = nil
		}
		return true
	})[0]
}

// EndMember tells that a write of a member is over.
func (s *Store) EndMember(ctx context.Context, e store.MemberEnd) (out store.Ending) {
	if out.Err = s.ready(ctx); out.Err == nil {
		out.Err = checkChange(e.Change)
	}
	if out.Err != nil {
		return out
	}
	k := s.lock(e.Key)
	defer k.unlock()
	m := k.members()
	w := m.writer(e.Token)
	e.Again = e.Again && e.Kind != store.List // an element is pushed once, whatever a row says
	if e.Again && e.Op != store.Drop && w != nil && !k.sure(w, e) {
		out.Number = s.draw()
		m.draw(w, out.Number)
		return out
	}
	out.Applied = e.Op != store.Drop && w != nil && k.sure(w, e)
	newer := out.Applied && w.cluster.newer(e, m.dropped)
	m.take(e.Token)
	switch {
	case !out.Applied:
		if c := m.clusters[e.Member]; c != nil {
			c.disturb()
		}
		k.discard()
	case newer:
		k.merge(e.Change)
	}
	m.giveBack(k.entry)
	return out
}

// sure tells whether a writer's end can be put in order with all others.
func (k *locked) sure(w *writer, e store.MemberEnd) bool {
	switch {
	case k.many.clusters[w.member] != w.cluster: // invalidated, or written without an intent
		return false
	case w.cluster.order == disturbed: // by the number alone: a version of the row says nothing beside one
		return e.Again && w.number != 0 && e.Version == w.number
	case w.cluster.order == store.Pushed: // a load since the begin may have it or not
		return w.swaps == k.many.swaps && !k.side.is(lease)
	}
	return true
}

// merge brings a change into the collection and the load under way.
func (k *locked) merge(c store.Change) {
	k.changed = true
	if k.found && k.kind() == c.Kind {
		if change(k.many.elements, c); k.many.elements.Len() == 0 {
			k.drop()
		}
	}
	switch {
	case k.side.is(lease) && !k.side.loading().merge(c), k.side.is(absent) && c.Op != store.Remove:
		k.side = nil
	}
}

// discard drops the collection and stops what may bring back what it held.
func (k *locked) discard() {
	k.changed = true
	k.sh.discard(k.entry)
}

func checkChange(c store.Change) error {
	if push := c.Op == store.PushFront || c.Op == store.PushBack; c.Op != store.Drop && push != (c.Kind == store.List) {
		return fmt.Errorf("change of %q: a %s has no change %v", c.Key, c.Kind, c.Op)
	}
	if c.Op != store.Add {
		return nil
	}
	return check(c.Key, c.Element)
}

func checkAll(key string, es []store.Element) error {
	for _, e := range es {
		if err := check(key, e); err != nil {
			return err
		}
	}
	return nil
}

func check(key string, e store.Element) error {
	if math.IsNaN(e.Score) {
		return fmt.Errorf("the score of member %.100q of %q is no number", e.Member, key)
	}
	return nil
}
