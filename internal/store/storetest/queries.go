package storetest

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/store"
)

// A query has one answer, wherever it is asked: that of package collection, which is compared with Redis there.
var queryRules = each([]shapeRule{
	{"QueriesAnswerAsInTheProcess", everyKind, func(k shape) {
		local := collection.New(k.kind)
		var elements []store.Element
		for i := range 40 {
			elements = append(elements, k.el(fmt.Sprintf("%c%d", 'a'+i%3, i), i/4-3))
			local.Add(elements[i])
		}
		k.cached("a", elements...)
		for _, q := range queries(k.kind) {
			q.Key = "a"
			got, want := k.query(q), local.Query(q)
			want.TTL = got.TTL
			if k.kind != store.SortedSet {
				got.Elements, want.Elements = k.ordered(got.Elements), k.ordered(want.Elements)
			}
			if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", want) {
				k.Errorf("%+v:\ngot  %+v\nwant %+v", q, got, want)
			}
			q.Key = "none"
			if v := k.query(q); v.Found || len(v.Elements) > 0 {
				k.Errorf("%+v of nothing: %+v", q, v)
			}
		}
	}},
	{"NegativeOffsetIsEmpty", []store.Kind{store.SortedSet}, func(k shape) {
		var large []store.Element // servers have another form for it
		for i := range 300 {
			large = append(large, k.el(fmt.Sprintf("m%03d", i), 1))
		}
		k.cached("a", large...)
		for i := range 8 {
			q := store.Query{Key: "a", Part: store.ByScore, Min: store.Bound{Score: 0}, Max: store.Bound{Score: 2}, Offset: -1 - int64(i%2), Reverse: i&2 == 0}
			if i&4 == 0 {
				q.Limit = 3
			}
			if v := k.query(q); len(v.Elements) > 0 || !v.Found {
				k.Errorf("%+v: %+v", q, v)
			}
			q.Part, q.MinMember, q.MaxMember = store.ByMember, "-", "+"
			if v := k.query(q); len(v.Elements) > 0 || !v.Found {
				k.Errorf("%+v: %+v", q, v)
			}
		}
	}},
	{"QueriesByMember", []store.Kind{store.SortedSet}, func(k shape) {
		local := collection.New(k.kind)
		elements := k.els("", "a", "ab", "b", "ba", "c", "\xff")
		for _, e := range elements {
			local.Add(e)
		}
		k.cached("a", elements...)
		bounds := []string{"-", "+", "[", "(", "[a", "(a", "[b", "(bb", "[\xff", "(\xff"}
		for _, low := range bounds {
			for _, high := range bounds {
				for i := range 4 {
					q := store.Query{Key: "a", Part: store.ByMember, MinMember: low, MaxMember: high, Reverse: i%2 == 1}
					if i > 1 {
						q.Offset, q.Limit = 1, 2
					}
					sameMember := func(a, b store.Element) bool { return a.Member == b.Member } // Redis does not tell the scores
					if got, want := k.query(q).Elements, local.Query(q).Elements; !slices.EqualFunc(got, want, sameMember) {
						k.Errorf("%+v:\ngot  %+v\nwant %+v", q, got, want)
					}
				}
			}
		}
		for _, bad := range []string{"", "a", "<"} {
			for _, q := range []store.Query{{MinMember: bad, MaxMember: "+"}, {MinMember: "-", MaxMember: bad}} {
				q.Key, q.Kind, q.Part = "a", k.kind, store.ByMember
				if v := k.Query(k.ctx, []store.Query{q})[0]; v.Err == nil {
					k.Errorf("%+v: %+v, want an error", q, v)
				}
			}
		}
	}},
	{"ScanComesToAnEnd", byMember, func(k shape) {
		var want []store.Element
		for i := range 2000 {
			want = append(want, k.el(fmt.Sprintf("member:%d", i), i))
		}
		k.granted("a", "t1")
		for c := range slices.Chunk(want, store.MaxChunk) {
			k.chunk("a", "t1", c...)
		}
		k.swap("a", "t1")
		for glob, wanted := range map[string]func(string) bool{
			"":           func(string) bool { return true },
			"member:1?9": func(m string) bool { return len(m) == 10 && m[7] == '1' && m[9] == '9' },
			"*:1*":       func(m string) bool { return strings.HasPrefix(m, "member:1") },
		} {
			found := map[store.Element]bool{}
			for cursor := uint64(0); ; {
				v := k.query(store.Query{Key: "a", Part: store.Scan, Cursor: cursor, Match: glob, Hint: 100})
				for _, e := range v.Elements {
					found[e] = true
				}
				if cursor = v.Cursor; cursor == 0 {
					break
				}
			}
			for _, e := range want {
				if found[e] != wanted(e.Member) {
					k.Fatalf("scan of %q: %v found %v", glob, e, found[e])
				}
			}
		}
	}},
	{"SetsIntersect", []store.Kind{store.Set}, func(k shape) {
		k.cached("{s}a", k.els("x", "y", "z")...)
		k.cached("{s}b", k.els("z", "w", "x")...)
		for _, c := range []struct {
			a, b         string
			found, other bool
			want         []store.Element
		}{
			{"{s}a", "{s}b", true, true, k.els("x", "z")},
			{"{s}a", "{s}none", true, false, nil},
			{"{s}none", "{s}b", false, true, nil},
		} {
			v := k.query(store.Query{Key: c.a, Part: store.Intersect, Other: c.b})
			if v.Found != c.found || v.Other != c.other || !slices.Equal(k.ordered(v.Elements), c.want) {
				k.Errorf("%s and %s: %+v, want %+v", c.a, c.b, v, c)
			}
		}
	}},
	{"QueriesInOneTrip", everyKind, func(k shape) {
		var batch []store.Query
		for i := range 50 {
			key := fmt.Sprint("key:", i)
			if i%3 > 0 {
				k.cached(key, k.els(fmt.Sprint("m", i))...)
			}
			batch = append(batch, store.Query{Key: key, Kind: k.kind, Part: store.All})
		}
		for i, v := range k.Query(k.ctx, batch) {
			if v.Err != nil || v.Found != (i%3 > 0) || v.Found && v.Elements[0].Member != fmt.Sprint("m", i) {
				k.Errorf("%d: %+v", i, v)
			}
		}
	}},
})

