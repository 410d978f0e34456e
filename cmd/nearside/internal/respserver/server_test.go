package respserver_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
	"github.com/nearside/nearside/internal/eventually"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo answers GET hit:x at once and GET miss:x in a batch, both with x; nil:x with null; err:x with an error.
type echo struct{ big []byte }

func (h *echo) Get(c *respserver.Conn, out, key []byte) ([]byte, bool) {
	if v, ok := bytes.CutPrefix(key, []byte("hit:")); ok {
		return resp.AppendBulk(out, v), true
	}
	return out, false
}

func (h *echo) GetMany(_ context.Context, c *respserver.Conn, keys [][]byte, r *respserver.Replies) {
	for _, key := range keys {
		kind, v, _ := bytes.Cut(key, []byte(":"))
		switch string(kind) {
		case "nil":
			r.Null()
		case "err":
			r.Error("ERR " + string(v))
		case "big":
			r.Bulk(h.big)
		case "panic":
			panic("as it was told to")
		case "late": // after the last reply
			r.Bulk(v)
			panic("as it was told to")
		default:
			r.Bulk(v)
		}
	}
}

func (h *echo) Do(_ context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	switch string(args[0]) {
	case "AUTH":
		c.SetAuthed()
	case "QUIT":
		c.CloseAfterReply()
	case "PANIC":
		panic("as it was told to")
	case "FLOOD", "HALF": // an array of as many big ones; half of it, and then a panic
		n, _ := strconv.Atoi(string(args[1]))
		out = resp.AppendArray(out, n)
		for i := range n {
			if string(args[0]) == "HALF" && i == n/2 {
				panic("as it was told to")
			}
			out = c.Flush(resp.AppendBulk(out, h.big))
		}
		return out
	}
	return resp.AppendBulk(out, args[len(args)-1])
}

type server struct {
	*respserver.Server
	addr string
}

func serve(t testing.TB, cfg respserver.Config) *server {
	t.Helper()
	if cfg.Handler == nil {
		cfg.Handler = &echo{}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{respserver.NewServer(cfg), ln.Addr().String()}
	done := make(chan error, 1)
	go func() { done <- s.Serve(ln) }()
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), eventually.Limit)
		defer cancel()
		s.Shutdown(ctx)
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *server) dial(t testing.TB) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", s.addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(60 * time.Second))
	t.Cleanup(func() { c.Close() })
	return c
}

func bulk(v string) string { return string(resp.AppendBulkString(nil, v)) }

// encode returns a command as a client sends it.
func encode(args ...string) string {
	b := resp.AppendArray(nil, len(args))
	for _, a := range args {
		b = resp.AppendBulkString(b, a)
	}
	return string(b)
}

// held answers like echo, but batches wait until they are let go.
type held struct {
	echo
	free chan struct{}
}

func (h *held) GetMany(ctx context.Context, c *respserver.Conn, keys [][]byte, r *respserver.Replies) {
	<-h.free
	h.echo.GetMany(ctx, c, keys, r)
}

// What a command that panicked leaves behind is used again for other clients, and must not mix their replies.
func TestBuffersAfterPanic(t *testing.T) {
	s := serve(t, respserver.Config{})
	for range 100 {
		broken := s.dial(t)
		io.WriteString(broken, encode("GET", "hit:a")+encode("GET", "panic:b"))
		closed(t, broken, bulk("a")+"-ERR internal error")
		ask(t, s.dial(t), encode("GET", "hit:1")+encode("GET", "miss:2")+encode("GET", "hit:3"), bulk("1")+bulk("2")+bulk("3"))
	}
}

// Who has his reply does not wait for a batch behind it, and gets no reply twice.
func TestHeadOfSlowBatch(t *testing.T) {
	h := &held{free: make(chan struct{})}
	conn := serve(t, respserver.Config{Handler: h}).dial(t)
	for _, last := range []string{"miss:3", "panic:3"} {
		ask(t, conn, encode("GET", "hit:1")+encode("GET", last)+encode("GET", "hit:4"), bulk("1"))
		h.free <- struct{}{}
		if last == "panic:3" {
			ask(t, conn, "", "-ERR internal error\r\n")
			continue
		}
		ask(t, conn, "", bulk("3")+bulk("4"))
		// What was sent before is no matter of the next one, which is answered at once.
		go func() { h.free <- struct{}{} }()
		ask(t, conn, encode("GET", "hit:5")+encode("GET", "miss:6"), bulk("5")+bulk("6"))
	}
}

