package redis_test

import (
	"context"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
)

// Why the connection that is told of changes is none that writes, and never NOLOOP: an own write on such a connection ends
// the tracking of its key without a word, so that the changes of others are not told either.
func TestNoLoopForgets(t *testing.T) {
	server := redistest.Shared(t)
	for _, c := range []struct {
		options []string
		want    int // pushes for an own write and for a foreign one behind it
	}{{[]string{"OPTOUT"}, 1}, {[]string{"OPTOUT", "NOLOOP"}, 0}} {
		server.Do(t, "FLUSHALL")
		pushed := make(chan string, 10)
		client, err := rueidis.NewClient(rueidis.ClientOption{
			InitAddress: []string{server.Addr}, ForceSingleClient: true, PipelineMultiplex: -1, ClientTrackingOptions: c.options,
			OnInvalidations: func(ms []rueidis.RedisMessage) {
				for _, m := range ms {
					key, _ := m.ToString()
					pushed <- key
				}
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx := t.Context()
		client.Do(ctx, client.B().Get().Key("a").Build())
		client.Do(ctx, client.B().Set().Key("a").Value("own").Build())
		server.Do(t, "SET", "a", "foreign")
		client.Do(ctx, client.B().Ping().Build()) // what was pushed before its answer is here
		if len(pushed) != c.want {
			t.Errorf("%q: %d pushes, want %d", c.options, len(pushed), c.want)
		}
		client.Close()
	}
}

// Every change of what was read is told, by whomever; and who waits is woken.
func TestTrack(t *testing.T) {
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			s := open(t, server.URL())
			told := make(chan string, 100)
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			tr, err := s.Track(ctx, func(key string) { told <- key }, func() { told <- "(lost)" })
			if err != nil {
				t.Fatal(err)
			}
			defer tr.Close()
			hears := func(what, want string) {
				t.Helper()
				for {
					select {
					case got := <-told:
						if got == want {
							return
						}
					case <-ctx.Done():
						t.Fatalf("%s was not told", what)
					}
				}
			}
			put := func(v string) { s.Put(ctx, []store.Put{{Key: "a", Value: []byte(v), TTL: time.Minute}}, 0) }
			if it := tr.Get(ctx, "a", true); it.Found || it.Err != nil {
				t.Fatalf("got %+v", it)
			}
			put("1")
			hears("the making of a key that was missing", "a")
			if it := tr.GetMany(ctx, []string{"b", "a"}, true)[1]; string(it.Value) != "1" || it.TTL <= 0 {
				t.Fatalf("got %+v", it)
			}
			s.Invalidate(ctx, []string{"a"}, 0)
			hears("an invalidation", "a")
			put("2")
			tr.Get(ctx, "a", false)
			s.Begin(ctx, []store.Intent{{Key: "a", Token: "w", Life: time.Minute}})
			hears("the begin of a write", "a")
			tr.Get(ctx, "a", false)
			s.End(ctx, []store.End{{Key: "a", Token: "w", Put: true, Value: []byte("3"), TTL: time.Minute}})
			hears("its end", "a")

			s.Acquire(ctx, []store.Claim{{Key: "w", Token: "t1", Lease: time.Minute}})
			for _, end := range []func(){
				func() { s.Release(ctx, []store.Lease{{Key: "w", Token: "t1"}}) },
				func() { put("4") },
			} {
				woken, stop, err := tr.Await(ctx, []string{"w", "a"})
				if err != nil {
					t.Fatal(err)
				}
				select {
				case <-woken:
					t.Error("woken by nothing")
				case <-time.After(20 * time.Millisecond):
				}
				end()
				select {
				case <-woken:
				case <-ctx.Done():
					t.Fatal("nobody woke who waits")
				}
				stop()
			}
			// An absence ends by all that changes its key or its sidecar.
			for _, end := range []struct {
				name string
				do   func()
			}{
				{"an invalidation of an absence", func() { s.Invalidate(ctx, []string{"n"}, 0) }},
				{"a value in place of an absence", func() { server.Node(t, "n").Do(t, "SET", "n", "foreign", "PX", "60000") }},
				{"the begin of a write of an absence", func() { s.Begin(ctx, []store.Intent{{Key: "n", Token: "w2", Life: time.Minute}}) }},
			} {
				s.Invalidate(ctx, []string{"n"}, 0)
				s.Acquire(ctx, []store.Claim{{Key: "n", Token: "t2", Lease: time.Minute}})
				if d := tr.Absences(ctx, []string{"n"}); d[0] != 0 {
					t.Errorf("a lease is taken for an absence of %v", d[0])
				}
				s.Fill(ctx, []store.Fill{{Key: "n", Token: "t2", Absent: true, TTL: time.Minute}})
				hears("the absence", "n")
				ds := tr.Absences(ctx, []string{"a", "n"})
				limit := time.Minute
				if kind.Name == "cluster" {
					limit = time.Second
				}
				if ds[0] != 0 || ds[1] <= 0 || ds[1] > limit {
					t.Errorf("absences are kept for %v", ds)
				}
				for len(told) > 0 {
					<-told
				}
				end.do()
				hears(end.name, "n")
				if d := tr.Absences(ctx, []string{"n"}); d[0] != 0 {
					t.Errorf("behind %s it is absent for %v", end.name, d[0])
				}
			}

			tr.Get(ctx, "a", false)
			server.FlushAll(t)
			hears("FLUSHALL", "(lost)")
		})
	}
}
