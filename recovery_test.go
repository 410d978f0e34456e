package nearside_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// fleet is a database and two processes before it, as far as one test binary can have two.
type fleet struct {
	rows   sync.Map
	server *redistest.Server
	writer *nearside.Cache[string, string]
	reader *nearside.Cache[string, string]
	w      *nearside.Client
	log    *journal // of the writer
}

// journal is what a client says, line by line.
type journal struct {
	mu sync.Mutex
	b  strings.Builder
}

func (l *journal) Write(p []byte) (int, error) { l.mu.Lock(); defer l.mu.Unlock(); return l.b.Write(p) }

func (l *journal) String() string { l.mu.Lock(); defer l.mu.Unlock(); return l.b.String() }

func newFleet(t *testing.T, server *redistest.Server) *fleet {
	f := &fleet{server: server, log: new(journal)}
	open := func(to slog.Handler) (*nearside.Client, *nearside.Cache[string, string]) {
		c, err := nearside.Open(t.Context(), server.URL(), nearside.Options{Logger: slog.New(to)})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c, nearside.New(c, "user", nearside.Config[string, string]{
			Load: func(_ context.Context, k string) (string, error) {
				v, _ := f.rows.Load(k)
				return v.(string), nil
			},
		})
	}
	f.w, f.writer = open(slog.NewTextHandler(f.log, nil))
	_, f.reader = open(slog.DiscardHandler)
	return f
}

// The real thing: Redis is killed and comes back with an old snapshot, or stops and goes on. What could not be invalidated
// meanwhile is gone within a second; the writing process never serves it, another one only until then.
func TestInvalidationsSurviveAnOutage(t *testing.T) {
	for name, outage := range map[string]struct{ begin, end func(*redistest.Server) }{
		"killed, back with an old snapshot": {
			func(s *redistest.Server) { s.Do(t, "SAVE"); s.Kill() }, func(s *redistest.Server) { s.Restart(t) },
		},
		"frozen": {(*redistest.Server).Pause, (*redistest.Server).Continue},
	} {
		t.Run(name, func(t *testing.T) {
			const keys = 50
			f := newFleet(t, redistest.Start(t))
			ctx := t.Context()
			key := func(i int) string { return fmt.Sprint(i) }
			for i := range keys {
				f.rows.Store(key(i), "old")
				f.reader.Get(ctx, key(i))
			}
			outage.begin(f.server)
			var told sync.WaitGroup
			for i := range keys {
				told.Go(func() {
					f.rows.Store(key(i), "new")
					if err := f.writer.Invalidate(ctx, key(i)); !errors.Is(err, nearside.ErrUnavailable) {
						t.Errorf("invalidate: %v, want ErrUnavailable", err)
					}
				})
			}
			told.Wait()
			if n := f.w.Stats(ctx).Deferred; n != keys {
				t.Errorf("%d pending, want %d", n, keys)
			}

			stop := make(chan struct{})
			var reads, stale atomic.Int64
			var lastStale atomic.Int64 // when the last read of an old value began; Unix nanoseconds
			var readers sync.WaitGroup
			for i := range keys {
				readers.Go(func() {
					for {
						select {
						case <-stop:
							return
						default:
						}
						if v, err := f.writer.Get(ctx, key(i)); v != "new" || err != nil {
							t.Errorf("the writing process reads %q, %v", v, err)
							return
						}
						began := time.Now().UnixNano()
						if v, err := f.reader.Get(ctx, key(i)); err != nil {
							t.Errorf("another process reads %q, %v", v, err)
						} else if v == "old" {
							stale.Add(1)
							for last := lastStale.Load(); last < began && !lastStale.CompareAndSwap(last, began); last = lastStale.Load() {
							}
						}
						reads.Add(2)
						<-time.After(time.Millisecond)
					}
				})
			}
			<-time.After(time.Second)
			outage.end(f.server)
			back := time.Now()
			for f.w.Stats(ctx).Deferred > 0 && time.Since(back) < 5*time.Second {
				<-time.After(time.Millisecond)
			}
			took := time.Since(back)
			delivered := time.Now()
			<-time.After(300 * time.Millisecond)
			close(stop)
			readers.Wait()
			t.Logf("delivered %v after Redis was back; %d reads, %d of the other process were stale", took, reads.Load(), stale.Load())
			if took > time.Second {
				t.Errorf("delivered %v after Redis was back, want within a second", took)
			}
			if late := time.Duration(lastStale.Load() - delivered.UnixNano()); late > 0 {
				t.Errorf("another process read an old value by a read that began %v after the delivery", late)
			}
			for i := range keys {
				if v, _ := f.server.Do(t, "GET", "user:"+key(i)).ToString(); v != "" && v != `"new"` {
					t.Errorf("user:%d is %s in Redis", i, v)
				}
			}
			if s := f.w.Stats(ctx); s.Repeated != keys {
				t.Errorf("%d repeated, want %d", s.Repeated, keys)
			}
			if said := f.log.String(); strings.Count(said, "invalidations repeated") != 1 || // a busy machine may be slow once more
				!strings.Contains(said, fmt.Sprintf("s, %d invalidations repeated", keys)) || strings.Contains(said, "invalidations delivered") {
				t.Errorf("want one sentence about its return and what was repeated in\n%s", said)
			}
		})
	}
}

