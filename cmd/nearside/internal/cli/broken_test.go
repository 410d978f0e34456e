package cli

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
)

// brokenBetween forwards connections to a server, and changes some bytes of its replies.
func brokenBetween(t *testing.T, server string) (address string) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	rng := seed.Rand(t)
	var all sync.WaitGroup
	t.Cleanup(func() { ln.Close(); all.Wait() })
	all.Go(func() {
		for {
			here, err := ln.Accept()
			if err != nil {
				return
			}
			there, err := net.Dial("tcp", server)
			if err != nil {
				here.Close()
				return
			}
			all.Go(func() { io.Copy(there, here); there.Close(); here.Close() })
			rng := seed.Split(rng)
			all.Go(func() {
				defer here.Close()
				defer there.Close()
				b := make([]byte, 4<<10)
				for replies := 0; ; replies++ {
					n, err := there.Read(b)
					if err != nil {
						return
					}
					if replies > 8 && rng.IntN(20) == 0 { // not of the handshake alone
						at := rng.IntN(n)
						switch rng.IntN(4) {
						case 0:
							b[at] = "*$:+-_>~%|!=#,(.;?\r\n"[rng.IntN(20)]
						case 1:
							b[at] = byte('0' + rng.IntN(10))
						case 2: // a reply too many
							here.Write([]byte("+OK\r\n+OK\r\n"))
						default: // a length that cannot be
							here.Write([]byte([]string{"$-7\r\n", "*999999999999\r\n", "%-3\r\n"}[rng.IntN(3)]))
						}
					}
					if _, err := here.Write(b[:n]); err != nil {
						return
					}
				}
			})
		}
	})
	return ln.Addr().String()
}

// Replies of Redis that are broken on their way end connections, and never the process.
func TestBrokenReplies(t *testing.T) {
	server := redistest.Start(t)
	p := startChild(t, bigShop(t, "redis: redis://"+brokenBetween(t, server.Addr)+"\n"))
	var clients sync.WaitGroup
	until := time.Now().Add(5 * time.Second)
	rng := seed.Rand(t)
	for range 4 {
		rng := seed.Split(rng)
		clients.Go(func() {
			var c *attack
			for time.Now().Before(until) {
				if c == nil {
					nc, err := net.Dial("tcp", p.redis)
					if err != nil {
						return
					}
					c = &attack{nc.(*net.TCPConn), bufio.NewReader(nc)}
				}
				c.SetDeadline(time.Now().Add(20 * time.Second))
				n := rng.IntN(100) + 1
				ask := [][]string{{"GET", fmt.Sprint("row:", n)}, {"MGET", "row:1", fmt.Sprint("row:", n)}, {"DEL", fmt.Sprint("row:", n)}, {"HGETALL", "doc:1"}, {"INCR", "other"}, {"GET", "other"}}[rng.IntN(6)]
				c.Write(wire(ask...))
				if _, _, err := c.skip(); err != nil {
					c.Close()
					c = nil
				}
			}
			if c != nil {
				c.Close()
			}
		})
	}
	clients.Wait()
	select {
	case err := <-p.done:
		p.done <- err
		t.Fatalf("the process has ended: %v\n%.6000s", err, p.err.String())
	default:
	}
	if !raceEnabled {
		p.within(t, allClients)
	}
}