// Replies come in the order of the commands, whatever is a hit, a miss or a command, and however the bytes are cut.
func TestOrder(t *testing.T) {
	s := serve(t, respserver.Config{})
	var wg sync.WaitGroup
	for client := range 8 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(1, uint64(client)))
			conn := s.dial(t)
			var in, want strings.Builder
			for i := range 3000 {
				v := strconv.Itoa(i)
				switch rng.IntN(6) {
				case 0, 1:
					in.WriteString(encode("GET", "hit:"+v))
					want.WriteString(bulk(v))
				case 2, 3:
					in.WriteString(encode("get", "miss:"+v))
					want.WriteString(bulk(v))
				case 4:
					in.WriteString(encode("GET", "nil:"+v))
					want.WriteString("$-1\r\n")
				case 5:
					in.WriteString(encode("ECHO", v))
					want.WriteString(bulk(v))
				}
			}
			go func() {
				for b := []byte(in.String()); len(b) > 0; {
					n := min(1+rng.IntN(1<<(1+rng.IntN(14))), len(b))
					conn.Write(b[:n])
					b = b[n:]
				}
			}()
			got := make([]byte, want.Len())
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != want.String() {
				t.Errorf("client %d: wrong replies (%v)", client, err)
			}
		})
	}
	wg.Wait()
}

// Commands that outgrow the input of one turn are read whole, in whatever pieces they come, and so is what stands behind them.
func TestLargeCommands(t *testing.T) {
	s := serve(t, respserver.Config{})
	for _, size := range []int{8 << 10, 16 << 10, 17 << 10, 64<<10 + 1, 16 << 20} {
		v := strings.Repeat("v", size)
		for _, piece := range []int{5 << 10, 16 << 10, 64 << 20} {
			if size > 1<<20 && piece < size {
				continue // the race detector would take half a minute
			}
			conn := s.dial(t)
			in := encode("ECHO", v) + encode("GET", "miss:a") + encode("ECHO", v) + encode("GET", "hit:b")
			go func() {
				for rest := []byte(in); len(rest) > 0; {
					n := min(piece, len(rest))
					if _, err := conn.Write(rest[:n]); err != nil {
						return // the reader will say so
					}
					rest = rest[n:]
				}
			}()
			want := bulk(v) + bulk("a") + bulk(v) + bulk("b")
			got := make([]byte, len(want))
			if n, err := io.ReadFull(conn, got); err != nil || string(got) != want {
				t.Fatalf("%d bytes in pieces of %d: wrong replies (%d bytes, %v)", size, piece, n, err)
			}
			conn.Close()
		}
	}
}

// A client that sends a long pipeline before it reads the first reply is answered.
func TestLongPipeline(t *testing.T) {
	n := 200_000
	if testing.Short() {
		n = 20_000
	}
	s := serve(t, respserver.Config{Handler: &echo{big: bytes.Repeat([]byte("x"), 500)}, MaxOutput: 256 << 20, Budget: 1 << 30})
	conn := s.dial(t)
	if _, err := io.WriteString(conn, strings.Repeat(encode("GET", "big:1"), n)); err != nil {
		t.Fatal(err)
	}
	if got, err := io.CopyN(io.Discard, conn, int64(n*len(bulk(strings.Repeat("x", 500))))); err != nil {
		t.Errorf("%d bytes: %v", got, err)
	}
}

// Who never reads is closed, and holds no more than he may.
func TestSlowReader(t *testing.T) {
	s := serve(t, respserver.Config{Handler: &echo{big: make([]byte, 64<<10)}, MaxOutput: 1 << 20, WriteTimeout: 100 * time.Millisecond})
	conn := s.dial(t)
	go io.WriteString(conn, strings.Repeat(encode("GET", "big:1"), 10_000))
	eventually.True(t, "the client is disconnected", func() bool {
		if held := s.Stats().Held; held > 4<<20 {
			t.Fatalf("%d bytes are held for the client", held)
		}
		return s.Stats().Clients == 0 && s.Stats().Accepted > 0
	})
	if held := s.Stats().Held; held != 0 {
		t.Errorf("%d bytes are held for nobody", held)
	}
}

// The tables of an unfinished command count, besides its bytes.
func TestTablesCount(t *testing.T) {
	s := serve(t, respserver.Config{Handler: &echo{}})
	const n = 100_000
	text := fmt.Sprintf("*%d\r\n", n+1) + strings.Repeat("$0\r\n\r\n", n)
	conn := s.dial(t)
	io.WriteString(conn, text)
	eventually.True(t, "a table of 16 bytes for each argument is counted", func() bool { return s.Stats().Held >= int64(len(text)+16*n) })
	conn.Close()
	eventually.True(t, "nothing is held", func() bool { return s.Stats().Held == 0 })
}

