package stall

import (
	"context"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	if os.Getenv("STALL_CHILD") != "" {
		child()
		return
	}
	goleak.VerifyTestMain(m)
}

// child prints each 10 ms for how long it has run, and for how long it has existed.
func child() {
	c := New()
	go c.Run(context.Background())
	for began := time.Now(); time.Since(began) < time.Minute; time.Sleep(10 * time.Millisecond) {
		now := time.Now()
		if _, err := os.Stdout.WriteString(strconv.FormatInt(int64(c.At(now)), 10) + " " + strconv.FormatInt(int64(now.Sub(c.start)), 10) +
			" " + strconv.FormatBool(c.Pressed()) + "\n"); err != nil {
			return
		}
	}
}

// A process that is stopped for a while has not run in that time.
func TestStopped(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "STALL_CHILD=1")
	var out strings.Builder
	cmd.Stdout = &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	var stopped time.Duration
	time.Sleep(500 * time.Millisecond)
	for range 20 {
		began := time.Now()
		cmd.Process.Signal(syscall.SIGSTOP)
		time.Sleep(60 * time.Millisecond)
		stopped += time.Since(began)
		cmd.Process.Signal(syscall.SIGCONT)
		time.Sleep(40 * time.Millisecond)
	}
	time.Sleep(200 * time.Millisecond)
	cmd.Process.Kill()
	cmd.Wait()
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	var ran, existed time.Duration
	pressed := false
	for _, line := range lines {
		f := strings.Fields(line)
		if len(f) != 3 {
			continue // cut by the kill
		}
		r, _ := strconv.Atoi(f[0])
		e, _ := strconv.Atoi(f[1])
		if time.Duration(r) < ran-5*time.Millisecond {
			t.Errorf("the clock goes back from %v to %v", ran, time.Duration(r))
		}
		ran, existed = time.Duration(r), time.Duration(e)
		pressed = pressed || f[2] == "true"
	}
	// A stop that begins between two beats is seen but for the rest of that beat, up to 10 ms.
	if lost := existed - ran; lost < stopped-20*12*time.Millisecond {
		t.Errorf("lost %v of %v, want about the %v that it was stopped for", lost, existed, stopped)
	}
	if !pressed {
		t.Error("stalls of 60 % of the time are not taken for pressure")
	}
}

// On a machine with nothing else to do the clock is that of the wall, and it rests when nobody asks.
func TestRunning(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go c.Run(ctx)
		for range 100 {
			time.Sleep(77 * time.Millisecond)
			if got := c.Now(); got != time.Since(c.start) {
				t.Fatalf("shows %v after %v", got, time.Since(c.start))
			}
		}
		if c.Pressed() {
			t.Error("pressed, and nothing was lost")
		}
		time.Sleep(time.Hour)
		synctest.Wait()
		if c.next.Load() != never {
			t.Error("it beats, and nobody has asked for an hour")
		}
		c.Now()
		synctest.Wait()
		if c.next.Load() == never {
			t.Error("it does not beat again")
		}
	})
}

// A beat that comes late stands for time that is lost, as soon as it is due, and once.
func TestLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		c.next.Store(int64(10 * time.Millisecond))
		time.Sleep(11 * time.Millisecond)
		if got := c.Now(); got != 11*time.Millisecond {
			t.Errorf("a beat that is 1 ms late: %v", got)
		}
		time.Sleep(59 * time.Millisecond)
		if got := c.Now(); got != 10*time.Millisecond || !c.Pressed() {
			t.Errorf("a beat that is 60 ms late: %v, pressed: %v", got, c.Pressed())
		}
		c.count(70 * time.Millisecond)
		if got := c.Now(); got != 10*time.Millisecond || !c.Pressed() {
			t.Errorf("after it: %v, pressed: %v", got, c.Pressed())
		}
		for n := range 100 {
			c.next.Store(int64(time.Duration(80+10*n) * time.Millisecond))
			c.count(time.Duration(80+10*n) * time.Millisecond)
		}
		if c.Pressed() {
			t.Error("pressed a second later")
		}
	})
}

// The goroutine that beats may be late for its first beat, and for the first one after a rest.
func TestLateFirstBeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := New()
		for range 2 {
			before := c.Now()
			time.Sleep(60 * time.Millisecond)
			if got := c.Now() - before; got != 10*time.Millisecond {
				t.Errorf("the process has run for %v, want 10ms", got)
			}
			c.count(time.Since(c.start))
			c.used.Store(false) // it rests
		}
	})
}

func BenchmarkAt(b *testing.B) {
	c := New()
	ctx, cancel := context.WithCancel(b.Context())
	done := make(chan struct{})
	go func() { c.Run(ctx); close(done) }()
	now := time.Now()
	for b.Loop() {
		c.At(now)
	}
	cancel()
	<-done
}
