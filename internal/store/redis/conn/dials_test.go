package conn

import (
	"bufio"
	"context"
	"log/slog"
	"net"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// A server that takes connections and does not answer is waited for once, and when it has answered the connection is there.
func TestConnectionsAreMadeInTheBackground(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	answer := make(chan struct{})
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := bufio.NewReader(c).ReadString('G'); err != nil {
					return
				}
				<-answer
				c.Write([]byte("+PONG\r\n"))
				c.Read(make([]byte, 1))
			}()
		}
	}()
	const patience = 300 * time.Millisecond
	ctx, cancel := context.WithCancel(t.Context())
	d := NewDialer(Config{
		Ctx: ctx, Target: redisurl.Target{Network: "tcp"}, Logger: slog.New(slog.DiscardHandler),
		Patience: func() time.Duration { return patience }, Made: func() {},
	})
	d.connected.Store(true)
	for i := range 3 {
		began := time.Now()
		_, err := d.Dial(t.Context(), ln.Addr().String(), &net.Dialer{}, nil)
		if took := time.Since(began); !Unsent(err) || i == 0 && took < patience || i > 0 && took > patience {
			t.Errorf("%d: %v after %v", i, err, took)
		}
	}
	close(answer)
	eventually.True(t, "a connection", func() bool {
		c, err := d.Dial(t.Context(), ln.Addr().String(), &net.Dialer{}, nil)
		if err == nil {
			c.Close()
		}
		return err == nil
	})
	cancel()
	d.Close()
}

// A problem is listed once, until it is forgotten, and one that is noted replaces the one before.
func TestProblems(t *testing.T) {
	p := NewProblems(slog.New(slog.DiscardHandler))
	p.Add("a %d", 1)
	p.Add("a %d", 1)
	p.Note("loss", "b")
	p.Note("loss", "c")
	if all := p.All(); len(all) != 2 || all[0] != "a 1" || all[1] != "c" {
		t.Errorf("got %q", all)
	}
	p.Note("loss", "")
	p.Forget("a 1")
	if all := p.All(); len(all) != 0 {
		t.Errorf("got %q", all)
	}
}
