package serve

import (
	"bytes"
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"unsafe"

	"github.com/nearside/nearside/internal/store"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
)

// question is a command about one declared collection.
type question struct {
	kind  store.Kind
	arity int // as in command
	// ask reads the arguments behind the key: what the store is asked for, and how its answer is a reply. Its error is in the
	// words of Redis.
	ask func(args [][]byte) (store.Query, answer, error)
}

// answer writes a reply.
type answer func(w *writer, v store.View)

var questions = map[string]question{
	"lrange": {store.List, 4, lrange},
	"llen":   {store.List, 2, size},
	"lindex": {store.List, 3, lindex},

	"smembers":   {store.Set, 2, all(members)},
	"sismember":  {store.Set, 3, pick(has)},
	"smismember": {store.Set, -3, pick(hasEach)},
	"scard":      {store.Set, 2, size},
	"sscan":      {store.Set, -3, scan(scannedMembers)},

	"zrange":           {store.SortedSet, -4, zrange(zrangeOptions{part: store.ByRank, auto: true})},
	"zrevrange":        {store.SortedSet, -4, zrange(zrangeOptions{part: store.ByRank, reverse: true})},
	"zrangebyscore":    {store.SortedSet, -4, zrange(zrangeOptions{part: store.ByScore})},
	"zrevrangebyscore": {store.SortedSet, -4, zrange(zrangeOptions{part: store.ByScore, reverse: true})},
	"zscore":           {store.SortedSet, 3, pick(score)},
	"zmscore":          {store.SortedSet, -3, pick(scores)},
	"zrank":            {store.SortedSet, -3, zrank("zrank", false)},
	"zrevrank":         {store.SortedSet, -3, zrank("zrevrank", true)},
	"zcard":            {store.SortedSet, 2, size},
	"zcount":           {store.SortedSet, 4, zcount},
	"zscan":            {store.SortedSet, -3, scan(scannedScores)},

	"hget":    {store.Hash, 3, pick(value)},
	"hmget":   {store.Hash, -3, hmget},
	"hgetall": {store.Hash, 2, all(pairs)},
	"hlen":    {store.Hash, 2, size},
	"hkeys":   {store.Hash, 2, all(elements)},
	"hvals":   {store.Hash, 2, all(everyValue)},
	"hexists": {store.Hash, 3, pick(has)},
	"hscan":   {store.Hash, -3, scan(scannedPairs)},
}

// commandsOf names the commands that read a shape.
func commandsOf(kind store.Kind) (names []string) {
	for _, name := range slices.Sorted(maps.Keys(questions)) {
		if questions[name].kind == kind {
			names = append(names, strings.ToUpper(name))
		}
	}
	if kind == store.Set {
		names = append(names, "SINTER")
	}
	return names
}

// run answers it.
func (q question) run(h *Handler, ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	query, answer, err := q.ask(args[2:])
	if err != nil {
		return resp.AppendError(out, "ERR "+err.Error())
	}
	v, err := h.service.Query(ctx, args[1], q.kind, query)
	if err != nil {
		return h.fail(out, err)
	}
	borrow(c, v.Elements)
	w := &writer{c, out}
	answer(w, v.View)
	return w.out
}

// borrow counts elements that a reply is made of.
func borrow(c *respserver.Conn, elements []store.Element) {
	n := len(elements) * int(unsafe.Sizeof(store.Element{}))
	for i := range elements {
		n += len(elements[i].Member) + len(elements[i].Value)
	}
	if n > freeBytes {
		c.Borrow(int64(n))
	}
}

func (h *Handler) sinter(ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	keys := slices.Clone(args[1:])
	slices.SortFunc(keys, bytes.Compare)
	both, err := h.service.Intersect(ctx, slices.CompactFunc(keys, bytes.Equal))
	if err != nil {
		return h.fail(out, err)
	}
	borrow(c, both)
	w := &writer{c, out}
	members(w, store.View{Elements: both})
	return w.out
}

// all asks for every element.
func all(a answer) func([][]byte) (store.Query, answer, error) {
	return func([][]byte) (store.Query, answer, error) { return store.Query{Part: store.All}, a, nil }
}

// pick asks for the members that the arguments name.
func pick(a answer) func([][]byte) (store.Query, answer, error) {
	return func(args [][]byte) (store.Query, answer, error) {
		q := store.Query{Part: store.Pick, Names: make([]string, len(args))}
		for i, name := range args {
			q.Names[i] = string(name)
		}
		return q, a, nil
	}
}

func size([][]byte) (store.Query, answer, error) { return store.Query{Part: store.Size}, number, nil }

