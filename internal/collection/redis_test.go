package collection_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store"
)

func TestMain(m *testing.M) {
	status := redistest.Main(m)
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// twin is a collection and the same in Redis.
type twin struct {
	*testing.T
	c    *collection.Collection
	kind store.Kind
	do   func(args ...string) rueidis.RedisResult
	key  string
}

// Random changes, and random queries of every part: Redis gives the same answers.
func TestAsRedis(t *testing.T) {
	server := redistest.Shared(t)
	client := server.Client(t)
	defer client.Close()
	for _, kind := range []store.Kind{store.List, store.Set, store.SortedSet, store.Hash} {
		t.Run(string(kind), func(t *testing.T) {
			r := seed.Rand(t)
			for round := range 15 {
				w := &twin{
					T: t, c: collection.New(kind), kind: kind, key: fmt.Sprintf("%s:%d", kind, round),
					do: func(args ...string) rueidis.RedisResult {
						return client.Do(t.Context(), client.B().Arbitrary(args...).Build())
					},
				}
				members := []int{3, 40, 300}[round%3]
				for range 30 {
					for range r.IntN(members) {
						w.change(r, members, round%2 == 0)
					}
					w.compare(r, members)
					if t.Failed() {
						t.FailNow()
					}
				}
			}
		})
	}
}

func name(r *rand.Rand, members int) string {
	return strings.Repeat("ab", r.IntN(2)) + strconv.Itoa(r.IntN(members))
}

// number has ties, infinities and both zeros.
func number(r *rand.Rand) float64 {
	switch r.IntN(12) {
	case 0:
		return math.Inf(1)
	case 1:
		return math.Inf(-1)
	case 2:
		return math.Copysign(0, -1)
	case 3, 4, 5:
		return r.NormFloat64()
	}
	return float64(r.IntN(7) - 3)
}

func float(f float64) string { return strconv.FormatFloat(f, 'g', -1, 64) }

// change does the same to both.
func (w *twin) change(r *rand.Rand, members int, level bool) {
	e := store.Element{Member: name(r, members)}
	remove := r.IntN(3) == 0
	switch {
	case w.kind == store.List:
		most := int64(max(0, r.IntN(2*members)-members))
		if r.IntN(2) == 0 {
			w.c.PushFront(e.Member, most)
			w.do("LPUSH", w.key, e.Member)
			if most > 0 {
				w.do("LTRIM", w.key, "0", strconv.FormatInt(most-1, 10))
			}
			return
		}
		w.c.PushBack(e.Member, most)
		w.do("RPUSH", w.key, e.Member)
		if most > 0 {
			w.do("LTRIM", w.key, strconv.FormatInt(-most, 10), "-1")
		}
		return
	case remove:
		got := w.c.Remove(e.Member)
		n, _ := w.do(map[store.Kind]string{store.Set: "SREM", store.SortedSet: "ZREM", store.Hash: "HDEL"}[w.kind], w.key, e.Member).AsInt64()
		if got != (n == 1) {
			w.Errorf("remove %q: %v, Redis %d", e.Member, got, n)
		}
		return
	}
	args := []string{"SADD", w.key, e.Member}
	only := r.IntN(2) == 0
	switch w.kind {
	case store.SortedSet:
		if e.Score = number(r); level {
			e.Score = 1
		}
		args = []string{"ZADD", w.key, "NX", float(e.Score), e.Member}
		if !only {
			args = slices.Delete(args, 2, 3)
		}
	case store.Hash:
		e.Value = name(r, 1000)
		args = []string{"HSETNX", w.key, e.Member, e.Value}
		if !only {
			args[0] = "HSET"
		}
	}
	if only {
		w.c.AddNew(e)
	} else {
		w.c.Add(e)
	}
	if err := w.do(args...).Error(); err != nil {
		w.Fatal(args, err)
	}
}

// compare asks both everything that the kind can be asked.
func (w *twin) compare(r *rand.Rand, members int) {
	n, place := int64(w.c.Len()), func() int64 { return r.Int64N(2*int64(members)+4) - int64(members) - 2 }
	names := []string{name(r, members), name(r, members), "nobody", name(r, members)}
	w.same(store.Query{Part: store.Size}, n, nil, map[store.Kind]string{store.List: "LLEN", store.Set: "SCARD", store.SortedSet: "ZCARD", store.Hash: "HLEN"}[w.kind], w.key)
	for range 6 {
		switch from, to := place(), place(); w.kind {
		case store.List:
			w.same(store.Query{Part: store.ByRank, From: from, To: to}, 0, w.elements("LRANGE", w.key, float(float64(from)), float(float64(to))), "")
		case store.SortedSet:
			w.sorted(r, from, to, names)
		}
	}
	switch w.kind {
	case store.List:
		w.same(store.Query{Part: store.All}, 0, w.elements("LRANGE", w.key, "0", "-1"), "")
	case store.SortedSet:
		w.same(store.Query{Part: store.All, Reverse: true}, 0, w.elements("ZRANGE", w.key, "0", "-1", "WITHSCORES"), "")
	}
	if w.kind != store.List {
		w.pick(names)
		w.scan(r)
	}
}

func (w *twin) sorted(r *rand.Rand, from, to int64, names []string) {
	rev := func(command string, reverse bool) string {
		if reverse {
			return "ZREV" + command[1:]
		}
		return command
	}
	reverse := r.IntN(2) == 0
	w.same(store.Query{Part: store.ByRank, From: from, To: to, Reverse: reverse}, 0, w.elements(rev("ZRANGE", reverse), w.key, strconv.FormatInt(from, 10), strconv.FormatInt(to, 10), "WITHSCORES"), "")

	bound := func() (store.Bound, string) {
		b := store.Bound{Score: number(r), Exclusive: r.IntN(2) == 0}
		if b.Exclusive {
			return b, "(" + float(b.Score)
		}
		return b, float(b.Score)
	}
	low, lowText := bound()
	high, highText := bound()
	offset, limit := int64(0), int64(0)
	if r.IntN(2) == 0 {
		offset, limit = int64(r.IntN(5)-1), int64(r.IntN(6))
	}
	if redistest.Binary(w).Major >= 8 {
		offset = max(offset, 0) // these count a negative one from the end of a large set
	}
	most := limit
	if limit == 0 {
		most = -1
	}
	limits := []string{"LIMIT", strconv.FormatInt(offset, 10), strconv.FormatInt(most, 10)}
	q := store.Query{Part: store.ByScore, Min: low, Max: high, Reverse: reverse, Offset: offset, Limit: limit}
	first, second := lowText, highText
	if reverse {
		first, second = second, first
	}
	w.same(q, 0, w.elements(append([]string{rev("ZRANGE", reverse) + "BYSCORE", w.key, first, second, "WITHSCORES"}, limits...)...), "")
	count, _ := w.do("ZCOUNT", w.key, lowText, highText).AsInt64()
	w.same(store.Query{Part: store.Count, Min: low, Max: high}, count, nil, "")

	if oneScore(w.c) {
		lexical := func() string {
			return []string{"-", "+", "[" + names[0], "(" + names[1], "[" + names[3], "["}[r.IntN(6)]
		}
		q = store.Query{Part: store.ByMember, MinMember: lexical(), MaxMember: lexical(), Reverse: reverse, Offset: offset, Limit: limit}
		first, second = q.MinMember, q.MaxMember
		if reverse {
			first, second = second, first
		}
		want, err := w.do(append([]string{rev("ZRANGE", reverse) + "BYLEX", w.key, first, second}, limits...)...).AsStrSlice()
		if err != nil {
			w.Fatal(err)
		}
		var elements []store.Element
		for _, m := range want {
			elements = append(elements, store.Element{Member: m, Score: w.c.Query(store.Query{Part: store.Pick, Names: []string{m}}).Elements[0].Score})
		}
		w.same(q, 0, elements, "")
	}

	for _, m := range names[:3] {
		rank, err := w.do(rev("ZRANK", reverse), w.key, m).AsInt64()
		if rueidis.IsRedisNil(err) {
			w.same(store.Query{Part: store.Rank, Names: []string{m}, Reverse: reverse}, -1, nil, "")
			w.same(store.Query{Part: store.Around, Names: []string{m}, To: 2, Reverse: reverse}, -1, nil, "")
			continue
		}
		near := int64(r.IntN(5))
		start := max(0, rank-near)
		text := strconv.FormatInt(rank, 10)
		w.same(store.Query{Part: store.Rank, Names: []string{m}, Reverse: reverse}, rank, w.elements(rev("ZRANGE", reverse), w.key, text, text, "WITHSCORES"), "")
		w.same(store.Query{Part: store.Around, Names: []string{m}, To: near, Reverse: reverse}, start,
			w.elements(rev("ZRANGE", reverse), w.key, strconv.FormatInt(start, 10), strconv.FormatInt(rank+near, 10), "WITHSCORES"), "")
	}
}

func oneScore(c *collection.Collection) bool {
	all := c.Query(store.Query{Part: store.All}).Elements
	return !slices.ContainsFunc(all, func(e store.Element) bool { return e.Score != all[0].Score })
}

func (w *twin) pick(names []string) {
	v := w.c.Query(store.Query{Part: store.Pick, Names: names})
	args := append([]string{map[store.Kind]string{store.Set: "SMISMEMBER", store.SortedSet: "ZMSCORE", store.Hash: "HMGET"}[w.kind], w.key}, names...)
	answers, err := w.do(args...).ToArray()
	if err != nil || len(v.Has) != len(names) || len(v.Elements) != len(names) {
		w.Fatal(v, err)
	}
	for i, a := range answers {
		want, has := store.Element{Member: names[i]}, !a.IsNil()
		switch w.kind {
		case store.Set:
			n, _ := a.AsInt64()
			has = n == 1
		case store.SortedSet:
			want.Score, _ = a.AsFloat64()
		case store.Hash:
			want.Value, _ = a.ToString()
		}
		if !has {
			want = store.Element{}
		}
		if v.Has[i] != has || v.Elements[i] != want {
			w.Errorf("pick %q: %v %+v, Redis %v %+v", names[i], v.Has[i], v.Elements[i], has, want)
		}
	}
}

// scan compares what matches a glob, in any order.
func (w *twin) scan(r *rand.Rand) {
	const letters = `ab012*?[]^-\`
	glob := ""
	for range r.IntN(6) {
		glob += string(letters[r.IntN(len(letters))])
	}
	glob = []string{"", "*", "a*", "*1", glob, glob, glob}[r.IntN(7)]
	v := w.c.Query(store.Query{Part: store.Scan, Match: glob})
	if v.Cursor != 0 {
		w.Errorf("cursor %d", v.Cursor)
	}
	args := []string{map[store.Kind]string{store.Set: "SSCAN", store.SortedSet: "ZSCAN", store.Hash: "HSCAN"}[w.kind], w.key, "0", "COUNT", "1000000"}
	if glob != "" {
		args = append(args, "MATCH", glob)
	}
	answer, err := w.do(args...).AsScanEntry()
	if err != nil {
		w.Fatal(err)
	}
	var got []string
	for _, e := range v.Elements {
		got = append(got, e.Member)
		switch w.kind {
		case store.SortedSet:
			got = append(got, float(e.Score))
		case store.Hash:
			got = append(got, e.Value)
		}
	}
	want := answer.Elements
	width := len(got) / max(1, len(v.Elements))
	if !slices.Equal(pairs(got, width, w.kind), pairs(want, width, w.kind)) {
		w.Errorf("scan %q: %q, Redis %q", glob, got, want)
	}
}

func pairs(flat []string, width int, kind store.Kind) (out []string) {
	for p := range slices.Chunk(flat, max(1, width)) {
		if kind == store.SortedSet {
			f, _ := strconv.ParseFloat(p[1], 64)
			p[1] = float(f + 0) // no -0
		}
		out = append(out, strings.Join(p, "="))
	}
	slices.Sort(out)
	return out
}

// elements are the answer of Redis.
func (w *twin) elements(args ...string) (out []store.Element) {
	if w.kind == store.SortedSet {
		scored, err := w.do(args...).AsZScores()
		if err != nil {
			w.Fatalf("%q: %v", args, err)
		}
		for _, s := range scored {
			out = append(out, store.Element{Member: s.Member, Score: s.Score})
		}
		return out
	}
	members, err := w.do(args...).AsStrSlice()
	if err != nil {
		w.Fatalf("%q: %v", args, err)
	}
	for _, m := range members {
		out = append(out, store.Element{Member: m})
	}
	return out
}

// same compares an answer with what Redis says, or with a command whose answer is a number.
func (w *twin) same(q store.Query, n int64, elements []store.Element, command ...string) {
	w.Helper()
	if len(command) > 1 {
		n, _ = w.do(command...).AsInt64()
	}
	for way, v := range map[string]store.View{"query": w.c.Query(q), "answer": w.c.Answer(q)()} {
		if v.Err != nil || !v.Found || v.N != n || !slices.Equal(v.Elements, elements) {
			w.Errorf("%s %+v: N %d, %v (error %v); Redis %d, %v", way, q, v.N, v.Elements, v.Err, n, elements)
		}
	}
}
