package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
)

// person is who sits at a terminal.
type person struct {
	pty, tty *os.File
	screen   buffer
	before   *term.State
	world    *env
}

func sit(t *testing.T, vars ...string) *person {
	t.Helper()
	p := new(person)
	var err error
	if p.pty, p.tty, err = pty.Open(); err != nil {
		t.Fatal(err)
	}
	p.resize(t, 80, 24)
	if p.before, err = term.GetState(int(p.tty.Fd())); err != nil {
		t.Fatal(err)
	}
	gone := make(chan struct{})
	go func() {
		io.Copy(&p.screen, p.pty)
		close(gone)
	}()
	t.Cleanup(func() {
		p.pty.WriteString("\n") // ends the read that waits for a key
		p.tty.Close()
		<-gone
		p.pty.Close()
	})
	p.world = &env{in: p.tty, out: p.tty, err: p.tty, lookup: func(name string) string {
		for _, kv := range vars {
			if v, ok := strings.CutPrefix(kv, name+"="); ok {
				return v
			}
		}
		return ""
	}}
	p.world.terminal, p.world.width = terminal(p.tty)
	return p
}

func (p *person) resize(t *testing.T, columns, lines uint16) {
	t.Helper()
	if err := pty.Setsize(p.pty, &pty.Winsize{Cols: columns, Rows: lines}); err != nil {
		t.Fatal(err)
	}
}

func (p *person) types(t *testing.T, keys string) {
	t.Helper()
	if _, err := p.pty.WriteString(keys); err != nil {
		t.Fatal(err)
	}
}

var escapes = regexp.MustCompile(`\x1b\[[0-9;?]*[A-Za-z]`)

// frame is what was drawn last, and in how many columns.
func (p *person) frame() (text string, width int) {
	frames := strings.Split(p.screen.String(), "\x1b[H")
	last := frames[len(frames)-1]
	if !strings.Contains(last, "\x1b[J") && len(frames) > 1 { // it is being drawn
		last = frames[len(frames)-2]
	}
	text = strings.ReplaceAll(escapes.ReplaceAllString(last, ""), "\r", "")
	for line := range strings.SplitSeq(text, "\n") {
		width = max(width, len([]rune(line)))
	}
	return text, width
}

// sees waits until the screen shows something.
func (p *person) sees(t *testing.T, what string, is func(frame string, width int) bool) {
	t.Helper()
	var latest strings.Builder
	eventually.True(t, "the screen shows "+what, func() bool {
		frame, width := p.frame()
		latest.Reset()
		latest.WriteString(frame)
		return is(frame, width)
	}, &latest)
}

func (p *person) reads(t *testing.T, what string) {
	t.Helper()
	p.sees(t, what, func(frame string, _ int) bool { return strings.Contains(frame, what) })
}

// restored makes sure that the terminal is as it was.
func (p *person) restored(t *testing.T) {
	t.Helper()
	after, err := term.GetState(int(p.tty.Fd()))
	if err != nil {
		t.Fatal(err)
	}
	if *after != *p.before {
		t.Errorf("the terminal is in another state than before: %+v, %+v", after, p.before)
	}
	eventually.True(t, "the cursor and the screen are given back", func() bool {
		return strings.Contains(p.screen.String(), "\x1b[?25h\x1b[?1049l")
	})
}

func TestTopOnATerminal(t *testing.T) {
	srv := redistest.Start(t)
	reporting(t, srv)
	redis := "NEARSIDE_REDIS=" + srv.URL()
	until(t, []string{redis}, "stats", "2 processes")
	p := sit(t, redis, "NO_COLOR=1")
	done := make(chan int, 1)
	go func() { done <- run([]string{"top", "--every", "100ms"}, p.world) }()
	p.reads(t, "q quit  p pause  / filter  s by reads/s")
	p.reads(t, "\nbasket ")
	if frame, width := p.frame(); width != 80 && width < 70 || strings.Count(frame, "\n") != 23 || !strings.Contains(frame, "ERRORS") {
		t.Errorf("%d columns, %d lines:\n%s", width, strings.Count(frame, "\n"), frame)
	}
	p.types(t, "s")
	p.reads(t, "s by hit %")
	p.types(t, "\x1b[A\x1b[1;5B\x1bOB/z\x1bqz") // arrows and Alt are no letters
	p.reads(t, "no cache is named so")
	p.types(t, "\x7f\x7fBAS\r")
	p.reads(t, ", named BAS")
	p.reads(t, "\nbasket ")
	p.resize(t, 40, 10)
	p.sees(t, "40 columns", func(frame string, width int) bool {
		return width <= 40 && strings.Count(frame, "\n") == 9 && strings.Contains(frame, "LOADS/S") && !strings.Contains(frame, "ERRORS")
	})
	p.resize(t, 15, 3)
	p.sees(t, "3 lines", func(frame string, width int) bool { return width <= least && strings.Count(frame, "\n") == 2 })
	p.resize(t, 80, 24)
	p.reads(t, "ERRORS")
	p.types(t, "p")
	p.reads(t, "paused")
	p.types(t, "p")
	p.reads(t, "p pause")

	// The server goes away, and comes back on the same port.
	srv.Kill()
	p.reads(t, "! since ")
	srv.Restart(t)
	p.sees(t, "that it is back", func(frame string, _ int) bool { return !strings.Contains(frame, "! since ") })

	if strings.Contains(p.screen.String(), "\x1b[1m") {
		t.Error("NO_COLOR is not obeyed")
	}
	p.types(t, "q")
	if status := <-done; status != 0 {
		t.Errorf("status %d", status)
	}
	p.restored(t)
}

