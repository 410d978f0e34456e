package scenario

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/nearside/nearside/bench/layer"
)

// childJob has the job of a copy of this program that is one process of a fleet.
const childJob = "NEARSIDE_BENCH_CHILD"

// job is what a child is to do. It says ready, and then answers each line with a line, both of them JSON.
type job struct {
	What    string
	Kind    string
	Redis   []string
	Near    int
	Keys    int
	Callers int
	Load    time.Duration
}

// jobs are those that there are.
var jobs = map[string]func(j job, in *json.Decoder, out *json.Encoder) error{
	"herd": herdChild, "footprint": footprintChild, "fleet": fleetChild,
}

// Child does what a child is for, if this process is one, and does not return then.
func Child() {
	text := os.Getenv(childJob)
	if text == "" {
		return
	}
	var j job
	err := json.Unmarshal([]byte(text), &j)
	if err == nil {
		err = jobs[j.What](j, json.NewDecoder(os.Stdin), json.NewEncoder(os.Stdout))
	}
	if err != nil && !errors.Is(err, io.EOF) { // the parent has left
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// open makes the child's layer.
func (j job) open(set func(*layer.Options)) (*instance, error) {
	kinds := layer.Find(j.Kind)
	if len(kinds) == 0 {
		return nil, fmt.Errorf("no layer %q", j.Kind)
	}
	in := &instance{Kind: kinds[0]}
	o := in.options(j.Near)
	o.Redis = j.Redis
	o.Budget = unbounded
	if set != nil {
		set(&o)
	}
	var err error
	in.Layer, err = in.New(o)
	return in, err
}

// child is one process of a fleet, seen from its parent.
type child struct {
	cmd *exec.Cmd
	in  io.WriteCloser
	out *json.Decoder
	err *tail
}

// spawn starts a child and waits until it is ready. It ends with the run at the latest.
func (r *Run) spawn(j job) (*child, error) {
	text, err := json.Marshal(j)
	if err != nil {
		return nil, err
	}
	path, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(path), err: &tail{}}
	c.cmd.Env = append(os.Environ(), childJob+"="+string(text))
	c.cmd.Stderr = c.err
	c.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if c.in, err = c.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.out = json.NewDecoder(bufio.NewReader(out))
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	r.Cleanup(c.end)
	var ready bool
	return c, c.hear(patience, &ready)
}

// tell sends a line.
func (c *child) tell(v any) error { return json.NewEncoder(c.in).Encode(v) }

// hear waits for the child's next line, and ends the child if none comes.
func (c *child) hear(limit time.Duration, v any) error {
	late := time.AfterFunc(limit, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	if err := c.out.Decode(v); err != nil {
		c.end()
		if text := c.err.String(); text != "" {
			return fmt.Errorf("a process of it: %s", text)
		}
		return fmt.Errorf("a process of it, within %v: %w", limit, err)
	}
	return nil
}

// end ends the child. It may be called again.
func (c *child) end() {
	_ = c.in.Close()
	late := time.AfterFunc(5*time.Second, func() { c.cmd.Process.Kill() })
	defer late.Stop()
	_ = c.cmd.Wait()
}

// fleet starts as many children as asked for.
func (r *Run) fleet(n int, j job) ([]*child, error) {
	children := make([]*child, 0, n)
	for range n {
		c, err := r.spawn(j)
		if err != nil {
			disband(children)
			return nil, err
		}
		children = append(children, c)
	}
	return children, nil
}

func disband(children []*child) {
	for _, c := range children {
		c.end()
	}
}

// tail keeps the end of what is written to it. The command's own goroutine writes, and is gone after Wait.
type tail struct{ data []byte }

func (t *tail) Write(data []byte) (int, error) {
	t.data = append(t.data, data...)
	t.data = t.data[max(0, len(t.data)-2000):]
	return len(data), nil
}

func (t *tail) String() string { return string(t.data) }
