package memory_test

import (
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
)

// load fills a collection of n elements.
func load(t testing.TB, s *memory.Store, key string, kind store.Kind, n int) {
	t.Helper()
	ctx := t.Context()
	s.Acquire(ctx, []store.Claim{{Key: key, Kind: kind, Token: "t1", Lease: time.Hour}})
	for from := 0; from < n; from += store.MaxChunk {
		c := store.Chunk{Key: key, Kind: kind, Token: "t1"}
		for i := from; i < min(n, from+store.MaxChunk); i++ {
			c.Elements = append(c.Elements, store.Element{Member: fmt.Sprintf("member:%d", i), Score: float64(i % 1000), Value: fmt.Sprintf("value:%d", i)})
		}
		s.Chunk(ctx, c)
	}
	s.Fill(ctx, []store.Fill{{Key: key, Kind: kind, Token: "t1", TTL: time.Hour}})
}

func size(t testing.TB, s *memory.Store, key string, kind store.Kind) (int64, bool) {
	v := s.Query(t.Context(), []store.Query{{Key: key, Kind: kind, Part: store.Size}})[0]
	if v.Err != nil {
		t.Fatal(v.Err)
	}
	return v.N, v.Found
}

// Collections, loads and writers count towards the bound, and collections go where it is reached. Intents stay.
func TestCollectionsAreBounded(t *testing.T) {
	const bound = 8 << 20
	for _, kind := range []store.Kind{store.List, store.Set, store.SortedSet, store.Hash} {
		before := heap()
		s := memory.New(memory.Options{MaxBytes: bound})
		ctx := t.Context()
		s.BeginMember(ctx, store.MemberIntent{Key: "intent", Kind: kind, Order: store.Alone, Token: "w1", Life: time.Hour})
		for i := range 200 {
			load(t, s, fmt.Sprint("key:", i), kind, 1000)
		}
		u, _ := s.Usage(ctx)
		used := heap() - before
		t.Logf("%s: heap %d, %+v", kind, used, u)
		if used > bound+bound/10 || u.Bytes > bound || u.Bytes < bound/2 || u.Evicted == 0 || u.Keys < 30 {
			t.Errorf("%s: the heap has %d bytes, usage is %+v", kind, used, u)
		}
		load(t, s, "huge", kind, 100_000)
		if _, found := size(t, s, "huge", kind); found {
			t.Errorf("%s: a collection above the bound is kept", kind)
		}
		if u, _ := s.Usage(ctx); u.Bytes > bound || u.Keys < 10 {
			t.Errorf("%s: after one above the bound: %+v", kind, u)
		}
		if g := s.Acquire(ctx, []store.Claim{{Key: "huge", Kind: kind, Token: "t2", Lease: time.Hour}})[0]; g.State != store.Granted {
			t.Errorf("%s: the lease of a load above the bound stands: %v", kind, g.State)
		}
		end := store.MemberEnd{Change: store.Change{Key: "intent", Kind: kind, Op: store.Add, Element: store.Element{}}, Token: "w1"}
		if kind == store.List {
			end.Op = store.PushBack
		}
		if e := s.EndMember(ctx, end); !e.Applied {
			t.Errorf("%s: an intent was evicted: %+v", kind, e)
		}
		s.Close()
	}
}

// What writers, loads and collections leave behind is swept: nothing stays.
func TestCollectionsAreSwept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		defer s.Close()
		ctx := t.Context()
		for i := range 1000 {
			key := fmt.Sprint("key:", i)
			load(t, s, key, store.Set, 10)
			s.BeginMember(ctx, store.MemberIntent{Key: key, Kind: store.Set, Member: "m", Order: store.Alone, Token: "w1", Life: time.Minute})
			s.Acquire(ctx, []store.Claim{{Key: key + ":load", Kind: store.Set, Token: "t1", Lease: time.Minute}})
		}
		if n, found := size(t, s, "key:1", store.Set); n != 10 || !found {
			t.Errorf("%d elements, found %v", n, found)
		}
		time.Sleep(time.Minute)
		if _, found := size(t, s, "key:1", store.Set); found {
			t.Error("the collection outlives a writer's deadline")
		}
		time.Sleep(2 * time.Minute)
		if u, _ := s.Usage(ctx); u.Keys != 0 || u.Bytes != 0 {
			t.Errorf("%+v is left", u)
		}
	})
}

