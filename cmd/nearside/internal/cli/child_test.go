package cli

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// asChild is the variable that makes the test binary the program itself.
const asChild = "NEARSIDE_TEST_CHILD"

// child is a `nearside serve` in a process of its own, whose memory can be measured.
type child struct {
	running
	cmd  *exec.Cmd
	done chan error
}

// startChild starts serve with a configuration.
func startChild(t *testing.T, config string, vars ...string) *child {
	t.Helper()
	p := &child{cmd: exec.Command(os.Args[0], "serve", "--config", config, "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"), done: make(chan error, 1)}
	for _, v := range vars { // a limit can only be set by who starts the process
		if files, ok := strings.CutPrefix(v, "NEARSIDE_TEST_FILES="); ok {
			p.cmd.Path, p.cmd.Args = "/bin/sh", append([]string{"sh", "-c", "ulimit -n " + files + `; exec "$0" "$@"`}, p.cmd.Args...)
		}
	}
	p.cmd.Env = append(append(os.Environ(), asChild+"=1"), vars...)
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.err
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		p.cmd.Process.Kill()
		<-p.done
	})
	for until := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		if m := ready.FindStringSubmatch(p.out.String()); m != nil {
			p.redis, p.http = m[1], m[2]
			return p
		}
		select {
		case err := <-p.done:
			p.done <- err
			t.Fatalf("serve did not start: %v\n%s", err, p.err.String())
		default:
		}
		if time.Now().After(until) {
			t.Fatalf("not ready:\n%s%s", p.out.String(), p.err.String())
		}
	}
}

// peak returns the most memory that the process has used since forget, in bytes.
func (p *child) peak(t *testing.T) int64 {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		t.Fatalf("the process has ended: %v\n%.4000s", err, p.err.String())
	}
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	fields := strings.Fields(string(rest))
	if len(fields) < 2 {
		t.Fatalf("the process has ended:\n%.4000s", p.err.String())
	}
	kib, err := strconv.ParseInt(fields[0], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

// forget begins a new measurement.
func (p *child) forget(t *testing.T) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", p.cmd.Process.Pid), []byte("5"), 0); err != nil {
		t.Fatal(err)
	}
}