// writer appends a reply to those before it. What is large is sent while it is written.
type writer struct {
	c   *respserver.Conn
	out []byte
}

func (w *writer) array(n int) { w.out = resp.AppendArray(w.out, n) }

func (w *writer) text(s string) { w.out = w.c.Flush(resp.AppendBulkString(w.out, s)) }

func (w *writer) number(n int64) { w.out = resp.AppendInt(w.out, n) }

func (w *writer) score(f float64) { w.out = w.c.Flush(resp.AppendDouble(w.out, f, w.c.Proto())) }

func (w *writer) null() { w.out = resp.AppendNull(w.out, w.c.Proto()) }

func (w *writer) flag(yes bool) {
	if yes {
		w.number(1)
	} else {
		w.number(0)
	}
}

func number(w *writer, v store.View) { w.number(v.N) }

func elements(w *writer, v store.View) {
	w.array(len(v.Elements))
	for _, e := range v.Elements {
		w.text(e.Member)
	}
}

func first(w *writer, v store.View) {
	if len(v.Elements) == 0 {
		w.null()
		return
	}
	w.text(v.Elements[0].Member)
}

func members(w *writer, v store.View) {
	w.out = resp.AppendSet(w.out, len(v.Elements), w.c.Proto())
	for _, e := range v.Elements {
		w.text(e.Member)
	}
}

func everyValue(w *writer, v store.View) {
	w.array(len(v.Elements))
	for _, e := range v.Elements {
		w.text(e.Value)
	}
}

func pairs(w *writer, v store.View) {
	w.out = resp.AppendMap(w.out, len(v.Elements), w.c.Proto())
	for _, e := range v.Elements {
		w.text(e.Member)
		w.text(e.Value)
	}
}

// withScores is flat in protocol 2, and pairs in 3.
func withScores(w *writer, v store.View) {
	three := w.c.Proto() == 3
	if three {
		w.array(len(v.Elements))
	} else {
		w.array(2 * len(v.Elements))
	}
	for _, e := range v.Elements {
		if three {
			w.array(2)
		}
		w.text(e.Member)
		w.score(e.Score)
	}
}

func has(w *writer, v store.View) { w.flag(v.Has[0]) }

func hasEach(w *writer, v store.View) {
	w.array(len(v.Has))
	for _, yes := range v.Has {
		w.flag(yes)
	}
}

func value(w *writer, v store.View) { one(w, v, 0, func(e store.Element) { w.text(e.Value) }) }

// hmget asks for each field once, however often it is named: the answer of the store depends on the hash alone.
func hmget(args [][]byte) (store.Query, answer, error) {
	q := store.Query{Part: store.Pick}
	places, at := make(map[string]int), make([]int, len(args))
	for i, name := range args {
		place, seen := places[string(name)]
		if !seen {
			place = len(q.Names)
			q.Names = append(q.Names, string(name))
			places[q.Names[place]] = place
		}
		at[i] = place
	}
	return q, func(w *writer, v store.View) {
		w.array(len(at))
		for _, i := range at {
			one(w, v, i, func(e store.Element) { w.text(e.Value) })
		}
	}, nil
}

func score(w *writer, v store.View) { one(w, v, 0, func(e store.Element) { w.score(e.Score) }) }

func scores(w *writer, v store.View) { each(w, v, func(e store.Element) { w.score(e.Score) }) }

func each(w *writer, v store.View, write func(store.Element)) {
	w.array(len(v.Has))
	for i := range v.Has {
		one(w, v, i, write)
	}
}

// one writes what was picked, or a null.
func one(w *writer, v store.View, i int, write func(store.Element)) {
	if !v.Has[i] {
		w.null()
		return
	}
	write(v.Elements[i])
}

// scanned writes a cursor and the elements, of which each is so many strings, in both protocols.
func scanned(w *writer, v store.View, strings int, write func(store.Element)) {
	w.array(2)
	w.text(strconv.FormatUint(v.Cursor, 10))
	w.array(strings * len(v.Elements))
	for _, e := range v.Elements {
		w.text(e.Member)
		if write != nil {
			write(e)
		}
	}
}

func scannedMembers(w *writer, v store.View) { scanned(w, v, 1, nil) }

func scannedPairs(w *writer, v store.View) {
	scanned(w, v, 2, func(e store.Element) { w.text(e.Value) })
}

func scannedScores(w *writer, v store.View) {
	scanned(w, v, 2, func(e store.Element) { w.text(string(resp.AppendFloat(nil, e.Score))) })
}
