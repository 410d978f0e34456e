package storetest

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// shape is a kit with the verbs of collections, for one kind.
type shape struct {
	kit
	kind store.Kind
}

// shapeRule is a rule of some kinds.
type shapeRule struct {
	name  string
	kinds []store.Kind
	check func(shape)
}

var (
	everyKind = []store.Kind{store.List, store.Set, store.SortedSet, store.Hash}
	byMember  = everyKind[1:] // those whose elements have a name
	lists     = everyKind[:1]
)

// each makes rules of rules: one for each kind.
func each(rules []shapeRule) (out []rule) {
	for _, r := range rules {
		for _, kind := range r.kinds {
			out = append(out, rule{r.name + "/" + string(kind), func(k kit) { r.check(shape{k, kind}) }})
		}
	}
	return out
}

// el is an element in its state n. A set shows no state.
func (k shape) el(member string, n int) store.Element {
	e := store.Element{Member: member}
	switch k.kind {
	case store.SortedSet:
		e.Score = float64(n)
	case store.Hash:
		e.Value = strconv.Itoa(n)
	}
	return e
}

// els are elements in the state 1.
func (k shape) els(members ...string) (out []store.Element) {
	for _, m := range members {
		out = append(out, k.el(m, 1))
	}
	return out
}

func (k shape) claim(key, token string, change ...func(*store.Claim)) store.Grant {
	k.Helper()
	return k.acquire(key, token, append(change, func(c *store.Claim) { c.Kind = k.kind })...)
}

func (k shape) granted(key, token string) {
	k.Helper()
	k.state("claim of "+key, k.claim(key, token), store.Granted)
}

func (k shape) chunk(key, token string, elements ...store.Element) bool {
	k.Helper()
	return k.one("chunk", []store.Outcome{k.Chunk(k.ctx, store.Chunk{Key: key, Token: token, Kind: k.kind, Elements: elements})})
}

func (k shape) swap(key, token string, change ...func(*store.Fill)) bool {
	k.Helper()
	f := store.Fill{Key: key, Token: token, Kind: k.kind, TTL: long}
	for _, set := range change {
		set(&f)
	}
	return k.one("fill", k.Fill(k.ctx, []store.Fill{f}))
}

// bringing has a fill bring the last elements.
func bringing(last ...store.Element) func(*store.Fill) {
	return func(f *store.Fill) { f.Last = last }
}

// cached loads a collection.
func (k shape) cached(key string, elements ...store.Element) {
	k.Helper()
	k.granted(key, "load")
	k.is("chunk of "+key, k.chunk(key, "load", elements...), true)
	k.is("fill of "+key, k.swap(key, "load"), true)
}

func (k shape) query(q store.Query) store.View {
	k.Helper()
	q.Kind = k.kind
	v := k.Query(k.ctx, []store.Query{q})[0]
	if v.Err != nil {
		k.Fatalf("query %+v: %v", q, v.Err)
	}
	return v
}

// shows checks the elements of a collection, in their order if they have one; no elements stand for no collection.
func (k shape) shows(what, key string, want ...store.Element) {
	k.Helper()
	v := k.query(store.Query{Key: key, Part: store.All})
	if v.Found != (len(want) > 0) || !slices.Equal(k.ordered(v.Elements), k.ordered(want)) {
		k.Errorf("%s: %q holds %v (found %v), want %v", what, key, v.Elements, v.Found, want)
	}
}

func (k shape) ordered(elements []store.Element) []store.Element {
	if k.kind == store.List {
		return elements
	}
	return slices.SortedFunc(slices.Values(elements), func(a, b store.Element) int {
		return cmp.Or(cmp.Compare(a.Score, b.Score), cmp.Compare(a.Member, b.Member))
	})
}

func (k shape) life(key string) time.Duration {
	k.Helper()
	return k.query(store.Query{Key: key, Part: store.Size}).TTL
}

// lives checks that the rest of a life is between two bounds.
func (k shape) lives(what, key string, least, most time.Duration) {
	k.Helper()
	if left := k.life(key); left <= least || left > most {
		k.Errorf("%s: %v left, want more than %v and at most %v", what, left, least, most)
	}
}

func (k shape) write(key string, op store.Op, e store.Element) bool {
	k.Helper()
	return k.one("write", k.Write(k.ctx, []store.Change{{Key: key, Kind: k.kind, Op: op, Element: e}}))
}

// announce begins a write of a member, as the only one unless changed.
func (k shape) announce(key, member, token string, change ...func(*store.MemberIntent)) {
	k.Helper()
	in := store.MemberIntent{Key: key, Kind: k.kind, Member: member, Order: store.Alone, Token: token, Life: long, Lease: long}
	if k.kind == store.List {
		in.Order = store.Pushed
	}
	for _, set := range change {
		set(&in)
	}
	k.one("begin", []store.Outcome{k.BeginMember(k.ctx, in)})
}

func versioned(in *store.MemberIntent) { in.Order = store.Versioned }

func lasting(d time.Duration) func(*store.MemberIntent) {
	return func(in *store.MemberIntent) { in.Life = d }
}

func instead(tokens ...string) func(*store.MemberIntent) {
	return func(in *store.MemberIntent) { in.Earlier = tokens }
}

// done ends a write of a member; of a list, of "".
func (k shape) done(key, token string, op store.Op, e store.Element, change ...func(*store.MemberEnd)) store.Ending {
	k.Helper()
	end := store.MemberEnd{Change: store.Change{Key: key, Kind: k.kind, Op: op, Element: e}, Member: e.Member, Token: token}
	if k.kind == store.List {
		end.Member = ""
	}
	for _, set := range change {
		set(&end)
	}
	out := k.EndMember(k.ctx, end)
	if out.Err != nil {
		k.Fatalf("end %q: %v", key, out.Err)
	}
	return out
}

func again(e *store.MemberEnd) { e.Again = true }

func withVersion(v float64) func(*store.MemberEnd) {
	return func(e *store.MemberEnd) { e.Version = v }
}

// numbered ends a write and must be given a number.
func (k shape) numbered(what, key, token string, op store.Op, e store.Element, change ...func(*store.MemberEnd)) float64 {
	k.Helper()
	out := k.done(key, token, op, e, append(change, again)...)
	if out.Number <= 0 || out.Applied {
		k.Errorf("%s: %+v, want a number", what, out)
	}
	return out.Number
}

// applied checks an answer to an end.
func (k shape) applied(what string, out store.Ending, want bool) {
	k.Helper()
	if out.Applied != want || out.Number != 0 {
		k.Errorf("%s: %+v, want applied %v", what, out, want)
	}
}

var nan = math.NaN()
