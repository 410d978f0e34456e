package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net/rpc"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
)

// childOf names the socket of the database, and tells a copy of the test binary that it is one process of a fleet.
// The others are what it is to use.
const (
	childOf      = "NEARSIDE_E2E_CHILD_OF"
	childURL     = "NEARSIDE_E2E_CHILD_URL"
	childKeys    = "NEARSIDE_E2E_CHILD_KEYS"
	childDB      = "NEARSIDE_E2E_CHILD_DB"      // the URL of a PostgreSQL that has the rows; none: the socket has them
	childProxies = "NEARSIDE_E2E_CHILD_PROXIES" // the addresses of Redis and of their proxies, in turn
	childPace    = "NEARSIDE_E2E_CHILD_PACE"    // of its writer
	childDies    = "NEARSIDE_E2E_CHILD_DIES"    // the point at which it kills itself; see crash_test.go
)

// told is what a child says when it is asked, and at its end.
type told struct {
	Report   *report       // since it was last asked
	Repeated time.Time     // when its last repetition of invalidations was done
	Hit      time.Duration // from "await" to the first hit from the store; zero: none yet
}

// child reads and writes until its input ends, and prints what it saw. Of a line "report" it prints what it saw until then.
func child(socket string) int {
	c, err := rpc.Dial("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Close()
	var db truth = remote{c}
	if url := os.Getenv(childDB); url != "" {
		p, err := openPostgres(url, db)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 1
		}
		defer p.Close()
		db = p
	}
	var o nearside.Options
	if pairs := strings.Fields(os.Getenv(childProxies)); len(pairs) > 0 {
		proxies := make(map[string]string)
		for pair := range slices.Chunk(pairs, 2) {
			proxies[pair[0]] = pair[1]
		}
		o.Redis = through(proxies)
	}
	if point := os.Getenv(childDies); point != "" {
		return childThatDies(point, db, o)
	}
	rng := rand.New(rand.NewPCG(seed.Value(), 0))
	m, err := newMember(rng, "child", os.Getenv(childURL), db, strings.Fields(os.Getenv(childKeys)), o, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if pace, err := time.ParseDuration(os.Getenv(childPace)); err == nil {
		m.pace = pace
	}
	fmt.Println("ready")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var running sync.WaitGroup
	for range 2 {
		rng := seed.Split(rng)
		running.Go(func() { m.read(ctx, rng) })
	}
	running.Go(func() { m.write(ctx, rng) })
	out := json.NewEncoder(os.Stdout)
	tell := func() error {
		said := told{Report: m.seen.taken(), Hit: m.hits.took()}
		if m.lines.repeated.Load() > 0 {
			said.Repeated = time.Unix(0, m.lines.last.Load())
		}
		return out.Encode(said)
	}
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch in.Text() {
		case "await":
			m.hits.await(time.Now(), func(string) bool { return true })
		case "report":
			if tell() != nil {
				return 1
			}
		}
	}
	cancel()
	running.Wait()
	if err := m.client.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	if err := tell(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	return 0
}

// Processes of the operating system, through a reshard, a failover in agreement and the death of a master.
func TestProcesses(t *testing.T) {
	c := redistest.SharedCluster(t)
	c.FlushAll(t)
	keys := slices.Concat(keysOf(tagIn(0, 39, 0), 24), spread(16))
	f := newFleet(t, c.URL(), keys, nearside.Options{}) // the database, and who looks for survivors
	socket := f.db.(*database).serve(t)
	var children []*process
	for range size {
		children = append(children, startProcess(t, socket, c.URL(), keys))
	}
	<-time.After(around())
	from := c.Master(t, "row:"+keys[0])
	masters := c.Masters(t)
	to := masters[(slices.Index(masters, from)+1)%len(masters)]
	c.Reshard(t, from, to, 40)
	c.Failover(t, c.Replica(t, to))
	calm := time.Now()
	master, before := c.Master(t, "row:"+keys[0]), f.repeats()
	master.Kill()
	c.Wait(t)
	f.repeatedSince(t, before)
	master.Restart(t)
	c.Wait(t)
	<-time.After(around())
	sum, repeated := new(report), time.Time{}
	for _, p := range children {
		end := p.end(t)
		sum.add(end.Report)
		if end.Repeated.Before(calm) {
			t.Error("a process has not repeated its invalidations")
		}
		if end.Repeated.After(repeated) {
			repeated = end.Repeated
		}
	}
	for _, s := range sum.Stale {
		if s.Began.Before(calm) {
			t.Errorf("a stale read before anything could be lost: %+v", s)
		}
	}
	f.repaired(t, sum, repeated)
	c.Invariants(t, "row:")
}

// process is a child.
type process struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
}

// startProcess starts a child; more is for its environment.
func startProcess(t testing.TB, socket, url string, keys []string, more ...string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.cmd.Env = append(os.Environ(), childOf+"="+socket, childURL+"="+url, childKeys+"="+strings.Join(keys, " "), fmt.Sprintf("%s=%d", seed.Env, seed.Rand(t).Uint64()))
	p.cmd.Env = append(p.cmd.Env, more...)
	p.cmd.Stderr = os.Stderr
	in, err := p.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewReader(out)
	p.in, p.out = in, json.NewDecoder(lines)
	if line, err := lines.ReadString('\n'); line != "ready\n" {
		t.Fatalf("a process says %q, %v", line, err)
	}
	return p
}

// say gives a child a line.
func (p *process) say(t testing.TB, line string) {
	t.Helper()
	if _, err := fmt.Fprintln(p.in, line); err != nil {
		t.Fatalf("a process: %v", err)
	}
}

// report asks a child for what it has seen since it was last asked.
func (p *process) report(t testing.TB) (out told) {
	t.Helper()
	p.say(t, "report")
	if err := p.out.Decode(&out); err != nil {
		t.Fatalf("a process: %v", err)
	}
	return out
}

// end has the process stop, and returns what it saw.
func (p *process) end(t testing.TB) (out told) {
	t.Helper()
	p.in.Close()
	if err := p.out.Decode(&out); err != nil {
		t.Fatalf("a process: %v", err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("a process: %v", err)
	}
	return out
}
