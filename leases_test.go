package nearside_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/shape"
)

// childRow tells a child that it loads keys, and what it finds in the database.
const childRow = "NEARSIDE_TEST_CHILD_ROW"

// patient is how long tests wait for what a machine that stalls does late.
const patient = 20 * time.Second

// holder loads a key for each line, and prints "loading" when it has the lease. The load ends with the next line, and it prints what
// its read has got.
func holder(row string) int {
	c, err := nearside.Open(context.Background(), os.Getenv(childURL), nearside.Options{Budget: 10 * time.Second})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Close()
	in := bufio.NewScanner(os.Stdin)
	users := nearside.New(c, "user", nearside.Config[string, string]{
		Load: func(context.Context, string) (string, error) {
			fmt.Println("loading")
			in.Scan()
			return row, nil
		},
		LoadTimeout: time.Hour,
	})
	for in.Scan() {
		v, err := users.Get(context.Background(), in.Text())
		fmt.Println(v, err)
	}
	return 0
}

// process is a child that holds leases.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	in  io.WriteCloser
	out *bufio.Reader
}

func startHolder(t *testing.T, url, row string) *process {
	p := &process{t: t, cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.cmd.Env = append(os.Environ(), childURL+"="+url, childRow+"="+row)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	p.in, p.out = in, bufio.NewReader(out)
	t.Cleanup(func() { in.Close(); p.cmd.Process.Kill(); p.cmd.Wait() })
	return p
}

func (p *process) writes(line string) { fmt.Fprintln(p.in, line) }

func (p *process) reads(want string) {
	p.t.Helper()
	if line, err := p.out.ReadString('\n'); line != want+"\n" {
		p.t.Fatalf("a child says %q, %v, want %q", line, err, want)
	}
}

// users are a cache of this process, whose loads count.
func users(t *testing.T, url string, row func() string, loads *atomic.Int64) *nearside.Cache[string, string] {
	c, err := nearside.Open(t.Context(), url, nearside.Options{Budget: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return nearside.New(c, "user", nearside.Config[string, string]{
		Load: func(context.Context, string) (string, error) { loads.Add(1); return row(), nil },
	})
}

// A process that is killed while it loads holds up others for as long as its lease lasts, whatever time its load has.
func TestHolderIsKilled(t *testing.T) {
	for name, on := range map[string]string{"asking": "", "notified of changes": "near"} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t)
			var loads atomic.Int64
			c, err := nearside.Open(t.Context(), server.URL(), nearside.Options{Budget: time.Second})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { c.Close() })
			config := nearside.Config[string, string]{Load: func(context.Context, string) (string, error) { loads.Add(1); return "new", nil }}
			if on != "" {
				config.NearSize = 100
			}
			cache := nearside.New(c, "user", config)
			best := time.Hour
			for try := range 5 { // a machine may stall
				key := fmt.Sprint("killed", try)
				p := startHolder(t, server.URL(), "old")
				p.writes(key)
				p.reads("loading")
				var waited sync.WaitGroup
				waited.Go(func() {
					if v, err := cache.Get(t.Context(), key); v != "new" || err != nil {
						t.Errorf("got %q, %v", v, err)
					}
				})
				time.Sleep(2 * store.LeaseLife) // it is renewed until then
				if n := loads.Load(); n != int64(try) {
					t.Fatalf("%d loads while the holder lives, want %d", n, try)
				}
				killed := time.Now()
				p.cmd.Process.Kill()
				waited.Wait()
				best = min(best, time.Since(killed))
				if e, err := cache.GetEntry(t.Context(), key); e.Source == nearside.SourceLoad || err != nil {
					t.Errorf("it was loaded and not stored: %+v, %v", e, err)
				}
				if best <= 2*time.Second {
					break
				}
			}
			t.Logf("loaded %v after the death", best.Round(time.Millisecond))
			if best > 2*time.Second {
				t.Error("want 2 s at most")
			}
		})
	}
}

// A process that is stopped for longer than its lease loses it. What it has read is not stored when it goes on, whether another one
// has loaded meanwhile or not.
func TestHolderIsStopped(t *testing.T) {
	server := redistest.Start(t)
	var loads atomic.Int64
	cache := users(t, server.URL(), func() string { return "new" }, &loads)
	for _, key := range []string{"loaded", "not loaded"} {
		p := startHolder(t, server.URL(), "old")
		p.writes(key)
		p.reads("loading")
		p.cmd.Process.Signal(syscall.SIGSTOP)
		if key == "loaded" {
			if v, err := cache.Get(t.Context(), key); v != "new" || err != nil {
				t.Fatalf("got %q, %v", v, err)
			}
		} else {
			eventually.True(t, "the end of the lease", func() bool {
				n, _ := server.Do(t, "EXISTS", "{user:"+key+"}:~l").AsInt64()
				return n == 0
			})
			if _, err := cache.Update(t.Context(), key, func(context.Context) (string, error) { return "new", nil }); err != nil {
				t.Fatal(err)
			}
			server.Do(t, "DEL", "user:"+key) // it was evicted
		}
		p.cmd.Process.Signal(syscall.SIGCONT)
		p.writes("")
		p.reads("old <nil>")
		p.in.Close()
		if err := p.cmd.Wait(); err != nil { // what it has read was sent to the store by then
			t.Error(err)
		}
		if v, _ := server.Do(t, "GET", "user:"+key).ToString(); v == `"old"` {
			t.Errorf("%s: what the stopped process had read was stored", key)
		}
		if v, err := cache.Get(t.Context(), key); v != "new" || err != nil {
			t.Errorf("%s: got %q, %v", key, v, err)
		}
	}
}

