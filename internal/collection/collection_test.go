package collection

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"

	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store"
)

var kinds = []store.Kind{store.List, store.Set, store.SortedSet, store.Hash}

func element(i int) store.Element {
	return store.Element{Member: fmt.Sprintf("member:%d", i), Score: float64(i * 7 % 1000), Value: fmt.Sprintf("value:%d", i)}
}

// What the memory store accounts is what the heap keeps.
func TestBytes(t *testing.T) {
	rng := seed.Rand(t)
	for _, kind := range kinds {
		for _, n := range []int{50, 5_000, 100_000} {
			many := 100_000 / n
			before := heap()
			cs := make([]*Collection, many)
			for i := range cs {
				cs[i] = New(kind)
				for _, j := range rng.Perm(n) {
					cs[i].Add(element(j))
				}
			}
			used := heap() - before
			var bytes int64
			for _, c := range cs {
				bytes += c.Bytes()
			}
			t.Logf("%d %ss of %d: heap %d, accounted %d (%.2f), %d each", many, kind, n, used, bytes, float64(bytes)/float64(used), used/100_000)
			if bytes < used*8/10 || bytes > used*14/10 {
				t.Errorf("%d %ss of %d: the heap keeps %d bytes, accounted are %d", many, kind, n, used, bytes)
			}
			for _, c := range cs {
				for j := range n {
					c.Remove(element(j).Member)
				}
				if c.Bytes() != emptyCost && kind != store.List {
					t.Fatalf("%s: %d bytes are accounted for nothing", kind, c.Bytes())
				}
			}
		}
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func board(n int) *Collection {
	c := New(store.SortedSet)
	for i := range n {
		c.Add(store.Element{Member: fmt.Sprintf("member:%d", i), Score: rand.Float64()})
	}
	return c
}

func BenchmarkTop10(b *testing.B) {
	c := board(100_000)
	for b.Loop() {
		if v := c.Query(store.Query{Part: store.ByRank, To: 9, Reverse: true}); len(v.Elements) != 10 {
			b.Fatal(len(v.Elements))
		}
	}
}

func BenchmarkRank(b *testing.B) {
	c := board(100_000)
	names := make([]string, 1000)
	for i := range names {
		names[i] = fmt.Sprintf("member:%d", rand.IntN(100_000))
	}
	for i := 0; b.Loop(); i++ {
		if v := c.Query(store.Query{Part: store.Rank, Names: names[i%1000 : i%1000+1], Reverse: true}); v.N < 0 {
			b.Fatal(v.N)
		}
	}
}

func BenchmarkAdd(b *testing.B) {
	c := board(100_000)
	for i := 0; b.Loop(); i++ {
		c.Add(store.Element{Member: fmt.Sprintf("member:%d", i%100_000), Score: rand.Float64()})
	}
}
