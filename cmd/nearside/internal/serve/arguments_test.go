package serve

import (
	"bytes"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
	"github.com/nearside/nearside/internal/collection"
	"github.com/nearside/nearside/internal/store"
)

// Whatever is asked of a collection, the reply is one, and whole.
func FuzzQuestions(f *testing.F) {
	names := slices.Sorted(maps.Keys(questions))
	for i := range names {
		for _, args := range []string{"", "0 -1", "-9223372036854775808 9223372036854775807", "+inf -inf BYSCORE REV LIMIT 1 2 WITHSCORES", "[a (c BYLEX LIMIT -1 0", "a WITHSCORE", "0 MATCH [a-c]* COUNT 3", "a b z"} {
			f.Add(i, args)
		}
	}
	filled := make(map[store.Kind]*collection.Collection)
	for _, kind := range []store.Kind{store.List, store.Set, store.SortedSet, store.Hash} {
		filled[kind] = collection.New(kind)
		for i, name := range strings.Fields("a b c d e") {
			filled[kind].Add(store.Element{Member: name, Value: name + name, Score: []float64{1, math.Inf(1), 1, -2.5, 0}[i]})
		}
	}
	f.Fuzz(func(t *testing.T, i int, text string) {
		name := names[((i%len(names))+len(names))%len(names)]
		q := questions[name]
		args := bytes.Fields([]byte(name + " key " + text))
		if (command{arity: q.arity}).wrong(name, args) != "" {
			return
		}
		query, answer, err := q.ask(args[2:])
		if err != nil {
			return
		}
		for _, c := range []*collection.Collection{filled[q.kind], collection.New(q.kind)} {
			w := &writer{c: new(respserver.Conn)}
			for _, proto := range []int{2, 3} {
				w.c.SetProto(proto)
				w.out = w.out[:0]
				answer(w, c.Query(query))
				if _, rest, err := resp.Cut(w.out); err != nil || len(rest) > 0 {
					t.Fatalf("%s: %q is no reply, or more than one: %v", args, w.out, err)
				}
			}
		}
	})
}
