package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
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
)

// childOf names the socket of the database, and tells a copy of the test binary that it is one process of a fleet.
// childURL and childKeys are what it is to use.
const (
	childOf   = "NEARSIDE_E2E_CHILD_OF"
	childURL  = "NEARSIDE_E2E_CHILD_URL"
	childKeys = "NEARSIDE_E2E_CHILD_KEYS"
)

// told is what a child says at its end.
type told struct {
	Report   *report
	Repeated time.Time // when its last repetition of invalidations was done
}

// child reads and writes until its input ends, and prints what it saw.
func child(socket string) int {
	c, err := rpc.Dial("unix", socket)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer c.Close()
	m, err := newMember("child", os.Getenv(childURL), remote{c}, strings.Fields(os.Getenv(childKeys)), nearside.Options{}, 0)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	fmt.Println("ready")
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { m.read(ctx) })
	running.Go(func() { m.read(ctx) })
	running.Go(func() { m.write(ctx) })
	io.Copy(io.Discard, os.Stdin)
	cancel()
	running.Wait()
	if err := m.client.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	out := told{Report: &m.seen}
	if m.lines.repeated.Load() > 0 {
		out.Repeated = time.Unix(0, m.lines.last.Load())
	}
	if err := json.NewEncoder(os.Stdout).Encode(out); err != nil {
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
	socket := f.db.serve(t)
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
	in  io.Closer
	out *bufio.Reader
}

func startProcess(t testing.TB, socket, url string, keys []string) *process {
	t.Helper()
	p := &process{cmd: exec.CommandContext(t.Context(), os.Args[0])}
	p.cmd.Env = append(os.Environ(), childOf+"="+socket, childURL+"="+url, childKeys+"="+strings.Join(keys, " "))
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
	p.in, p.out = in, bufio.NewReader(out)
	if line, err := p.out.ReadString('\n'); line != "ready\n" {
		t.Fatalf("a process says %q, %v", line, err)
	}
	return p
}

// end has the process stop, and returns what it saw.
func (p *process) end(t testing.TB) (out told) {
	t.Helper()
	p.in.Close()
	if err := json.NewDecoder(p.out).Decode(&out); err != nil {
		t.Fatalf("a process: %v", err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Errorf("a process: %v", err)
	}
	return out
}
