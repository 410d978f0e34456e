package memory_test

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
	"github.com/nearside/nearside/internal/store/storetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestConformance(t *testing.T) {
	storetest.Run(t, func(testing.TB) store.Store { return memory.New(memory.Options{}) })
}

func put(t testing.TB, s *memory.Store, key string, value []byte, ttl time.Duration) {
	if o := s.Put(t.Context(), []store.Put{{Key: key, Value: value, TTL: ttl}}, 0)[0]; o.Err != nil {
		t.Fatal(o.Err)
	}
}

// What nobody asks for again is swept within a minute of its end.
func TestSweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := memory.New(memory.Options{})
		defer s.Close()
		for i := range 10_000 {
			put(t, s, fmt.Sprint(i), make([]byte, 100), time.Hour)
		}
		time.Sleep(time.Hour - time.Second)
		if u, _ := s.Usage(t.Context()); u.Keys != 10_000 {
			t.Errorf("%d keys before their end, want 10000", u.Keys)
		}
		time.Sleep(2 * time.Minute)
		if u, _ := s.Usage(t.Context()); u.Keys != 0 || u.Bytes != 0 {
			t.Errorf("%d keys, %d bytes a minute after their end, want none", u.Keys, u.Bytes)
		}
	})
}

// A deadline that passed before the call began says that the process did not run, and not that this store did not answer.
func TestPassedDeadline(t *testing.T) {
	s := memory.New(memory.Options{})
	defer s.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	if o := s.Put(ctx, []store.Put{{Key: "a", Value: []byte("1"), TTL: time.Hour}}, 0)[0]; o.Err != nil {
		t.Error(o.Err)
	}
	if item := s.Get(ctx, "a", false); !item.Found || item.Err != nil {
		t.Errorf("read %+v", item)
	}
}

func TestEviction(t *testing.T) {
	s := memory.New(memory.Options{MaxBytes: 1 << 20})
	defer s.Close()
	ctx := t.Context()
	s.Begin(ctx, []store.Intent{{Key: "intent", Token: "w1", Life: time.Hour}})
	s.Invalidate(ctx, []string{"hold"}, time.Hour)
	s.Acquire(ctx, []store.Claim{{Key: "lease", Token: "t1", Lease: time.Hour}})
	for i := range 20_000 { // absences, then values
		key := fmt.Sprint("absent:", i)
		s.Acquire(ctx, []store.Claim{{Key: key, Token: "t1", Lease: time.Hour}})
		s.Fill(ctx, []store.Fill{{Key: key, Token: "t1", Absent: true, TTL: time.Hour}})
	}
	for i := range 20_000 {
		put(t, s, fmt.Sprint("value:", i), make([]byte, 100), time.Hour)
		put(t, s, "hot", []byte("h"), time.Hour)
		s.Get(ctx, "hot", false)
	}
	u, _ := s.Usage(ctx)
	if u.Bytes > u.MaxBytes || u.Bytes < u.MaxBytes/2 || u.Evicted == 0 {
		t.Errorf("usage %+v", u)
	}
	if !s.Get(ctx, "hot", false).Found {
		t.Error("a value that is read all the time was evicted")
	}
	for _, key := range []string{"intent", "hold"} {
		if g := s.Acquire(ctx, []store.Claim{{Key: key, Token: "t2", Lease: time.Hour}})[0]; g.State != store.Barrier {
			t.Errorf("%s was evicted: %v", key, g.State)
		}
	}
	if g := s.Acquire(ctx, []store.Claim{{Key: "lease", Token: "t2", Lease: time.Hour}})[0]; g.State != store.Waiting {
		t.Errorf("a lease was evicted: %v", g.State)
	}
	put(t, s, "huge", make([]byte, 2<<20), time.Hour)
	if u, _ := s.Usage(ctx); u.Bytes > u.MaxBytes {
		t.Errorf("a value above the bound: %+v", u)
	}
}

// The bound is one of the heap, not of the values alone.
func TestHeapStaysBelowTheBound(t *testing.T) {
	if testing.Short() {
		t.Skip("puts 2,000,000 values (testing.Short)")
	}
	for _, max := range []int64{256 << 20, 1 << 30} {
		before := heap()
		s := memory.New(memory.Options{MaxBytes: max})
		const n = 1_000_000
		for i := range n {
			put(t, s, fmt.Sprintf("user:%d", i), make([]byte, 500), time.Hour)
		}
		used := heap() - before
		u, _ := s.Usage(t.Context())
		t.Logf("bound %d MiB: heap %d MiB, accounted %d MiB, %d values", max>>20, used>>20, u.Bytes>>20, u.Keys)
		if used > max+max/10 {
			t.Errorf("bound %d: the heap is %d", max, used)
		}
		if max == 1<<30 && u.Keys != n {
			t.Errorf("%d of %d values kept in 1 GiB", u.Keys, n)
		}
		s.Close()
	}
}

func heap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func BenchmarkHit(b *testing.B) {
	s := memory.New(memory.Options{})
	defer s.Close()
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = fmt.Sprintf("user:%d", i)
		put(b, s, keys[i], make([]byte, 500), time.Hour)
	}
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			if !s.Get(b.Context(), keys[i%len(keys)], false).Found {
				b.Fatal("not found")
			}
		}
	})
}