// A long answer is read while writers go on: it is one state, and nobody waits for it.
func TestQueryIsOneState(t *testing.T) {
	s := memory.New(memory.Options{})
	defer s.Close()
	ctx := t.Context()
	load(t, s, "board", store.SortedSet, 20_000)
	var writers sync.WaitGroup
	stop := make(chan struct{})
	writers.Go(func() {
		for i := 0; ; i++ { // one more, then one less
			select {
			case <-stop:
				return
			default:
			}
			e := store.Element{Member: "extra", Score: float64(i % 1000)}
			s.Write(ctx, []store.Change{{Key: "board", Kind: store.SortedSet, Op: store.Add, Element: e}})
			s.Write(ctx, []store.Change{{Key: "board", Kind: store.SortedSet, Op: store.Add, Element: store.Element{Member: "member:7", Score: float64(i)}}})
			s.Write(ctx, []store.Change{{Key: "board", Kind: store.SortedSet, Op: store.Remove, Element: e}})
		}
	})
	for range 20 {
		v := s.Query(ctx, []store.Query{{Key: "board", Kind: store.SortedSet, Part: store.All}})[0]
		seen := map[string]bool{}
		for i, e := range v.Elements {
			if seen[e.Member] || i > 0 && e.Score < v.Elements[i-1].Score {
				t.Fatalf("%v is out of order or there twice", e)
			}
			seen[e.Member] = true
		}
		delete(seen, "extra")
		if len(seen) != 20_000 {
			t.Fatalf("%d members, want 20000", len(seen))
		}
	}
	close(stop)
	writers.Wait()
}

// Whoever tracks is told of what is made of a collection, as of values.
func TestCollectionsAreTracked(t *testing.T) {
	s := memory.New(memory.Options{})
	defer s.Close()
	ctx := t.Context()
	told := map[string]int{}
	tracking, err := s.Track(ctx, func(key string) { told[key]++ }, func() {})
	if err != nil {
		t.Fatal(err)
	}
	defer tracking.Close()
	for what, change := range map[string]func(key string){
		"fill": func(key string) { load(t, s, key, store.Set, 1) },
		"write": func(key string) {
			s.Write(ctx, []store.Change{{Key: key, Kind: store.Set, Op: store.Add, Element: store.Element{Member: "m"}}})
		},
		"end": func(key string) {
			s.EndMember(ctx, store.MemberEnd{Change: store.Change{Key: key, Kind: store.Set, Op: store.Remove}, Token: "w1"})
		},
		"invalidate": func(key string) { s.Invalidate(ctx, []string{key}, 0) },
	} {
		if change(what); told[what] != 1 {
			t.Errorf("%s: told %d times, want once", what, told[what])
		}
	}
}

func BenchmarkTop10(b *testing.B) {
	bench(b, func(int) store.Query { return store.Query{Part: store.ByRank, To: 9, Reverse: true} })
}

func BenchmarkRank(b *testing.B) {
	names := make([][]string, 100_000)
	for i := range names {
		names[i] = []string{fmt.Sprint("member:", i)}
	}
	bench(b, func(i int) store.Query {
		return store.Query{Part: store.Rank, Names: names[i*7919%100_000], Reverse: true}
	})
}

func bench(b *testing.B, query func(int) store.Query) {
	s := memory.New(memory.Options{})
	defer s.Close()
	load(b, s, "board", store.SortedSet, 100_000)
	for i := 0; b.Loop(); i++ {
		q := query(i)
		q.Key, q.Kind = "board", store.SortedSet
		if v := s.Query(b.Context(), []store.Query{q})[0]; len(v.Elements) == 0 {
			b.Fatal(v)
		}
	}
}
