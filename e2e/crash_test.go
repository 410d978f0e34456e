package e2e

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// points are where a process kills itself, and whether the layer covers what it has committed by then: an Update or a
// Mutate leaves nothing stale, an application that commits and dies before it calls Invalidate does.
var points = []struct {
	name      string
	uncovered bool
}{
	{"get: after claim, before load", false},
	{"get: after load, before fill", false},
	{"get: fill carried out, answer lost", false},
	{"invalidate: after commit, before invalidate", true},
	{"invalidate: invalidate carried out, answer lost", false},
	{"update: begin carried out, answer lost", false},
	{"update: after begin, before commit", false},
	{"update: after commit, before end", false},
	{"update: end carried out, answer lost", false},
	{"mutate: after commit, before end", false},
}

// childThatDies does one thing, and kills itself at a point of it.
func childThatDies(point string, db truth, o nearside.Options) int {
	key := os.Getenv(childKeys)
	o.Budget = time.Second      // all start at once: a claim that comes too late would never be filled
	var armed, sent atomic.Bool // the answer to the next command about the key kills; it was sent
	o.Redis = func(c *rueidis.ClientOption) {
		dial := c.DialCtxFn
		c.DialCtxFn = func(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
			conn, err := dial(ctx, address, d, secure)
			if err == nil {
				conn = deadly{conn, []byte("row:" + key), &armed, &sent}
			}
			return conn, err
		}
	}
	client, err := nearside.Open(context.Background(), os.Getenv(childURL), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer client.Close()
	op, at, _ := strings.Cut(point, ": ")
	living := true
	here := func(where string) {
		if where == at && !living {
			die()
		}
	}
	arm := func(where string) {
		if where+" carried out, answer lost" == at && !living {
			armed.Store(true)
		}
	}
	rows := nearside.New(client, "row", nearside.Config[string, row]{
		Load: func(ctx context.Context, key string) (row, error) {
			here("after claim, before load")
			v, err := db.read(ctx, key)
			here("after load, before fill")
			arm("fill")
			return row{v}, err
		},
		LoadTimeout: 2 * time.Second,
		InDoubt:     time.Second,
	})
	commit := func(ctx context.Context) (row, error) {
		here("after begin, before commit")
		v, err := db.commit(ctx, key)
		here("after commit, before end")
		here("after commit, before invalidate")
		arm("end")
		arm("invalidate")
		return row{v}, err
	}
	ctx := context.Background()
	// The scripts are there: that one is missing would be the first answer.
	other := "warm" + key
	rows.Get(ctx, other)
	rows.Invalidate(ctx, other)
	rows.Update(ctx, other, func(context.Context) (row, error) { return row{}, nil })
	living = false
	arm("begin")
	switch op {
	case "get":
		rows.Get(ctx, key)
	case "invalidate":
		commit(ctx)
		rows.Invalidate(ctx, key)
	case "update":
		rows.Update(ctx, key, commit)
	case "mutate":
		client.Mutate(ctx, func(ctx context.Context) error { _, err := commit(ctx); return err }, rows.Key(key))
	}
	fmt.Fprintln(os.Stderr, "the point was never reached:", point)
	return 1
}

// die is a death without a last word.
func die() {
	syscall.Kill(os.Getpid(), syscall.SIGKILL)
	select {}
}

// deadly is a connection on which an answer comes too late.
type deadly struct {
	net.Conn
	about       []byte
	armed, sent *atomic.Bool
}

func (d deadly) Write(b []byte) (int, error) {
	if d.armed.Load() && bytes.Contains(b, d.about) {
		d.sent.Store(true)
	}
	return d.Conn.Write(b)
}

func (d deadly) Read(b []byte) (int, error) {
	n, err := d.Conn.Read(b)
	if d.sent.Load() {
		die()
	}
	return n, err
}

// A process kills itself between two steps, for good. What it leaves behind heals, and is not stale.
func TestProcessDies(t *testing.T) {
	server := redistest.Shared(t)
	server.FlushAll(t)
	var keys []string
	for i := range points {
		keys = append(keys, fmt.Sprintf("dies%d", i))
	}
	f := newFleet(t, server.URL(), keys, nearside.Options{Budget: time.Second})
	socket := f.db.(*database).serve(t)
	var dead []*exec.Cmd
	for i, p := range points {
		if !strings.HasPrefix(p.name, "get: ") {
			f.members[0].get(keys[i])
		}
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childOf+"="+socket, childURL+"="+server.URL(), childKeys+"="+keys[i], childDies+"="+p.name)
		cmd.Stderr = os.Stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		dead = append(dead, cmd)
	}
	ctx, died := context.Background(), make([]time.Time, len(points))
	for i, cmd := range dead {
		err := cmd.Wait()
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			t.Errorf("%s: the process ended otherwise: %v", points[i].name, err)
		}
		died[i] = time.Now()
		if !points[i].uncovered {
			v, _ := f.db.read(ctx, keys[i])
			f.db.ack(keys[i], v)
		}
	}
	for i, p := range points {
		t.Run(p.name, func(t *testing.T) {
			const life = 6 * time.Second // of the load or the write, of its doubt, of WriteBudget, and of the margin
			eventually.Within(t, life+recoversWithin, "a hit", func() bool {
				f.members[1].get(keys[i])
				e, err := f.members[1].rows.GetEntry(ctx, keys[i])
				return err == nil && e.Source == nearside.SourceStore
			})
			t.Logf("healed after %v", time.Since(died[i]).Round(10*time.Millisecond))
			if p.uncovered {
				f.members[2].invalidate(keys[i]) // by whoever writes next
				f.members[1].get(keys[i])
			}
			if v, _ := f.db.read(ctx, keys[i]); f.db.floor(keys[i]) != v {
				t.Errorf("version %d is the newest, %d is what readers must see", v, f.db.floor(keys[i]))
			}
		})
	}
	r := f.total()
	if len(r.Stale) > 0 || r.Failed > 0 {
		t.Errorf("%d stale reads: %+v; %d failed, the first: %s", len(r.Stale), r.Stale, r.Failed, r.FirstFailure)
	}
	if left := f.survivors(t); len(left) > 0 {
		t.Errorf("survivors: %v", left)
	}
	server.Invariants(t, "row:")
}
