package conn

import (
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// answering is a connection that takes writes, and answers when it is told to.
type answering struct {
	net.Conn
	replies chan string
}

func (a *answering) Write(b []byte) (int, error) { return len(b), nil }
func (a *answering) Read(b []byte) (int, error)  { return copy(b, <-a.replies), nil }

// The writer pauses while many commands wait for their replies, and not before.
func TestGather(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		nc := &answering{replies: make(chan string, 1)}
		c := check(nc, Config{Gather: 20 * time.Microsecond})
		send := func(want time.Duration) {
			t.Helper()
			began := time.Now()
			if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took != want {
				t.Errorf("a write took %v, want %v", took, want)
			}
		}
		for range gatherFrom - 1 {
			send(0)
		}
		send(20 * time.Microsecond)
		send(20 * time.Microsecond)
		nc.replies <- strings.Repeat("+PONG\r\n", 3)
		if _, err := c.Read(make([]byte, 1000)); err != nil {
			t.Fatal(err)
		}
		send(0)
	})
}
