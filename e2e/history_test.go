package e2e

import (
	"context"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store/redis/history"
	"github.com/nearside/nearside/internal/testhooks"
)

var historyRuns = flag.Int("e2e.history", 1, "how often each data set goes back in time; more than once: by 20 s, and not by less")

// behind is how old the data sets are that come back. By default it is a few seconds, and nothing of that is repeated.
func behind(t testing.TB) time.Duration {
	if *historyRuns > 1 {
		return 20 * time.Second
	}
	before := history.LossMended
	history.LossMended = time.Second
	testhooks.WithoutRepeat.Store(true)
	t.Cleanup(func() { history.LossMended = before; testhooks.WithoutRepeat.Store(false) })
	return 2500 * time.Millisecond
}

// aged is a fleet whose data set goes back in time.
type aged struct {
	*fleet
	server *redistest.Server
	back   time.Time // when the data set was an old one
}

func newAged(t *testing.T, s *redistest.Server) *aged {
	t.Helper()
	f := newFleet(t, s.URL(), spread(120), nearside.Options{})
	f.warm(t)
	f.startReads()
	f.goOn(1500 * time.Millisecond) // looks
	return &aged{fleet: f, server: s}
}

// write has all members write for a time, and one more that ends before.
func (a *aged) write(t *testing.T, d time.Duration) {
	t.Helper()
	extra, err := newMember(seed.Rand(t), "x", a.server.URL(), a.db, a.keys, nearside.Options{}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), d/2)
	defer cancel()
	a.startWrites()
	extra.write(ctx, extra.rng)
	if err := extra.client.Close(); err != nil {
		t.Error(err)
	}
	a.goOn(d / 2)
	a.stopWrites()
	a.writing.Wait()
}

// noticed waits until all members have noticed, and returns how long after the data set was back the last one had.
func (f *fleet) noticed(t testing.TB, back time.Time) (last time.Duration) {
	t.Helper()
	eventually.True(t, "all processes notice that the data set is an old one", func() bool {
		return !slices.ContainsFunc(f.members, func(m *member) bool { return m.lines.older.Load() < back.UnixNano() })
	})
	for _, m := range f.members {
		last = max(last, time.Unix(0, m.lines.older.Load()).Sub(back))
	}
	return last
}

// read lets readers go on until the caches are read again, and returns what was stale.
func (a *aged) read(t testing.TB) (r *report, left []string) {
	t.Helper()
	for _, m := range a.members {
		eventually.True(t, "the caches are read again", func() bool {
			e, err := m.rows.GetEntry(context.Background(), a.keys[0])
			return err == nil && e.Source == nearside.SourceStore
		})
	}
	a.goOn(time.Second)
	a.stop()
	r = a.total()
	left = a.survivors(t)
	t.Log(r)
	return r, left
}

func (a *aged) fine(t testing.TB) {
	t.Helper()
	r, left := a.read(t)
	if len(r.Stale) > 0 || len(left) > 0 {
		t.Errorf("%d stale reads %+v, %d of %d keys stale", len(r.Stale), r.Stale[:min(len(r.Stale), 3)], len(left), len(a.keys))
	}
	a.served(t, r)
}

func folder(t testing.TB, s *redistest.Server) string {
	t.Helper()
	dir, err := s.Do(t, "CONFIG", "GET", "dir").AsStrMap()
	if err != nil {
		t.Fatal(err)
	}
	return dir["dir"]
}

// A server that is killed starts from the last snapshot that it has written.
func TestOldSnapshot(t *testing.T) {
	var longest time.Duration
	for run := range *historyRuns {
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			a := oldSnapshot(t)
			longest = max(longest, a.noticed(t, a.back))
			a.fine(t)
		})
	}
	t.Logf("noticed at most %v after the server was started again", longest.Round(time.Millisecond))
}

func oldSnapshot(t *testing.T) *aged {
	age := behind(t)
	s := redistest.Start(t)
	a := newAged(t, s)
	s.Do(t, "SAVE")
	a.write(t, age)
	s.Kill()
	a.back = time.Now()
	s.Restart(t)
	return a
}

// Without the rule the test above fails.
func TestOldSnapshotIsServedWithoutHistory(t *testing.T) {
	testhooks.WithoutHistory.Store(true)
	defer testhooks.WithoutHistory.Store(false)
	for range 5 { // writers may replace every old value within the run
		a := oldSnapshot(t)
		a.goOn(4 * time.Second)
		a.stop()
		r, left := a.total(), a.survivors(t)
		t.Logf("%d stale reads, %d of %d keys stale at the end", len(r.Stale), len(left), len(a.keys))
		if len(r.Stale) > 0 && len(left) > 0 {
			return
		}
	}
	t.Error("the test shows nothing")
}

