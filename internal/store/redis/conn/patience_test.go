package conn

import (
	"errors"
	"net"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// A read counts only time in which the process ran, and ends after five times its limit in any case.
func TestPatience(t *testing.T) {
	const limit = 10 * time.Millisecond
	for _, c := range []struct {
		name    string
		stalled time.Duration // of the time after the deadline was set
		answer  time.Duration // when there is one; zero: never
		want    time.Duration // when the read ends
	}{
		{"a process that runs", 0, 0, limit},
		{"a process that is stopped, and an answer", 30 * time.Millisecond, 20 * time.Millisecond, 20 * time.Millisecond},
		{"a process that is stopped, and no answer", 30 * time.Millisecond, 0, 40 * time.Millisecond},
		{"a process that never runs", time.Hour, 0, mostPatience * limit},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				near, far := net.Pipe()
				defer near.Close()
				defer far.Close()
				began := time.Now()
				nc := check(near, Config{Ran: func() time.Duration { return max(time.Since(began)-c.stalled, 0) }})
				go func() {
					b := make([]byte, 64)
					if _, err := far.Read(b); err != nil || c.answer == 0 {
						return
					}
					time.Sleep(c.answer)
					far.Write([]byte("+PONG\r\n"))
				}()
				if _, err := nc.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
					t.Fatal(err)
				}
				nc.SetDeadline(time.Now().Add(limit))
				_, err := nc.Read(make([]byte, 64))
				if answered := err == nil; answered != (c.answer != 0) || !answered && !errors.Is(err, os.ErrDeadlineExceeded) {
					t.Errorf("got %v", err)
				}
				if took := time.Since(began); took < c.want || took > c.want+5*time.Millisecond {
					t.Errorf("the read took %v, want %v", took, c.want)
				}
			})
		})
	}
}