// A load that takes several lives of a lease is done once by the fleet, and stored: of a value, of a batch, of a collection that goes to
// the store in chunks.
func TestLongLoadsAreDoneOnce(t *testing.T) {
	const processes, takes = 3, 3 * store.LeaseLife
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			var loads, batches, sets atomic.Int64
			var running sync.WaitGroup
			many := make([]int, 100)
			for i := range many {
				many[i] = i
			}
			for range processes {
				c, err := nearside.Open(t.Context(), server.URL(), nearside.Options{Budget: patient})
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { c.Close() })
				users := nearside.New(c, "user", nearside.Config[int, int]{
					Load: func(_ context.Context, k int) (int, error) { loads.Add(1); time.Sleep(takes); return k, nil },
				})
				orders := nearside.New(c, "order", nearside.Config[int, int]{
					LoadMany: func(_ context.Context, ks []int) (map[int]int, error) {
						batches.Add(int64(len(ks)))
						time.Sleep(takes)
						found := make(map[int]int)
						for _, k := range ks {
							found[k] = k
						}
						return found, nil
					},
				})
				friends := shape.NewSet(c, "friends", shape.SetConfig[int, int]{
					Load: func(context.Context, int) ([]int, error) {
						sets.Add(1)
						time.Sleep(takes)
						members := make([]int, 1200) // three chunks
						for i := range members {
							members[i] = i
						}
						return members, nil
					},
				})
				running.Go(func() {
					if v, err := users.Get(t.Context(), 1); v != 1 || err != nil {
						t.Errorf("got %d, %v", v, err)
					}
				})
				running.Go(func() {
					if found, err := orders.GetMany(t.Context(), many); len(found) != len(many) || err != nil {
						t.Errorf("got %d rows, %v", len(found), err)
					}
				})
				running.Go(func() {
					if members, err := friends.Members(t.Context(), 1); len(members) != 1200 || err != nil {
						t.Errorf("got %d members, %v", len(members), err)
					}
				})
			}
			running.Wait()
			if a, b, s := loads.Load(), batches.Load(), sets.Load(); a != 1 || b != 100 || s != 1 {
				t.Errorf("%d loads of a value, %d of 100 of a batch, %d of a set, want one of each", a, b, s)
			}
			for _, key := range []string{"user:1", "order:0", "order:99", "friends:1"} {
				if n, _ := server.Node(t, key).Do(t, "EXISTS", key).AsInt64(); n != 1 {
					t.Errorf("%s is not stored", key)
				}
			}
			server.Invariants(t, "user:", "order:", "friends:")
		})
	}
}

// Redis restarts while a row is loaded, with its data or empty. A load that has lost its lease is not stored, and the next one is.
func TestRedisRestartsDuringALongLoad(t *testing.T) {
	for name, args := range map[string][]string{"empty": nil, "with its data": {"--appendonly", "yes", "--appendfsync", "always"}} {
		t.Run(name, func(t *testing.T) {
			server := redistest.Start(t, args...)
			var loads atomic.Int64
			began, end := make(chan struct{}, 10), make(chan struct{})
			load := func() string { began <- struct{}{}; <-end; return "row" }
			cache := users(t, server.URL(), load, &loads)
			var waited sync.WaitGroup
			waited.Go(func() {
				if v, err := cache.Get(t.Context(), "1"); v != "row" || err != nil {
					t.Errorf("got %q, %v", v, err)
				}
			})
			<-began
			time.Sleep(store.LeaseLife)
			server.Restart(t)
			time.Sleep(store.LeaseLife) // so long is it renewed
			close(end)
			waited.Wait()
			eventually.True(t, "the row is stored", func() bool {
				e, err := cache.GetEntry(t.Context(), "1")
				if err != nil || e.Value != "row" {
					t.Fatalf("got %+v, %v", e, err)
				}
				return e.Source == nearside.SourceStore
			})
			t.Logf("%d loads", loads.Load())
			server.Invariants(t, "user:")
		})
	}
}

// A key is read although another program has left something under the name of its sidecar: at once, or within a lease's life if it may
// be a lease.
func TestReadsBesideGarbage(t *testing.T) {
	server := redistest.Start(t)
	var loads atomic.Int64
	cache := users(t, server.URL(), func() string { return "row" }, &loads)
	for _, c := range []struct {
		name  string
		most  time.Duration
		write []string
	}{
		{"a string", 2 * time.Second, []string{"SET", "foo"}},
		{"a lease without an end", 2 * time.Second, []string{"SET", "t0123456789abcdef01234567"}},
		{"a lease of an hour", 2 * time.Second, []string{"SET", "t0123456789abcdef01234567", "EX", "3600"}},
		{"a hash", 500 * time.Millisecond, []string{"HSET", "a", "b"}},
		{"a list", 500 * time.Millisecond, []string{"RPUSH", "a"}},
	} {
		for _, n := range []int{1, 3} {
			best := time.Hour
			for try := 0; try < 5 && best > c.most; try++ { // a machine may stall
				var ks []string
				for i := range n {
					ks = append(ks, fmt.Sprint(c.name, n, try, i))
					server.Do(t, append([]string{c.write[0], "{user:" + ks[i] + "}:~l"}, c.write[1:]...)...)
				}
				began := time.Now()
				if found, err := cache.GetMany(t.Context(), ks); len(found) != n || err != nil {
					t.Fatalf("got %v, %v", found, err)
				}
				best = min(best, time.Since(began))
				eventually.True(t, c.name+": the rows are stored", func() bool {
					e, _ := cache.GetEntry(t.Context(), ks[0])
					return e.Source == nearside.SourceStore
				})
			}
			if best > c.most {
				t.Errorf("%s, %d keys: it took %v, want %v at most", c.name, n, best, c.most)
			}
		}
	}
}