// All processes end, and start again with the server.
func TestOldSnapshotForFreshProcesses(t *testing.T) {
	age := behind(t)
	s := redistest.Start(t)
	a := newAged(t, s)
	s.Do(t, "SAVE")
	a.write(t, age)
	a.stop()
	for _, m := range a.members {
		if err := m.client.Close(); err != nil {
			t.Error(err)
		}
	}
	s.Restart(t)
	b := &aged{fleet: newFleetOn(t, s.URL(), a.db, a.keys, nearside.Options{}, 0), server: s}
	b.startReads()
	began := time.Now()
	t.Logf("noticed within %v", b.noticed(t, began.Add(-5*time.Second))-5*time.Second)
	b.startWrites()
	b.goOn(time.Second)
	b.stopWrites()
	b.writing.Wait()
	b.fine(t)
	if n, _ := s.Do(t, "DBSIZE").AsInt64(); n < int64(len(b.keys))/2 {
		t.Errorf("%d keys are cached", n)
	}
}

// An append-only file lacks the last second of a machine that has died. That is repeated; a longer time is emptied.
func TestShortenedAppendOnlyFile(t *testing.T) {
	for _, c := range []struct {
		name string
		lost func(t testing.TB) time.Duration
		old  bool
	}{
		{"a second", func(testing.TB) time.Duration { return time.Second }, false},
		{"more", behind, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			lost := c.lost(t)
			s := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "everysec")
			a := newAged(t, s)
			eventually.True(t, "the cache is read", func() bool {
				e, err := a.members[0].rows.GetEntry(context.Background(), a.keys[0])
				return err == nil && e.Source == nearside.SourceStore
			})
			a.startWrites()
			a.goOn(time.Second)
			file, size := appended(t, s)
			a.goOn(lost)
			a.stopWrites()
			a.writing.Wait()
			before := a.repeats()
			s.Kill()
			if err := os.Truncate(file, size); err != nil {
				t.Fatal(err)
			}
			back := time.Now()
			s.Restart(t)
			if c.old {
				t.Logf("noticed within %v", a.noticed(t, back))
				a.fine(t)
				return
			}
			repeated := a.repeatedSince(t, before)
			a.goOn(time.Second)
			a.stop()
			a.repaired(t, a.total(), repeated)
			if a.members[0].lines.older.Load() > back.UnixNano() {
				t.Error("the cache was emptied")
			}
		})
	}
}

// appended returns the file to which the server appends, and its size.
func appended(t testing.TB, s *redistest.Server) (file string, size int64) {
	t.Helper()
	filepath.WalkDir(folder(t, s), func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".incr.aof") {
			file = path
		}
		return nil
	})
	info, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	return file, info.Size()
}

// A backup takes the place of the data set: while the server is down, or while it runs.
func TestRestoredBackup(t *testing.T) {
	for _, c := range []struct {
		name    string
		restore func(t *testing.T, s *redistest.Server, backup string)
		inPlace bool
	}{
		{"stop and start", func(t *testing.T, s *redistest.Server, backup string) {
			dir := folder(t, s)
			s.Do(t, "SAVE")
			s.Kill()
			replace(t, backup, dir)
			s.Restart(t)
		}, false},
		{"reload", func(t *testing.T, s *redistest.Server, backup string) {
			replace(t, backup, folder(t, s))
			s.Do(t, "DEBUG", "RELOAD", "NOSAVE")
		}, true},
		{"replication", func(t *testing.T, s *redistest.Server, backup string) {
			other := redistest.Start(t)
			replace(t, backup, folder(t, other))
			other.Restart(t)
			host, port, _ := strings.Cut(other.Addr, ":")
			s.Do(t, "REPLICAOF", host, port)
			eventually.True(t, "the replica follows", func() bool {
				text, _ := s.Do(t, "INFO", "replication").ToString()
				return strings.Contains(text, "master_link_status:up")
			})
			s.Do(t, "REPLICAOF", "NO", "ONE")
		}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			age := behind(t)
			s := redistest.Start(t, "--enable-debug-command", "local", "--repl-diskless-sync-delay", "0")
			a := newAged(t, s)
			s.Do(t, "SAVE")
			backup := filepath.Join(t.TempDir(), "backup")
			copyFile(t, filepath.Join(folder(t, s), "dump.rdb"), backup)
			a.write(t, age)
			back := time.Now()
			c.restore(t, s, backup)
			restored := time.Now()
			took := a.noticed(t, back)
			if !c.inPlace {
				t.Logf("noticed within %v", took)
				a.fine(t)
				return
			}
			// The connections stay, so that there may be stale reads until the next look.
			all := back.Add(took)
			t.Logf("restored within %v; noticed %v after that", restored.Sub(back).Round(time.Millisecond), all.Sub(restored).Round(time.Millisecond))
			r, left := a.read(t)
			if late := r.staleAfter(all); len(late) > 0 || len(left) > 0 {
				t.Errorf("%d stale reads after all had noticed, %d keys stale", len(late), len(left))
			}
			if len(r.Stale) > 0 {
				t.Logf("%d stale reads before", len(r.Stale))
			}
			if all.Sub(restored) > 3*time.Second {
				t.Errorf("noticed %v after the data set was restored", all.Sub(restored))
			}
		})
	}
}

func replace(t testing.TB, backup, dir string) {
	t.Helper()
	copyFile(t, backup, filepath.Join(dir, "dump.rdb"))
}

