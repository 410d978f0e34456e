package checker

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// truth is one collection of the checker's database, with all that it ever was.
type truth interface {
	// load returns the elements of now, in the order of a list.
	load() []store.Element
	// one returns a member of now.
	one(member string) (store.Element, bool)
	// commit changes a member, or the list, unless it is later than until (zero: never). Nil: it was.
	commit(rng *rand.Rand, member string, until time.Time) *committed
	// ack says that a write was acknowledged; with a time, that it counts from then on.
	ack(w *committed, from time.Time)
	// begins returns what a read that begins now must at least show.
	begins() floor
	// judge returns what is wrong with an answer to q; "" if nothing.
	judge(q store.Query, v store.View, f floor) (wrong fault, why string)
	// all returns what stands there now, whatever was acknowledged, as a floor.
	all() floor
	// rest is judge of a whole collection when all is over: it must be the database's.
	rest(v store.View) string
}

// fault is what a read showed that it may not.
type fault int

const (
	wasStale fault = iota
	wasHalf        // a member that never changed is not there
)

// committed is a state that a write has brought.
type committed struct {
	change  store.Change
	member  string
	version int
}

// floor is the oldest state of each member that a read may show. Of a list: which pushes it may lack.
type floor struct {
	members map[string]int
	lacks   map[int]bool
	n       int // entries of the log
}

// members is the truth of sets, sorted sets and hashes. A state's number is its row's version.
type members struct {
	kind  store.Kind
	mu    sync.Mutex
	rows  map[string]*member
	names []string
	dues  []due // what is acknowledged later on
}

type member struct {
	states []commit
	acked  int
	still  float64 // the score of one that never changes; zero: it does
}

type due struct {
	*committed
	from time.Time
}

const stillScore = 1_000_000 // of the first member that never changes: those are behind all others

func newMembers(kind store.Kind, still int, changing []string) *members {
	d := &members{kind: kind, rows: make(map[string]*member)}
	for i := range still {
		name := fmt.Sprintf("still%02d", i)
		d.rows[name] = &member{states: []commit{{time.Now(), true}}, still: stillScore + float64(i)}
		d.names = append(d.names, name)
	}
	for _, name := range changing {
		d.rows[name] = &member{states: []commit{{time.Now(), false}}}
		d.names = append(d.names, name)
	}
	return d
}

// element is what a state of a member looks like.
func (d *members) element(name string, version int) store.Element {
	e := store.Element{Member: name}
	switch d.kind {
	case store.SortedSet:
		if e.Score = float64(version); d.rows[name].still > 0 {
			e.Score = d.rows[name].still
		}
	case store.Hash:
		e.Value = strconv.Itoa(version)
	}
	return e
}

func (d *members) load() (out []store.Element) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, name := range d.names {
		if states := d.rows[name].states; states[len(states)-1].present {
			out = append(out, d.element(name, len(states)-1))
		}
	}
	return out
}

func (d *members) one(name string) (store.Element, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	states := d.rows[name].states
	return d.element(name, len(states)-1), states[len(states)-1].present
}

func (d *members) commit(rng *rand.Rand, name string, until time.Time) *committed {
	present := rng.IntN(4) > 0
	d.mu.Lock()
	defer d.mu.Unlock()
	if !until.IsZero() && time.Now().After(until) {
		return nil
	}
	m := d.rows[name]
	m.states = append(m.states, commit{time.Now(), present})
	w := &committed{member: name, version: len(m.states) - 1}
	if w.change = (store.Change{Op: store.Remove, Element: store.Element{Member: name}}); present {
		w.change = store.Change{Op: store.Add, Element: d.element(name, w.version)}
	}
	return w
}

func (d *members) ack(w *committed, from time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !from.IsZero() {
		d.dues = append(d.dues, due{w, from})
		return
	}
	m := d.rows[w.member]
	m.acked = max(m.acked, w.version)
}

func (d *members) begins() floor {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.dues = slices.DeleteFunc(d.dues, func(x due) bool {
		if now.Before(x.from) {
			return false
		}
		m := d.rows[x.member]
		m.acked = max(m.acked, x.version)
		return true
	})
	f := floor{members: make(map[string]int, len(d.names))}
	for name, m := range d.rows {
		f.members[name] = m.acked
	}
	return f
}