// Clients that are closed, for whatever reason, are one line of the log for each reason, however many they are.
func TestClosedClientsInTheLog(t *testing.T) {
	var log bytes.Buffer // read when the server has ended
	s := serve(t, respserver.Config{Handler: &echo{big: make([]byte, 64<<10)}, MaxOutput: 1 << 20, WriteTimeout: 50 * time.Millisecond, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	const n = 5
	for range n {
		conn := s.dial(t)
		go io.WriteString(conn, strings.Repeat(encode("GET", "big:1"), 10_000))
		broken := s.dial(t)
		io.WriteString(broken, encode("PANIC"))
		closed(t, broken, "-ERR internal error")
	}
	for until := time.Now().Add(20 * time.Second); s.Stats().Clients > 0; time.Sleep(5 * time.Millisecond) {
		if time.Now().After(until) {
			t.Fatal("a client that does not read is still connected")
		}
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	for _, text := range []string{"client closed", "a command panicked"} {
		if lines := strings.Count(log.String(), text); lines != 1 {
			t.Errorf("%d lines say %q of %d clients, want 1:\n%.2000s", lines, text, n, log.String())
		}
	}
}

// A reply of many elements is sent while it is written, behind what came before it, and is no larger in memory than others.
func TestFlush(t *testing.T) {
	const n = 100_000
	big := bytes.Repeat([]byte("x"), 1<<10)
	s := serve(t, respserver.Config{Handler: &echo{big: big}, MaxOutput: 1 << 20, WriteTimeout: 10 * time.Second})
	conn := s.dial(t)
	var before, during runtime.MemStats
	runtime.ReadMemStats(&before)
	io.WriteString(conn, encode("ECHO", "a")+encode("GET", "miss:b")+encode("FLOOD", strconv.Itoa(n))+encode("ECHO", "c"))
	ask(t, conn, "", bulk("a")+bulk("b")+fmt.Sprintf("*%d\r\n", n))
	one := bulk(string(big))
	for i := range n {
		got := make([]byte, len(one))
		if _, err := io.ReadFull(conn, got); err != nil || string(got) != one {
			t.Fatalf("element %d: %.20q, %v", i, got, err)
		}
		if i == n/2 {
			runtime.GC()
			runtime.ReadMemStats(&during)
		}
	}
	ask(t, conn, "", bulk("c"))
	if grown := int64(during.HeapAlloc) - int64(before.HeapAlloc); grown > 8<<20 {
		t.Errorf("%d bytes of memory for a reply of %d", grown, n*len(one))
	}
	half := s.dial(t)
	io.WriteString(half, encode("HALF", "200"))
	closed(t, half, one+"-ERR internal error\r\n")

	s = serve(t, respserver.Config{Handler: &echo{big: big}, MaxOutput: 1 << 20, WriteTimeout: 100 * time.Millisecond})
	io.WriteString(s.dial(t), encode("FLOOD", strconv.Itoa(n))) // and never reads
	eventually.True(t, "the client that never reads is disconnected", func() bool {
		if held := s.Stats().Held; held > 4<<20 {
			t.Fatalf("%d bytes are held for a client that never reads", held)
		}
		return s.Stats().Clients == 0 && s.Stats().Accepted > 0
	})
}

// Who leaves before the replies is no news: any client could fill the log with that.
func TestClientLeaves(t *testing.T) {
	var log bytes.Buffer // read when the server has ended
	s := serve(t, respserver.Config{Handler: &echo{big: make([]byte, 64<<10)}, Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 10 {
		conn := s.dial(t)
		if _, err := io.WriteString(conn, strings.Repeat(encode("GET", "big:1"), 200)); err != nil { // more than the socket takes
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			t.Fatal(err)
		}
		conn.Close() // with replies unread: a reset
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil || log.Len() > 0 {
		t.Errorf("%v\n%s", err, log.String())
	}
}

func ask(t *testing.T, conn net.Conn, command, want string) {
	t.Helper()
	io.WriteString(conn, command)
	got := make([]byte, len(want))
	if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
		t.Errorf("%.40q: got %q, %v, want %q", command, got, err, want)
	}
}

func closed(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	rest, err := io.ReadAll(conn)
	if ne, ok := errors.AsType[net.Error](err); ok && ne.Timeout() || !strings.Contains(string(rest), want) {
		t.Errorf("got %q, %v, want %q and the end", rest, err, want)
	}
}

func TestLimitsAndFaults(t *testing.T) {
	s := serve(t, respserver.Config{Limits: resp.Limits{Bulk: 1 << 10, Args: 100, Command: 1 << 14}})
	other := s.dial(t)
	for in, want := range map[string]string{
		"GET / HTTP/1.1\r\n\r\n":                      "-ERR Protocol error: found an HTTP request",
		encode("PING") + "*-2\r\n":                    bulk("PING") + "-ERR Protocol error",
		encode("GET", strings.Repeat("k", 2<<10)):     "-ERR Protocol error",
		encode("PANIC"):                               "-ERR internal error",
		encode("GET", "panic:1"):                      "-ERR internal error",
		encode("GET", "late:1"):                       bulk("1") + "-ERR internal error",
		encode("ECHO", "a") + encode("QUIT") + "more": bulk("a") + bulk("QUIT"),
	} {
		conn := s.dial(t)
		io.WriteString(conn, in)
		closed(t, conn, want)
		ask(t, other, encode("GET", "miss:x"), bulk("x"))
	}
	ask(t, other, encode("GET", "err:a\r\nb"), "-ERR a  b\r\n")
}

// What one connection has broken in the middle of a command is not found by the next one, though they share parsers.
func TestBrokenCommandIsNotInherited(t *testing.T) {
	s := serve(t, respserver.Config{})
	for range 50 {
		conn := s.dial(t)
		io.WriteString(conn, "*3\r\n$3\r\nGET\r\n$x\r\n")
		closed(t, conn, "-ERR Protocol error")
		ask(t, s.dial(t), encode("GET", "hit:1")+encode("ECHO", "a"), bulk("1")+bulk("a"))
	}
}

func TestBeforeAuthentication(t *testing.T) {
	s := serve(t, respserver.Config{RequireAuth: true, IdleTimeout: 50 * time.Millisecond})
	conn := s.dial(t)
	ask(t, conn, encode("GET", "hit:1"), bulk("hit:1")) // goes to Do
	ask(t, conn, encode("AUTH", "x")+encode("GET", "hit:1"), bulk("x")+bulk("1"))
	big := s.dial(t)
	io.WriteString(big, "*2\r\n$3\r\nGET\r\n$20000\r\n")
	closed(t, big, "-ERR Protocol error")
}

func TestMaxClients(t *testing.T) {
	s := serve(t, respserver.Config{MaxClients: 1})
	first := s.dial(t)
	ask(t, first, encode("ECHO", "a"), bulk("a"))
	closed(t, s.dial(t), "-ERR max number of clients reached")
	ask(t, first, encode("ECHO", "a"), bulk("a"))
}

// At the end every client sees whole replies of a prefix of what it sent, and then the end.
func TestShutdown(t *testing.T) {
	s := serve(t, respserver.Config{})
	var wg sync.WaitGroup
	started := make(chan struct{}, 16)
	for range 16 {
		conn := s.dial(t)
		wg.Go(func() {
			defer conn.Close()                 // as clients do at the end of the replies; it ends the writer too
			window := make(chan struct{}, 256) // replies that are waited for: a client that never reads is another test
			end := make(chan struct{})
			defer close(end)
			go func() {
				for i := 0; ; i++ {
					select {
					case window <- struct{}{}:
					case <-end:
						return
					}
					if _, err := io.WriteString(conn, encode("GET", "miss:"+strconv.Itoa(i))); err != nil {
						return
					}
				}
			}()
			r := bufio.NewReader(conn)
			for i := 0; ; i++ {
				want := bulk(strconv.Itoa(i))
				got := make([]byte, len(want))
				if n, err := io.ReadFull(r, got); err != nil {
					if err != io.EOF || n != 0 {
						t.Errorf("reply %d: %q, %v", i, got[:n], err)
					}
					return
				} else if string(got) != want {
					t.Errorf("reply %d is %q", i, got)
					return
				}
				<-window
				if i == 10 {
					started <- struct{}{}
				}
			}
		})
	}
	for range 16 {
		<-started
	}
	ctx, cancel := context.WithTimeout(t.Context(), eventually.Limit)
	defer cancel()
	if err := s.Shutdown(ctx); err != nil {
		t.Error(err)
	}
	wg.Wait()
}

// A GET over loopback; the client's part allocates nothing.
func BenchmarkGet(b *testing.B) {
	for _, key := range []string{"hit:1", "miss:1"} {
		for _, pipeline := range []int{1, 16} {
			b.Run(fmt.Sprintf("%s/pipeline %d", key, pipeline), func(b *testing.B) {
				s := serve(b, respserver.Config{})
				conn := s.dial(b)
				in := []byte(strings.Repeat(encode("GET", key), pipeline))
				out := make([]byte, pipeline*len(bulk("1")))
				b.ReportAllocs()
				for i := 0; i < b.N; i += pipeline {
					conn.Write(in)
					if _, err := io.ReadFull(conn, out); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
