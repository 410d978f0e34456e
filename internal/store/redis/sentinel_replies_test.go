package redis_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store/redis"
)

// fakeSentinel answers as a sentinel does, but for what a test alters.
type fakeSentinel struct {
	ln     net.Listener
	master string // host:port
	alter  func(conn int, args []string, reply string) string
	conns  atomic.Int64
	all    sync.WaitGroup
	mu     sync.Mutex
	open   []net.Conn
}

func startFakeSentinel(t *testing.T, master string, alter func(conn int, args []string, reply string) string) *fakeSentinel {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f := &fakeSentinel{ln: ln, master: master, alter: alter}
	f.all.Go(func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			f.mu.Lock()
			f.open = append(f.open, nc)
			f.mu.Unlock()
			n := int(f.conns.Add(1))
			f.all.Go(func() { f.serve(nc, n) })
		}
	})
	t.Cleanup(func() {
		ln.Close()
		f.mu.Lock()
		for _, nc := range f.open {
			nc.Close()
		}
		f.mu.Unlock()
		f.all.Wait()
	})
	return f
}

func (f *fakeSentinel) url() string { return "redis-sentinel://" + f.ln.Addr().String() + "/mymaster" }

func (f *fakeSentinel) serve(nc net.Conn, n int) {
	defer nc.Close()
	in := bufio.NewReader(nc)
	for {
		args, err := readCommand(in)
		if err != nil {
			return
		}
		reply := f.reply(args)
		if f.alter != nil {
			reply = f.alter(n, args, reply)
		}
		if _, err := io.WriteString(nc, reply); err != nil {
			return
		}
	}
}

func readCommand(in *bufio.Reader) (args []string, err error) {
	number := func() (n int) {
		line, e := in.ReadString('\n')
		if err = e; e == nil && len(line) > 3 {
			n, err = strconv.Atoi(strings.TrimSpace(line[1:]))
		}
		return n
	}
	for range number() {
		b := make([]byte, number()+2)
		if _, e := io.ReadFull(in, b); e != nil {
			return nil, e
		}
		args = append(args, string(b[:len(b)-2]))
	}
	return args, err
}

func bulks(kind string, words ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s%d\r\n", kind, len(words))
	for _, w := range words {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(w), w)
	}
	return b.String()
}

func (f *fakeSentinel) reply(args []string) string {
	switch args[0] {
	case "PING":
		return "+PONG\r\n"
	case "HELLO":
		return "%3\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$6\r\n7.0.15\r\n$5\r\nproto\r\n:3\r\n"
	case "SUBSCRIBE", "UNSUBSCRIBE":
		var b strings.Builder
		for i, channel := range args[1:] {
			fmt.Fprintf(&b, ">3\r\n$%d\r\n%s\r\n$%d\r\n%s\r\n:%d\r\n", len(args[0]), strings.ToLower(args[0]), len(channel), channel, i)
		}
		return b.String()
	case "SENTINEL":
		if strings.EqualFold(args[1], "sentinels") {
			return "*0\r\n"
		}
		host, port, _ := net.SplitHostPort(f.master)
		return bulks("*", host, port)
	}
	return "+OK\r\n"
}

func published(channel, text string) string { return bulks(">", "message", channel, text) }