// More than are kept: all of the cache is read past, and swept when Redis is back.
func TestOverflowIsSwept(t *testing.T) {
	f := newFleet(t, redistest.Start(t))
	nearside.SetMaxPending(f.w, 100)
	ctx := t.Context()
	var ks []string
	for i := range 1000 {
		k := fmt.Sprint(i)
		ks = append(ks, k)
		f.rows.Store(k, "old")
	}
	f.reader.GetMany(ctx, ks)
	f.server.Do(t, "SET", "order:1", "1", "EX", "1000")
	f.server.Do(t, "SAVE")
	f.server.Kill()
	for _, k := range ks {
		f.rows.Store(k, "new")
	}
	if err := f.writer.Invalidate(ctx, ks...); !errors.Is(err, nearside.ErrUnavailable) {
		t.Fatalf("got %v", err)
	}
	f.server.Restart(t)
	back := time.Now()
	for nearside.Past(f.w) > 0 && time.Since(back) < 10*time.Second {
		if v, err := f.writer.Get(ctx, "7"); v != "new" {
			t.Fatalf("the writing process reads %q, %v", v, err)
		}
	}
	t.Logf("swept %v after Redis was back", time.Since(back))
	for _, k := range ks {
		if v, _ := f.server.Do(t, "GET", "user:"+k).ToString(); v != "" && v != `"new"` {
			t.Fatalf("user:%s is %s in Redis after the sweep", k, v)
		}
	}
	if v, _ := f.server.Do(t, "GET", "order:1").ToString(); v != "1" {
		t.Errorf("another program's key is %q", v)
	}
	if nearside.Past(f.w) > 0 {
		t.Error("the cache is still read past")
	}
	f.writer.Get(ctx, "7")
	if e, err := f.writer.GetEntry(ctx, "7"); e.Source != nearside.SourceStore {
		t.Errorf("got %+v, %v, want it from the store", e, err)
	}
}

// Close delivers what it can in 5 s, and says what is left.
func TestCloseOfABehindClient(t *testing.T) {
	f := newFleet(t, redistest.Start(t))
	f.rows.Store("42", "old")
	f.reader.Get(t.Context(), "42")
	f.server.Pause()
	f.writer.Invalidate(t.Context(), "42")
	time.AfterFunc(time.Second, f.server.Continue)
	if err := f.w.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	if n, _ := f.server.Do(t, "EXISTS", "user:42").AsInt64(); n != 0 {
		t.Error("the old value is still there")
	}

	f = newFleet(t, redistest.Start(t))
	f.server.Kill()
	f.writer.Invalidate(t.Context(), "42")
	began := time.Now()
	err := f.w.Close()
	if err == nil || !errors.Is(err, nearside.ErrUnavailable) || !strings.HasPrefix(err.Error(), `close: 1 invalidation could not be delivered, such as "user:42": `) {
		t.Errorf("close: %v", err)
	}
	if took := time.Since(began); took < 4*time.Second || took > 6*time.Second {
		t.Errorf("close took %v, want 5 s", took)
	}
	t.Log(err)
}