func (d *members) all() floor {
	d.mu.Lock()
	defer d.mu.Unlock()
	f := floor{members: make(map[string]int, len(d.names))}
	for name, m := range d.rows {
		f.members[name] = len(m.states) - 1
	}
	return f
}

// raise is ack of all that a floor has.
func (d *members) raise(f floor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for name, v := range f.members {
		d.rows[name].acked = max(d.rows[name].acked, v)
	}
}

// may reports whether a member may be seen so. The caller holds mu.
func (d *members) may(name string, f floor, e store.Element, present bool) bool {
	m := d.rows[name]
	if m == nil {
		return !present
	}
	for v := f.members[name]; v < len(m.states); v++ {
		if m.states[v].present == present && (!present || d.element(name, v) == e) {
			return true
		}
	}
	return false
}

func (d *members) judge(q store.Query, v store.View, f floor) (fault, string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if q.Part == store.Pick && (len(v.Has) != len(q.Names) || len(v.Elements) != len(q.Names)) {
		return wasStale, fmt.Sprintf("picked %v and was given %v, %v", q.Names, v.Has, v.Elements)
	}
	seen := make(map[string]store.Element, len(v.Elements))
	for i, e := range v.Elements {
		if q.Part == store.Pick && !v.Has[i] {
			continue
		}
		if _, twice := seen[e.Member]; twice && q.Part != store.Pick {
			return wasStale, fmt.Sprintf("%s is there twice", e.Member)
		}
		if seen[e.Member] = e; !d.may(e.Member, f, e, true) {
			return wasStale, d.story(e.Member, f, fmt.Sprintf("%+v", e))
		}
	}
	absent := func(name string) (fault, string) {
		if _, ok := seen[name]; ok || d.may(name, f, store.Element{}, false) {
			return wasStale, ""
		}
		if m := d.rows[name]; m.still > 0 {
			return wasHalf, fmt.Sprintf("%s was missing, which never changed; %d elements were there", name, len(v.Elements))
		}
		return wasStale, d.story(name, f, "missing")
	}
	still := 0
	for _, name := range d.names {
		if d.rows[name].still > 0 {
			still++
		}
	}
	switch q.Part {
	case store.All:
		for _, name := range d.names {
			if wrong, why := absent(name); why != "" {
				return wrong, why
			}
		}
	case store.Pick:
		for i, name := range q.Names {
			if v.Has[i] && v.Elements[i].Member != name {
				return wasStale, fmt.Sprintf("picked %s and was given %+v", name, v.Elements[i])
			}
			if wrong, why := absent(name); why != "" {
				return wrong, why
			}
		}
	case store.Size:
		least, most := 0, 0
		for name, m := range d.rows {
			if !d.may(name, f, store.Element{}, false) {
				least++
			}
			if slices.ContainsFunc(m.states[f.members[name]:], func(s commit) bool { return s.present }) {
				most++
			}
		}
		if v.N < int64(least) || v.N > int64(most) {
			return wasStale, fmt.Sprintf("the size was %d, and must be %d to %d", v.N, least, most)
		}
	case store.ByRank: // the highest first: those that never change, and then one that may
		for i := range min(still, int(q.To)+1) {
			if name := fmt.Sprintf("still%02d", still-1-i); i >= len(v.Elements) || v.Elements[i].Member != name {
				return wasHalf, fmt.Sprintf("place %d was not %s, but of %v", i, name, v.Elements)
			}
		}
	case store.Rank: // of one that never changes, from above
		if want := int64(still-1) - int64(d.rows[q.Names[0]].still-stillScore); v.N != want {
			return wasHalf, fmt.Sprintf("%s was at place %d in place of %d", q.Names[0], v.N, want)
		}
	}
	return wasStale, ""
}

func (d *members) rest(v store.View) string {
	_, why := d.judge(store.Query{Part: store.All}, v, d.all())
	return why
}

// story is the history of a member. The caller holds mu.
func (d *members) story(name string, f floor, saw string) string {
	m := d.rows[name]
	if m == nil {
		return fmt.Sprintf("%s was never in the database", saw)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s was %s for a read that began after version %d was acknowledged; the last versions of its row:", name, saw, f.members[name])
	for v := max(0, min(f.members[name]-1, len(m.states)-8)); v < len(m.states); v++ {
		what := "gone"
		if m.states[v].present {
			what = "there"
		}
		fmt.Fprintf(&b, " %d %s at %s", v, what, m.states[v].at.Format(clock))
	}
	return b.String()
}

const clock = "05.000000"