func copyFile(t testing.TB, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// A replica that was cut off takes over.
func TestReplicaFarBehind(t *testing.T) {
	for _, kind := range sites {
		t.Run(kind.name, func(t *testing.T) {
			age := behind(t)
			s := kind.site(t)
			s.Wait(t)
			s.FlushAll(t)
			hot := keysOf(tagIn(0, 5000, 0), 40)
			f := newFleet(t, s.URL(), hot, nearside.Options{})
			master := s.Node(t, "row:"+hot[0])
			replica := replicaOf(t, s, master)
			f.warm(t)
			f.startReads()
			f.goOn(1500 * time.Millisecond)
			master.Do(t, "SET", "row:"+hot[0], `{"Version":0}`, "PX", "60000")
			if n, _ := master.Do(t, "WAIT", "1", "5000").AsInt64(); n < 1 {
				t.Fatal("the replica does not follow")
			}
			replica.Pause()
			master.Do(t, "CLIENT", "KILL", "TYPE", "replica")
			f.startWrites()
			f.goOn(min(age, 9*time.Second)) // after more it may not take over
			f.stopWrites()
			f.writing.Wait()
			master.Kill()
			replica.Continue()
			back := time.Now()
			s.Wait(t)
			a := &aged{fleet: f, server: master}
			t.Logf("noticed %v after the master was killed", f.noticed(t, back))
			a.fine(t)
			master.Restart(t)
			s.Wait(t)
		})
	}
}

var sites = []struct {
	name string
	site func(testing.TB) site
}{
	{"cluster", func(t testing.TB) site { return redistest.SharedCluster(t) }},
	{"sentinel", func(t testing.TB) site { return redistest.SharedSentinels(t) }},
}

// A replica that is up to date takes over: the cache stays.
func TestReplicaUpToDate(t *testing.T) {
	for _, kind := range sites {
		t.Run(kind.name, func(t *testing.T) {
			s := kind.site(t)
			s.Wait(t)
			s.FlushAll(t)
			hot := keysOf(tagIn(0, 5000, 0), 200)
			f := newFleet(t, s.URL(), hot, nearside.Options{})
			f.warm(t)
			written := hot[:20]
			for until := time.Now().Add(2500 * time.Millisecond); time.Now().Before(until); {
				for i, m := range f.members {
					m.invalidate(written[i*3 : i*3+3]...)
					m.update(written[10+i])
				}
				f.goOn(100 * time.Millisecond)
			}
			master := s.Node(t, "row:"+hot[0])
			master.Do(t, "SET", "row:"+hot[0], `{"Version":0}`, "PX", "60000")
			f.members[0].invalidate(hot[0])
			if n, _ := master.Do(t, "WAIT", "1", "5000").AsInt64(); n < 1 {
				t.Fatal("the replica does not follow")
			}
			before := f.repeats()
			began := time.Now()
			master.Kill()
			s.Wait(t)
			f.repeatedSince(t, before)
			now := s.Node(t, "row:"+hot[0])
			kept := 0
			for _, key := range hot {
				if n, _ := now.Do(t, "EXISTS", "row:"+key).AsInt64(); n == 1 {
					kept++
				}
			}
			emptied := 0
			for _, m := range f.members {
				if m.lines.older.Load() > began.UnixNano() {
					emptied++
				}
			}
			t.Logf("%d of %d keys are left; %d were invalidated within the last 10 s", kept, len(hot), len(written))
			if kept < len(hot)-len(written) {
				t.Error("the cache is not what it was")
			}
			if emptied > 0 {
				t.Errorf("%d of %d processes have emptied the cache", emptied, len(f.members))
			}
			fresh, err := newMember(seed.Rand(t), "fresh", s.URL(), f.db, hot, nearside.Options{}, 0)
			if err != nil {
				t.Fatal(err)
			}
			defer fresh.client.Close()
			eventually.True(t, "a new process reads the cache", func() bool {
				e, err := fresh.rows.GetEntry(context.Background(), hot[1])
				return err == nil && e.Source == nearside.SourceStore
			})
			if fresh.lines.older.Load() != 0 {
				t.Error("a new process has emptied the cache")
			}
			master.Restart(t)
			s.Wait(t)
		})
	}
}

// FLUSHALL removes what the history is known by, and brings nothing back.
func TestFlushedHistory(t *testing.T) {
	s := redistest.Start(t, "--appendonly", "yes")
	a := newAged(t, s)
	a.stop()
	m := a.members[0]
	for range 3 {
		began := time.Now()
		s.Do(t, "FLUSHALL")
		eventually.True(t, "the cache is filled again", func() bool {
			m.get(a.keys[0])
			_, err := m.rows.Peek(context.Background(), a.keys[0])
			return err == nil
		})
		t.Logf("filled and read %v after FLUSHALL", time.Since(began).Round(time.Millisecond))
		a.goOn(1200 * time.Millisecond) // a look
	}
	for _, m := range a.members {
		if m.lines.older.Load() != 0 {
			t.Error("FLUSHALL was taken for an old data set")
		}
	}
}
