package faultproxy

import (
	"errors"
	"io"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers with what it gets.
func echo(t *testing.T) (address string) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() { defer c.Close(); io.Copy(c, c) }()
		}
	}()
	t.Cleanup(func() { ln.Close(); <-done })
	return ln.Addr().String()
}

func start(t *testing.T) *Proxy {
	p, err := Start(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

func connect(t *testing.T, p *Proxy) net.Conn {
	c, err := net.Dial("tcp", p.Addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// ask sends text and returns how long the answer took.
func ask(t *testing.T, c net.Conn, text string) time.Duration {
	began := time.Now()
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	answer := make([]byte, len(text))
	if _, err := io.ReadFull(c, answer); err != nil || string(answer) != text {
		t.Fatalf("got %q, %v", answer, err)
	}
	return time.Since(began)
}

func TestForwardsAndIsSlow(t *testing.T) {
	p := start(t)
	c := connect(t, p)
	ask(t, c, "hello")
	p.Set(Fault{Latency: 50 * time.Millisecond})
	if took := ask(t, c, "slow"); took < 50*time.Millisecond {
		t.Errorf("it took %v", took)
	}
	p.Set(Fault{Rate: 1000})
	if took := ask(t, c, string(make([]byte, 100))); took < 100*time.Millisecond {
		t.Errorf("it took %v", took)
	}
}

// Silence delivers late, on old connections and on new ones.
func TestSilence(t *testing.T) {
	p := start(t)
	old := connect(t, p)
	ask(t, old, "hello")
	p.Set(Fault{Silent: true})
	fresh := connect(t, p)
	for _, c := range []net.Conn{old, fresh} {
		io.WriteString(c, "late")
		c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if n, err := c.Read(make([]byte, 10)); n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("an answer in silence: %d, %v", n, err)
		}
		c.SetReadDeadline(time.Time{})
	}
	p.Set(Fault{})
	for _, c := range []net.Conn{old, fresh} {
		got := make([]byte, 4)
		if _, err := io.ReadFull(c, got); err != nil || string(got) != "late" {
			t.Errorf("got %q, %v", got, err)
		}
	}
}

func TestResetInMidAnswer(t *testing.T) {
	p := start(t)
	p.Set(Fault{Cut: func() int { return 3 }})
	c := connect(t, p)
	io.WriteString(c, "hello")
	got, err := io.ReadAll(c)
	if string(got) != "hel" || !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestRefuses(t *testing.T) {
	p := start(t)
	c := connect(t, p)
	ask(t, c, "hello")
	p.Refuse()
	if _, err := io.ReadAll(c); !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("the old connection: %v", err)
	}
	if _, err := net.Dial("tcp", p.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new one: %v", err)
	}
	if err := p.Accept(); err != nil {
		t.Fatal(err)
	}
	ask(t, connect(t, p), "again")
}
