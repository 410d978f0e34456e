package nearside_test

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
)

// childURL tells a copy of the test binary that it is one process of a fleet.
const childURL = "NEARSIDE_TEST_CHILD_URL"

// child waits for a line, storms a cold key with 250 callers, and prints what it saw.
func child() int {
	c, err := nearside.Open(context.Background(), os.Getenv(childURL), nearside.Options{Budget: 10 * time.Second})
	if err != nil {
		fmt.Println(err)
		return 1
	}
	defer c.Close()
	fmt.Println("ready")
	bufio.NewReader(os.Stdin).ReadString('\n')
	loads, took, loaded := storm(c, 250)
	fmt.Println(loads, took.Microseconds(), loaded, time.Now().UnixMicro())
	return 0
}

// Law 2 in a fleet: four processes of 250 callers, one load.
func TestFourProcesses(t *testing.T) {
	server := redistest.Shared(t)
	server.Do(t, "FLUSHALL")
	const processes = 4
	var children [processes]struct {
		cmd *exec.Cmd
		in  *os.File
		out *bufio.Reader
	}
	for i := range children {
		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		ch := &children[i]
		ch.cmd, ch.in = exec.CommandContext(t.Context(), os.Args[0]), w
		ch.cmd.Env = append(os.Environ(), childURL+"="+server.URL())
		ch.cmd.Stdin, ch.cmd.Stderr = r, os.Stderr
		out, err := ch.cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := ch.cmd.Start(); err != nil {
			t.Fatal(err)
		}
		r.Close()
		ch.out = bufio.NewReader(out)
		if line, err := ch.out.ReadString('\n'); line != "ready\n" {
			t.Fatalf("a child says %q, %v", line, err)
		}
	}
	for i := range children {
		fmt.Fprintln(children[i].in)
		children[i].in.Close()
	}
	var loads, loaded, served int64 // served: when the last caller was
	var slowest time.Duration
	for i := range children {
		var n, us, ended, last int64
		if _, err := fmt.Fscan(children[i].out, &n, &us, &ended, &last); err != nil {
			t.Errorf("a child: %v", err)
		}
		if err := children[i].cmd.Wait(); err != nil {
			t.Errorf("a child: %v", err)
		}
		loads += n
		slowest = max(slowest, time.Duration(us)*time.Microsecond)
		loaded, served = max(loaded, ended), max(served, last)
	}
	behind := time.Duration(served-loaded) * time.Microsecond
	t.Logf("%d loads, the slowest process took %v for a load of %v, the last caller was served %v behind its end", loads, slowest, stormLoad, behind)
	if loads != 1 {
		t.Errorf("%d loads in the fleet, want 1", loads)
	}
}