// queries are some of every part that a kind has and whose answer has an order.
func queries(kind store.Kind) []store.Query {
	out := []store.Query{{Part: store.All}, {Part: store.Size}}
	if kind != store.List {
		out = append(out, store.Query{Part: store.Pick, Names: []string{"a0", "nobody", "b4", "a0"}})
	}
	places := [][2]int64{{0, 9}, {-3, -1}, {5, 2}, {38, 99}, {40, 50}, {-99, 1}, {-99, -98}, {0, -1}}
	if kind == store.List || kind == store.SortedSet {
		for _, p := range places {
			out = append(out, store.Query{Part: store.ByRank, From: p[0], To: p[1]})
		}
	}
	if kind != store.SortedSet {
		return out
	}
	open, all := store.Bound{Score: -1, Exclusive: true}, store.Bound{Score: math.Inf(1)}
	for _, reverse := range []bool{false, true} {
		for _, p := range places {
			out = append(out, store.Query{Part: store.ByRank, From: p[0], To: p[1], Reverse: reverse})
		}
		for _, min := range []store.Bound{open, {Score: 2}, {Score: math.Inf(-1)}, all} {
			for _, max := range []store.Bound{{Score: 2}, {Score: 2, Exclusive: true}, all} {
				out = append(out, store.Query{Part: store.Count, Min: min, Max: max},
					store.Query{Part: store.ByScore, Min: min, Max: max, Reverse: reverse},
					store.Query{Part: store.ByScore, Min: min, Max: max, Reverse: reverse, Offset: 2, Limit: 3},
					store.Query{Part: store.ByScore, Min: min, Max: max, Reverse: reverse, Offset: 1})
			}
		}
		for _, name := range []string{"a0", "b4", "a39", "nobody"} {
			out = append(out, store.Query{Part: store.Rank, Names: []string{name}, Reverse: reverse},
				store.Query{Part: store.Around, Names: []string{name}, To: 3, Reverse: reverse},
				store.Query{Part: store.Around, Names: []string{name}, Reverse: reverse})
		}
	}
	return out
}