// The terminal is given back however top ends.
func TestTopGivesTheTerminalBack(t *testing.T) {
	srv := redistest.Start(t)
	for name, end := range map[string]func(p *person){
		"SIGINT": func(*person) { syscall.Kill(os.Getpid(), syscall.SIGINT) },
		"^C":     func(p *person) { p.types(t, "\x03") },
		"Q":      func(p *person) { p.types(t, "Q") },
	} {
		t.Run(name, func(t *testing.T) {
			p := sit(t, "NEARSIDE_REDIS="+srv.URL())
			done := make(chan int, 1)
			go func() { done <- run([]string{"top"}, p.world) }()
			p.reads(t, "No process has reported yet")
			p.reads(t, "q quit")
			end(p)
			if status := <-done; status != 0 {
				t.Errorf("status %d", status)
			}
			p.restored(t)
		})
	}
	t.Run("panic", func(t *testing.T) {
		p := sit(t)
		defer func() {
			if got := recover(); got != "out of order" {
				t.Errorf("recovered %v", got)
			}
			p.restored(t)
		}()
		(&topCmd{Every: 100 * time.Millisecond}).live(t.Context(), p.world, &breaking{})
	})
}

// breaking is an operator that answers once.
type breaking struct {
	ops.Operator
	asked bool
}

func (b *breaking) String() string { return "somebody" }

func (b *breaking) Fleet(context.Context, fleet.Query) (*fleet.View, error) {
	if b.asked {
		panic("out of order")
	}
	b.asked = true
	return &fleet.View{}, nil
}

// On a pipe there is a table each time and no escape, or one line of JSON; a Redis that is away is told, and waited for.
func TestTopOnAPipe(t *testing.T) {
	operated(t, func(t *testing.T, srv *redistest.Server, vars []string) {
		reporting(t, srv)
		until(t, vars, "stats", "\nbasket ", " processes, ")
		status, out, errs := commandLine(t, vars, "top", "-n", "3", "--every", "100ms")
		if status != 0 || errs != "" || strings.Count(out, "CACHE ") != 3 || strings.Count(out, "\nbasket ") != 3 || strings.Contains(out, "\x1b") {
			t.Errorf("status %d: %s%s", status, out, errs)
		}
		status, out, errs = commandLine(t, vars, "top", "-n", "3", "--every", "100ms", "--json")
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if status != 0 || errs != "" || len(lines) != 3 {
			t.Errorf("status %d, %d lines: %s%s", status, len(lines), out, errs)
		}
		for _, line := range lines {
			var v struct {
				Source string
				Now    struct{ Reads *int }
				Caches []struct{ Name string }
			}
			if err := json.Unmarshal([]byte(line), &v); err != nil || v.Source == "" || v.Now.Reads == nil || len(v.Caches) == 0 || strings.Contains(line, `"day"`) {
				t.Errorf("%v: %s", err, line)
			}
		}

		r, w, err := os.Pipe()
		if err != nil {
			t.Fatal(err)
		}
		var notes buffer
		done := make(chan error, 1)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		world := &env{out: w, err: &notes, lookup: func(string) string { return "" }}
		var o ops.Operator
		if url, ok := strings.CutPrefix(vars[0], "NEARSIDE_URL="); ok {
			o, err = ops.NewRemote(url, "", "", "")
		} else {
			o, err = ops.OpenRedis(ctx, srv.URL())
		}
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		go func() {
			done <- (&topCmd{Every: 100 * time.Millisecond, Target: target{JSON: true}}).lines(ctx, world, o)
			w.Close()
		}()
		read := bufio.NewScanner(r)
		read.Buffer(nil, 1<<20)
		next := func(what string) {
			t.Helper()
			for end := time.Now().Add(60 * time.Second); read.Scan(); {
				if strings.Contains(read.Text(), what) {
					return
				}
				if time.Now().After(end) {
					break
				}
			}
			t.Fatalf("no line with %s; the last one is %s", what, read.Text())
		}
		next(`"names":[`)
		srv.Kill()
		next(`"error":"`)
		srv.Restart(t)
		next(`"names":[`)
		if !strings.Contains(notes.String(), "look whether it runs") {
			t.Errorf("noted: %s", notes.String())
		}
		cancel()
		go io.Copy(io.Discard, r)
		if err := <-done; err != nil {
			t.Error(err)
		}
		r.Close()
	})
}

// Keys are obeyed as they are said to be.
func TestTopKeys(t *testing.T) {
	t.Parallel()
	p := topPage{view: aView()}
	for range orders {
		p.press('s')
	}
	if p.order != 0 {
		t.Errorf("after a round it is sorted by %s", called(orders[p.order]))
	}
	p.press('S')
	if called(orders[p.order]) != "name" {
		t.Errorf("backwards: %s", called(orders[p.order]))
	}
	for _, key := range "/q\x15pr\xffo" {
		if p.press(key) {
			t.Fatal("a letter of the filter quits")
		}
	}
	if p.press('\r'); p.typing || len(p.shown()) != 0 {
		t.Errorf("the filter %q shows %d caches", p.filter, len(p.shown()))
	}
	p.press(keyEscape)
	if len(p.shown()) != len(p.view.Caches) {
		t.Error("Esc does not drop the filter")
	}
	if !p.press('q') || !p.press(keyBreak) {
		t.Error("q and ^C do not quit")
	}
	for _, height := range []int{1, 2, 5, 24, 200} {
		if got := len(p.lines(&env{width: 40, lookup: func(string) string { return "" }}, height)); got != height {
			t.Errorf("%d lines for a height of %d", got, height)
		}
	}
}