// A sentinel may send what it likes: a connection to it ends, and no process does. What it says of the master before is right, so the
// store works on.
func TestBrokenSentinel(t *testing.T) {
	server := redistest.Start(t)
	on := func(name, sub string, do func(reply string) string) func(int, []string, string) string {
		var once atomic.Int64
		return func(_ int, args []string, reply string) string {
			if args[0] == name && (sub == "" || len(args) > 1 && strings.EqualFold(args[1], sub)) && once.Add(1) == 2 { // the first look is right
				return do(reply)
			}
			return reply
		}
	}
	before := func(text string) func(string) string { return func(reply string) string { return text + reply } }
	instead := func(text string) func(string) string { return func(string) string { return text } }
	after := func(text string) func(string) string { return func(reply string) string { return reply + text } }
	var all sync.WaitGroup
	const confirmed = ">3\r\n$9\r\nsubscribe\r\n$9\r\n+sentinel\r\n:1\r\n"
	for name, alter := range map[string]func(int, []string, string) string{
		"message of few words":              on("SUBSCRIBE", "", after(published("+switch-master", "mymaster x"))),
		"message of no words":               on("SUBSCRIBE", "", after(published("+switch-master", "mymaster"))),
		"restart of few words":              on("SUBSCRIBE", "", after(published("+reboot", "master mymaster"))),
		"restart of one word":               on("SUBSCRIBE", "", after(published("+reboot", "master"))),
		"sentinel of few words":             on("SUBSCRIBE", "", after(published("+sentinel", "x y")+published("+sdown", "slave x y")+published("+slave", ""))),
		"message of two elements":           on("SUBSCRIBE", "", after(bulks(">", "message", "+switch-master"))),
		"confirmation too early":            on("UNSUBSCRIBE", "", before(confirmed)),
		"confirmation of nothing":           on("PING", "", before(confirmed)),
		"confirmation too many":             on("SUBSCRIBE", "", after(confirmed)),
		"confirmation of the wrong kind":    on("SUBSCRIBE", "", instead(strings.ReplaceAll((*fakeSentinel)(nil).reply([]string{"SUBSCRIBE", "a", "b"}), "subscribe", "ssubscribe"))),
		"confirmation cut off":              on("SUBSCRIBE", "", instead(confirmed+"-ERR no\r\n")),
		"confirmation as an array":          on("SUBSCRIBE", "", instead("*3\r\n$9\r\nsubscribe\r\n$9\r\n+sentinel\r\n:1\r\n")),
		"QUEUED":                            on("SUBSCRIBE", "", instead("+QUEUED\r\n")),
		"QUEUED as an error":                on("SUBSCRIBE", "", instead("-QUEUED\r\n")),
		"error to UNSUBSCRIBE":              on("UNSUBSCRIBE", "", instead("-BUSY\r\n")),
		"error to UNSUBSCRIBE and to PING":  on("UNSUBSCRIBE", "", instead("-ERR\r\n-ERR\r\n")),
		"reply too many":                    on("SUBSCRIBE", "", after("+PONG\r\n")),
		"reply too many later":              on("PING", "", after("+PONG\r\n+PONG\r\n+PONG\r\n")),
		"master without a port":             on("SENTINEL", "get-master-addr-by-name", instead("*1\r\n$1\r\nx\r\n")),
		"master without anything":           on("SENTINEL", "get-master-addr-by-name", instead("*0\r\n")),
		"master as a set":                   on("SENTINEL", "get-master-addr-by-name", instead("~0\r\n")),
		"attributes before the master":      on("SENTINEL", "get-master-addr-by-name", instead("|1\r\n+a\r\n+b\r\n*0\r\n")),
		"sentinels that are none":           on("SENTINEL", "sentinels", instead("*3\r\n*0\r\n:1\r\n%1\r\n$2\r\nip\r\n*1\r\n*0\r\n")),
		"a long list":                       on("SENTINEL", "sentinels", instead("*100000\r\n"+strings.Repeat("*0\r\n", 100_000))),
		"a long string":                     on("SENTINEL", "sentinels", instead("$500000000\r\n"+strings.Repeat("x", 1<<20))),
		"pushes in an array":                on("SENTINEL", "sentinels", instead("*1\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n")),
		"another node":                      on("SENTINEL", "get-master-addr-by-name", instead("-MOVED 1\r\n")),
		"messages while it owes a reply":    on("SENTINEL", "get-master-addr-by-name", before(strings.Repeat(published("+switch-master", "mymaster 1 1 127.0.0.1 1"), 200))),
		"many messages about other masters": on("SENTINEL", "get-master-addr-by-name", before(strings.Repeat(published("+switch-master", "other 1 1 127.0.0.1 1")+published("+sentinel", "sentinel x 127.0.0.1 1 @ mymaster 1 1"), 2000))),
	} {
		all.Go(func() {
			f := startFakeSentinel(t, server.Addr, alter)
			s, err := redis.Open(t.Context(), f.url(), redis.Options{Require: true, Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				t.Errorf("%s: %v", name, err)
				return
			}
			for began := time.Now(); time.Since(began) < second; time.Sleep(50 * time.Millisecond) {
				s.Get(t.Context(), "a", false)
			}
			if !soon(func() bool { return s.Get(t.Context(), "a", false).Err == nil }) {
				t.Errorf("%s: the store does not work afterwards", name)
			}
			closes(t, name, s)
		})
	}
	all.Wait()
}

const second = 7 * time.Second // in which the client has looked a second time, 5 s after the first

// soon waits for something. Unlike eventually.True it may be called by several goroutines of a test.
func soon(is func() bool) bool {
	for began := time.Now(); time.Since(began) < eventually.Limit; time.Sleep(10 * time.Millisecond) {
		if is() {
			return true
		}
	}
	return false
}

// closes checks that nothing holds up the end of a store.
func closes(t *testing.T, name string, s *redis.Store) {
	closed := make(chan struct{})
	go func() { s.Close(); close(closed) }()
	select {
	case <-closed:
	case <-time.After(eventually.Limit):
		t.Errorf("%s: Close does not return", name)
	}
}

// A server may answer ROLE, of which the library takes the first element, without any.
func TestBrokenRole(t *testing.T) {
	var roles atomic.Int64
	f := startFakeSentinel(t, "", func(_ int, args []string, reply string) string {
		if args[0] == "ROLE" {
			roles.Add(1)
			return "*0\r\n"
		}
		return reply
	})
	f.master = f.ln.Addr().String()
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if s, err := redis.Open(ctx, f.url(), redis.Options{Require: true, Logger: slog.New(slog.DiscardHandler)}); err == nil {
		s.Close()
		t.Error("no error")
	}
	if roles.Load() == 0 {
		t.Error("ROLE was not asked")
	}
}

// A sentinel that answers at random, with what it knows from other replies.
func TestRandomSentinel(t *testing.T) {
	server := redistest.Start(t)
	rng := seed.Rand(t)
	var all sync.WaitGroup
	for range 8 {
		rng := seed.Split(rng)
		all.Go(func() {
			var mu sync.Mutex // guards rng
			parts := []string{"+PONG\r\n", "+OK\r\n", "+QUEUED\r\n", "-ERR no\r\n", "-BUSY\r\n", "*0\r\n", "*-1\r\n", "_\r\n", "|1\r\n+a\r\n+b\r\n", bulks("*", "127.0.0.1", "1"), bulks("*", "x"),
				published("+switch-master", "mymaster 1 1 127.0.0.1 1"), published("+switch-master", "mymaster 1"), published("+reboot", "master mymaster"), published("+sentinel", "x"),
				bulks(">", "subscribe", "+sentinel", "1"), bulks(">", "unsubscribe", "+sentinel", "1"), bulks(">", "sunsubscribe", "x", "1"), bulks(">", "invalidate"), ">0\r\n"}
			f := startFakeSentinel(t, server.Addr, func(_ int, args []string, reply string) string {
				mu.Lock()
				defer mu.Unlock()
				if args[0] == "HELLO" || rng.IntN(4) > 0 {
					return reply
				}
				var b bytes.Buffer
				if rng.IntN(2) == 0 {
					b.WriteString(reply)
				}
				for range 1 + rng.IntN(3)*rng.IntN(10) {
					b.WriteString(parts[rng.IntN(len(parts))])
				}
				if rng.IntN(3) == 0 {
					b.WriteString(reply)
				}
				if rng.IntN(10) == 0 {
					return shuffled(rng, b.Bytes())
				}
				return b.String()
			})
			s, err := redis.Open(t.Context(), f.url(), redis.Options{Logger: slog.New(slog.DiscardHandler)})
			if err != nil {
				return
			}
			for began := time.Now(); time.Since(began) < second; time.Sleep(20 * time.Millisecond) {
				s.Get(t.Context(), "a", false)
			}
			closes(t, "at random", s)
		})
	}
	all.Wait()
}

// shuffled changes a byte.
func shuffled(rng *rand.Rand, b []byte) string {
	b[rng.IntN(len(b))] = byte(rng.IntN(128))
	return string(b)
}
