package fleetstats

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
	"github.com/nearside/nearside/internal/tally"
)

func TestMain(m *testing.M) {
	if os.Getenv(childURL) != "" {
		os.Exit(child())
	}
	status := redistest.Main(m)
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

func open(t testing.TB, url string) *redis.Store {
	t.Helper()
	s, err := redis.Open(t.Context(), url, redis.Options{Require: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// process is a process whose numbers a test sets.
type process struct {
	*Reporter
	mu     sync.Mutex
	caches map[string]Local
}

func join(t testing.TB, r Redis) *process {
	p := &process{caches: make(map[string]Local)}
	p.Reporter = Start(Config{Redis: r, Caches: p.snapshot, Problems: func() []string { return []string{"a problem"} }, Version: "v1"})
	t.Cleanup(p.Close)
	return p
}

func (p *process) snapshot() map[string]Local {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.caches)
}

// count adds to what a cache counted.
func (p *process) count(cache string, f func(*Local)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c := p.caches[cache]
	f(&c)
	p.caches[cache] = c
}

// addHot has the next flushes find hot keys, once.
func (c *Local) addHot(keys ...hotkeys.Key) {
	c.Hot = func(n int) []hotkeys.Key {
		out := keys[:min(n, len(keys))]
		keys = nil
		return out
	}
}

func read(t testing.TB, r *Reader, q fleet.Query) *fleet.View {
	t.Helper()
	v, err := r.Read(t.Context(), q)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func cacheOf(t testing.TB, v *fleet.View, name string) *fleet.Cache {
	t.Helper()
	for i := range v.Caches {
		if v.Caches[i].Name == name {
			if v.Caches[i].Err != nil {
				t.Fatal(v.Caches[i].Err)
			}
			return &v.Caches[i]
		}
	}
	t.Fatalf("there is no cache %q among %q", name, v.Names)
	return nil
}

func TestReportsAddUp(t *testing.T) {
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			back := kind.Shared(t)
			back.FlushAll(t)
			a, b := join(t, open(t, back.URL())), join(t, open(t, back.URL()))
			names := []string{"user", "odd {name}", "}", "%7D", "new\nline", "日本", "{}"}
			for i, name := range names {
				a.count(name, func(c *Local) {
					c.Counts[tally.Near], c.Counts[tally.Load], c.Counts[tally.LoadOK], c.Counts[tally.SavedMicros] = 90, 10, 10, 9_000_000
					c.Latency[tally.StoreTier][40] = 99
					c.Config, c.NearEntries, c.NearBytes = "aaaa", 5, 500
					c.addHot(hotkeys.Key{Key: "k\x1b[31m\n", Reads: 70}, hotkeys.Key{Key: "cold", Reads: 1})
				})
				b.count(name, func(c *Local) {
					c.Counts[tally.Near] = uint64(i)
					c.Config, c.NearEntries = map[bool]string{true: "bbbb", false: "aaaa"}[i == 0], 3
					c.addHot(hotkeys.Key{Key: "k\x1b[31m\n", Reads: 7})
				})
			}
			a.flush(false)
			b.flush(false)
			a.count("user", func(c *Local) { c.Counts[tally.Near] += 1000 })
			a.flush(false)
			a.flush(false) // nothing is new

			v := read(t, NewReader(open(t, back.URL())), fleet.Query{})
			slices.Sort(names)
			if !slices.Equal(v.Names, names) {
				t.Fatalf("the caches are %q, want %q", v.Names, names)
			}
			if len(v.Members) != 2 || !v.Members[0].Alive(v.At) || v.Members[0].Version != "v1" || v.Members[0].Breaker != "closed" || v.Members[0].Problems[0] != "a problem" {
				t.Errorf("the members are %+v", v.Members)
			}
			user := cacheOf(t, v, "user")
			for _, w := range []*fleet.Window{&user.Now, &user.Hour, &user.Day} {
				if w.Near != 1090 || w.Reads() != 1100 || w.Loads() != 10 || w.StoreLatency.N() != 99 {
					t.Errorf("in %v user counted %v", w.Span, w.Counts)
				}
			}
			if rate := user.Now.SavedPerSecond(); rate <= 0 || rate > 9 || user.Now.Span > 2*time.Minute {
				t.Errorf("%v s are saved each second, of 9 in %v", rate, user.Now.Span)
			}
			if user.NearEntries != 8 || user.NearBytes != 500 || !user.Drifts() || len(user.Configs) != 2 {
				t.Errorf("near are %d entries in %d bytes, the settings are %v", user.NearEntries, user.NearBytes, user.Configs)
			}
			if len(user.Hot) != 2 || user.Hot[0].Key != "k\x1b[31m\n" || user.Hot[0].Reads != 77 || user.Hot[0].PerSecond <= 0 {
				t.Errorf("the hot keys are %+v", user.Hot)
			}
			if last := user.Minutes[len(user.Minutes)-1]; len(user.Minutes) > 2 || len(user.Tens) > 2 || last.StoreLatency.P99 == 0 && len(user.Minutes) == 1 {
				t.Errorf("the minutes are %+v", user.Minutes)
			}
			if odd := cacheOf(t, v, "odd {name}"); odd.Drifts() || odd.Now.Reads() == 0 {
				t.Errorf("the odd cache is %+v", odd.Now.Counts)
			}
			if all := v.Now.Reads(); all != 1000+7*100+21 {
				t.Errorf("all caches together had %d reads", all)
			}
			if one := read(t, NewReader(open(t, back.URL())), fleet.Query{Cache: "}", Back: time.Minute}); len(one.Caches) != 1 || one.Caches[0].Now.Reads() == 0 || one.Caches[0].Day.Span != 0 {
				t.Errorf("asked for one cache, now: %+v", one.Caches)
			}
			b.Close()
			v = read(t, NewReader(open(t, back.URL())), fleet.Query{Back: time.Minute})
			if i := slices.IndexFunc(v.Members, func(m fleet.Member) bool { return m.ID == b.me.ID }); i < 0 || v.Members[i].Alive(v.At) {
				t.Errorf("the members are %+v, want the one that was closed to be gone", v.Members)
			}
			back.Invariants(t)
		})
	}
}

// A reader remembers the minutes that are over, and sees in them what one sees who reads all anew.
func TestReaderRemembers(t *testing.T) {
	srv := redistest.Shared(t)
	srv.FlushAll(t)
	withinAMinute()
	now := minuteOf(time.Now())
	srv.Do(t, "ZADD", cachesKey, "1", "user")
	srv.Do(t, "SET", sinceKey, fmt.Sprint((now-3000)*60))
	var want uint64
	for m := now - 1500; m < now-2; m++ {
		srv.Do(t, "SET", minuteKey("user", m), minuteText(uint64(m-now+2000)))
		if m >= firstOf(aDay, now) {
			want += uint64(m - now + 2000)
		}
	}
	trips := &counting{Redis: open(t, srv.URL())}
	r := NewReader(trips)
	hour := read(t, r, fleet.Query{Back: time.Hour})
	if trips.trips != 2 || hour.Caches[0].Hour.Near == 0 {
		t.Errorf("an hour took %d trips: %+v", trips.trips, hour.Caches[0].Hour.Counts)
	}
	v := read(t, r, fleet.Query{})
	c := cacheOf(t, v, "user")
	if got := c.Day.Near; got != want || len(c.Tens) != 144 || len(c.Minutes) != 60 || c.Day.Span < 1430*time.Minute {
		t.Errorf("a day had %d reads in %v, want %d; %d and %d points", got, c.Day.Span, want, len(c.Tens), len(c.Minutes))
	}
	read(t, r, fleet.Query{Back: time.Minute}) // who asks for little does not end what is known
	gone, leave := context.WithCancel(t.Context())
	leave()
	if _, err := r.Read(gone, fleet.Query{}); err == nil {
		t.Error("a reader who has left was answered")
	}
	trips.trips, trips.commands = 0, 0
	srv.Do(t, "SET", minuteKey("user", now-1), minuteText(5))
	read(t, r, fleet.Query{})
	srv.Do(t, "SET", minuteKey("user", now-1), minuteText(10)) // a late report
	again := cacheOf(t, read(t, r, fleet.Query{}), "user")
	if got := again.Day.Near; got != want+10 {
		t.Errorf("with a late report a day had %d reads, want %d", got, want+10)
	}
	if trips.trips != 4 || trips.commands > 2*(3+1+1+2) {
		t.Errorf("two more reads took %d trips and %d commands", trips.trips, trips.commands)
	}
}

// minuteText is a minute's value.
func minuteText(near uint64) string {
	var t tally.Tally
	t.Counts[tally.Near] = near
	return encode(&t)
}

// Hot keys are those of as long as is asked for, with their share in the reads of just so long.
func TestHotKeysOfAWhile(t *testing.T) {
	srv := redistest.Shared(t)
	srv.FlushAll(t)
	withinAMinute()
	now := minuteOf(time.Now())
	srv.Do(t, "ZADD", cachesKey, "1", "user")
	srv.Do(t, "SET", sinceKey, fmt.Sprint((now-60)*60))
	for m := now - 12; m <= now; m++ {
		srv.Do(t, "SET", minuteKey("user", m), minuteText(100))
		srv.Do(t, "ZADD", hotKey("user", m), "50", "k")
	}
	r := NewReader(open(t, srv.URL()))
	for _, c := range []struct {
		hot  time.Duration
		want uint64 // minutes
	}{{0, 2}, {10 * time.Minute, 11}, {time.Minute, 2}, {90 * time.Second, 3}, {5 * time.Minute, 6}, {time.Hour, 11}} {
		for _, r := range []*Reader{r, NewReader(open(t, srv.URL()))} {
			v := read(t, r, fleet.Query{Back: time.Minute, Hot: c.hot})
			k := cacheOf(t, v, "user").Hot[0]
			if perMinute := 60 * k.PerSecond; k.Reads != 50*c.want || k.Share != 0.5 || perMinute < 45 || perMinute > 110 {
				t.Errorf("in %v the key was read %+v, want %d times, half of all", c.hot, k, 50*c.want)
			}
			if got := cacheOf(t, v, "user").Now.Reads(); got != 200 {
				t.Errorf("now are %d reads, want 200", got)
			}
		}
	}
}

type counting struct {
	Redis
	trips, commands int
}

func (c *counting) Run(ctx context.Context, cmds []store.Command) []store.Reply {
	c.trips++
	c.commands += len(cmds)
	return c.Redis.Run(ctx, cmds)
}

func TestGarbageIsLeftOut(t *testing.T) {
	srv := redistest.Shared(t)
	srv.FlushAll(t)
	p := join(t, open(t, srv.URL()))
	p.count("user", func(c *Local) { c.Counts[tally.Near] = 5 })
	p.flush(false)
	now := minuteOf(time.Now())
	srv.Do(t, "SET", minuteKey("user", now-1), "\x84\xa49z9z\x01\xa0\x01\xa1l\x07\xa1s\xff")
	srv.Do(t, "SET", minuteKey("user", now-5), "a text")
	srv.Do(t, "ZADD", minuteKey("user", now-6), "1", "a set")
	srv.Do(t, "DEL", hotKey("user", now), hotKey("user", now-1))
	srv.Do(t, "ZADD", hotKey("user", now-1), "inf", "a", "-3", "b", "1e300", "c", "4", "d")
	srv.Do(t, "SET", hotKey("user", now), "a text")
	srv.Do(t, "ZADD", membersKey, fmt.Sprint(time.Now().Unix()), "evil", "99", "none")
	srv.Do(t, "SET", memberKey("evil"), `{"id":"evil","started":5}`)
	srv.Do(t, "ZADD", cachesKey, fmt.Sprint(time.Now().Unix()), strings.Repeat("x", maxName+1), "1", "")
	v := read(t, NewReader(open(t, srv.URL())), fleet.Query{})
	if c := cacheOf(t, v, "user"); c.Hour.Reads() != 12 || len(c.Hot) != 1 || c.Hot[0].Key != "d" || len(v.Caches) != 1 || len(v.Members) != 1 {
		t.Errorf("%d reads, hot %v, %d caches, %d members", c.Hour.Reads(), c.Hot, len(v.Caches), len(v.Members))
	}
}

// What the server refuses is part of the next report.
func TestWhatWasRefusedIsSentLater(t *testing.T) {
	srv := redistest.Start(t)
	p := join(t, open(t, srv.URL()))
	p.count("user", func(c *Local) { c.Counts[tally.Near], c.Counts[tally.Load] = 5, 1 })
	srv.Do(t, "CONFIG", "SET", "maxmemory", "1") // and evict nothing
	p.flush(false)
	p.flush(false)
	srv.Do(t, "CONFIG", "SET", "maxmemory", "0")
	p.count("user", func(c *Local) { c.Counts[tally.Near] += 2 })
	p.flush(false)
	if c := cacheOf(t, read(t, NewReader(open(t, srv.URL())), fleet.Query{}), "user"); c.Hour.Near != 7 || c.Hour.Load != 1 {
		t.Errorf("found %v, want all that was counted", c.Hour.Counts)
	}
	srv.Invariants(t)
}

func TestWhatIsSentAgain(t *testing.T) {
	now := time.Now()
	refused := errors.New("OOM")
	for _, c := range []struct {
		name  string
		reply store.Reply
		age   time.Duration
		again bool
	}{
		{"added", store.Reply{}, time.Second, false},
		{"refused", store.Reply{Err: refused}, time.Second, true},
		{"away", store.Reply{Err: store.ErrAway}, resendLimit, true},
		{"refused for too long", store.Reply{Err: refused}, resendLimit + 1, false},
		{"no answer", store.Reply{Err: context.DeadlineExceeded, Unknown: true}, time.Second, false},
	} {
		ch := change{sent: &sent{at: now.Add(-c.age)}}
		ch.now.Counts[tally.Near] = 7
		ch.settle(c.reply, now)
		if again := ch.sent.last.Counts[tally.Near] == 0; again != c.again {
			t.Errorf("%s: sent again %v, want %v", c.name, again, c.again)
		}
	}
}

// What may have been added is not added twice, and nobody waits for a server that hangs.
func TestAServerThatHangs(t *testing.T) {
	srv := redistest.Start(t)
	p := join(t, open(t, srv.URL()))
	p.count("user", func(c *Local) { c.Counts[tally.Near] = 1 })
	p.flush(false)
	srv.Pause()
	var before, after runtime.MemStats
	var worst time.Duration
	for i := range 50 {
		if i == 10 {
			runtime.GC()
			runtime.ReadMemStats(&before)
		}
		p.count("user", func(c *Local) { c.Counts[tally.Near]++; c.Latency[tally.StoreTier][i]++ })
		began := time.Now()
		p.flush(false)
		worst = max(worst, time.Since(began))
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	if worst > flushLimit+2*time.Second { // on a busy machine
		t.Errorf("a flush took %v", worst)
	}
	if grown := int64(after.HeapAlloc) - int64(before.HeapAlloc); grown > 256<<10 {
		t.Errorf("40 flushes of a server that hangs left %d bytes", grown)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	began := time.Now()
	if v, err := p.Reader().Read(ctx, fleet.Query{}); err == nil || time.Since(began) > 300*time.Millisecond {
		t.Errorf("a reader got %v, %v after %v, want an error after 100ms", v, err, time.Since(began))
	}
	srv.Continue()
	store := open(t, srv.URL())
	until := time.Now().Add(5 * time.Second)
	var got uint64
	for p.flush(false); time.Now().Before(until); p.flush(false) {
		if len(p.sent) == 1 && p.sent["user"].last.Counts[tally.Near] == 51 && p.cfg.Redis.State() == "closed" {
			break
		}
		<-time.After(20 * time.Millisecond)
	}
	p.count("user", func(c *Local) { c.Counts[tally.Near]++ })
	p.flush(false)
	got = cacheOf(t, read(t, NewReader(store), fleet.Query{}), "user").Hour.Near
	if got > 52 || got < 2 {
		t.Errorf("%d reads are told of 52: at most what was counted, and what was counted when it answered", got)
	}
	t.Logf("the slowest flush took %v; %d of 52 reads arrived", worst, got)
}

// A missing right is named once, with the command that grants it, until it is granted.
func TestAMissingRight(t *testing.T) {
	srv := redistest.Start(t, slices.Concat([]string{"--user", "app", "on", ">s3cret"}, redistest.Rights, []string{"-expire", "-zadd"})...)
	s := open(t, strings.Replace(srv.URL(), "://", "://app:s3cret@", 1))
	p := join(t, s)
	p.count("user", func(c *Local) { c.Counts[tally.Near] = 5 })
	p.flush(false)
	p.flush(false)
	about := func() []string { // statistics: the store itself misses the keys too, and may say so
		return slices.DeleteFunc(s.Problems(), func(p string) bool { return !strings.Contains(p, "statistics") })
	}
	problems := about()
	if len(problems) != 1 || !strings.Contains(problems[0], "ACL SETUSER app +expire +zadd") {
		t.Fatalf("the problems are %q", problems)
	}
	srv.Do(t, "ACL", "SETUSER", "app", "+expire", "+zadd", "resetkeys", "~user:*")
	p.recheck()
	if problems = about(); len(problems) != 1 || !strings.Contains(problems[0], "ACL SETUSER app ~nearside:*") {
		t.Fatalf("the problems are %q", problems)
	}
	srv.Do(t, "ACL", "SETUSER", "app", "~nearside:*")
	p.recheck()
	if problems = about(); len(problems) != 0 {
		t.Errorf("all is granted, and the problems are %q", problems)
	}
	if c := cacheOf(t, read(t, NewReader(s), fleet.Query{}), "user"); c.Hour.Reads() != 5 {
		t.Errorf("%d reads were told, want 5", c.Hour.Reads())
	}
	srv.Do(t, "ACL", "SETUSER", "app", "-zincrby") // while it works
	p.count("user", func(c *Local) { c.Counts[tally.Near]++; c.addHot(hotkeys.Key{Key: "k", Reads: 1}) })
	p.flush(false)
	srv.Do(t, "ACL", "SETUSER", "app", "-expire")
	p.count("user", func(c *Local) { c.Counts[tally.Near]++ })
	p.flush(false)
	p.flush(false)
	if problems = s.Problems(); len(problems) != 1 || !strings.Contains(problems[0], "+expire +zincrby") {
		t.Errorf("the problems are %q", problems)
	}
	srv.Invariants(t)
}

// An index whose key another program has written is a problem that says what to delete, once; then all is as before.
func TestKeysOfAnotherType(t *testing.T) {
	for _, key := range []string{cachesKey, membersKey, sinceKey} {
		t.Run(key, func(t *testing.T) {
			srv := redistest.Shared(t)
			srv.FlushAll(t)
			srv.Do(t, "RPUSH", key, "x")
			var log strings.Builder
			s, err := redis.Open(t.Context(), srv.URL(), redis.Options{Require: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			p := &Reporter{cfg: Config{Redis: s, Caches: func() map[string]Local { return map[string]Local{"user": {}} }}, me: self(), sent: make(map[string]*sent)}
			want := "another program has written the key " + key + " with another type: the fleet's statistics can be neither written nor read; delete it: redis-cli UNLINK '" + key + "'"
			for range 2 {
				p.flush(false)
			}
			if problems := s.Problems(); len(problems) != 1 || problems[0] != want {
				t.Errorf("the problems are %q, want %q", problems, want)
			}
			if n := strings.Count(log.String(), want); n != 1 {
				t.Errorf("it is in the log %d times:\n%s", n, log.String())
			}
			if _, err := NewReader(s).Read(t.Context(), fleet.Query{}); err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("a reader: %v", err)
			}
			srv.Do(t, "UNLINK", key)
			p.flush(false)
			if problems := s.Problems(); len(problems) != 0 {
				t.Errorf("it was deleted, and the problems are %q", problems)
			}
			if v := read(t, NewReader(s), fleet.Query{}); len(v.Members) != 1 || len(v.Names) != 1 {
				t.Errorf("got %d members and %d caches, want one of each", len(v.Members), len(v.Names))
			}
		})
	}
}

// recheck is a flush when it is time to look again.
func (p *process) recheck() {
	p.Reporter.mu.Lock()
	p.Reporter.checked = time.Now().Add(-recheckAfter)
	p.Reporter.mu.Unlock()
	p.flush(false)
}
