package workers

import (
	"context"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// Tasks run at once, however many there are; Close lets no more begin, and Wait waits for those under way.
func TestPool(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		var running, done atomic.Int32
		for range 2 { // the second time in goroutines that are used again, as far as they have waited
			for range 2 * maxIdle {
				p.Run(Func(func() { running.Add(1); time.Sleep(time.Second); running.Add(-1); done.Add(1) }))
			}
			synctest.Wait()
			if n := running.Load(); n != 2*maxIdle {
				t.Errorf("%d tasks run, want %d", n, 2*maxIdle)
			}
			time.Sleep(time.Second)
			synctest.Wait()
			if n := len(p.idle); n != maxIdle {
				t.Errorf("%d goroutines wait, want %d", n, maxIdle)
			}
		}
		p.Run(Func(func() { time.Sleep(time.Second); done.Add(1) }))
		if !p.Close() || p.Close() {
			t.Error("Close must return true once")
		}
		if p.Run(Func(func() { t.Error("a task began after Close") })) {
			t.Error("Run returned true after Close")
		}
		p.Wait()
		if n := done.Load(); n != 4*maxIdle+1 {
			t.Errorf("%d tasks are done, want %d", n, 4*maxIdle+1)
		}
	})
}

func TestGoexit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		p.Run(Func(runtime.Goexit))
		synctest.Wait()
		if len(p.idle) != 0 {
			t.Error("a goroutine that ended waits for its next task")
		}
		p.Close()
		p.Wait()
	})
}

// Deadlines that are asked for at about the same time are the same, and end up to a sixteenth early, never late.
func TestDeadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const after = 16 * time.Second
		d := NewDeadlines(t.Context(), after, nil)
		time.Sleep(500 * time.Millisecond)
		began := time.Now()
		first := d.From(began)
		for _, wait := range []time.Duration{0, 300 * time.Millisecond} {
			time.Sleep(wait)
			if d.From(time.Now()) != first {
				t.Errorf("%v later the deadline is another one", wait)
			}
		}
		if d.From(began.Add(time.Second)) == first {
			t.Error("a sixteenth later the deadline is the same")
		}
		if d.At(began.Add(after)) != first {
			t.Error("At and From differ")
		}
		<-first.Done()
		if took := time.Since(began); took > after || took < after*15/16 {
			t.Errorf("it took %v, want %v or up to a sixteenth less", took, after)
		}
	})
}

type watched struct{ called atomic.Int32 }

func (w *watched) DeadlinePassed() { w.called.Add(1) }

// Watchers are called once, when the deadline passes or if it has passed, unless they have left.
func TestWatchers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var p Pool
		limit := NewDeadlines(t.Context(), time.Second, &p).From(time.Now())
		var tasks [5]watched
		var watchers [5]Watcher
		for i := range 4 {
			watchers[i].Task = &tasks[i]
			limit.Watch(&watchers[i])
		}
		limit.Unwatch(&watchers[0]) // the last of the list
		limit.Unwatch(&watchers[2])
		<-limit.Done()
		synctest.Wait()
		watchers[4].Task = &tasks[4]
		limit.Watch(&watchers[4])
		limit.Unwatch(&watchers[4])
		synctest.Wait()
		for i, want := range []int32{0, 1, 0, 1, 1} {
			if n := tasks[i].called.Load(); n != want {
				t.Errorf("watcher %d was called %d times, want %d", i, n, want)
			}
		}
	})
}

func TestDeadlinesUnderRace(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var p Pool
	d := NewDeadlines(ctx, 32*time.Millisecond, &p)
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() {
			for range 200 {
				var task watched
				w := Watcher{Task: &task}
				limit := d.From(time.Now())
				limit.Watch(&w)
				limit.Unwatch(&w)
				if left := time.Until(mustDeadline(limit)); left > 32*time.Millisecond {
					t.Errorf("it ends %v from now", left)
				}
			}
		})
	}
	all.Wait()
}

func mustDeadline(ctx context.Context) time.Time { d, _ := ctx.Deadline(); return d }

type key struct{}

// Within ends with the deadline, and has the values of the other context although that has ended.
func TestWithin(t *testing.T) {
	values, cancel := context.WithCancel(context.WithValue(t.Context(), key{}, "v"))
	cancel()
	limit, stop := context.WithCancel(context.Background())
	w := Within{Context: limit, Values: values}
	if w.Err() != nil || w.Value(key{}) != "v" {
		t.Errorf("err %v, value %v", w.Err(), w.Value(key{}))
	}
	stop()
	if w.Err() == nil {
		t.Error("it does not end with its deadline")
	}
}
