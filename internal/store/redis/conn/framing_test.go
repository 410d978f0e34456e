package conn

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

// What Redis says is accepted in pieces of any length, and what it does not say is not.
func TestFraming(t *testing.T) {
	rng := seed.Rand(t)
	for _, c := range []struct {
		text     string
		messages int64 // -1: refused
	}{
		{"+OK\r\n", 1}, {"-ERR no\r\n", 1}, {":1\r\n:-1\r\n:+5\r\n", 3}, {"$-1\r\n", 1}, {"$0\r\n\r\n", 1}, {"$3\r\n\r\nx\r\n", 1}, {"*-1\r\n", 1}, {"*0\r\n", 1}, {"_\r\n", 1}, {"#t\r\n#f\r\n", 2},
		{",1.5\r\n,inf\r\n", 2}, {"(123456789012345678901234567890\r\n", 1}, {"*2\r\n*0\r\n*1\r\n$1\r\nx\r\n", 1}, {"%1\r\n+a\r\n*2\r\n:1\r\n:2\r\n+OK\r\n", 2},
		{">2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n", 0}, {">2\r\n$10\r\ninvalidate\r\n_\r\n+OK\r\n", 1}, {"~1\r\n=5\r\ntxt:x\r\n", 1}, {"!3\r\nERR\r\n", 1},
		{"|1\r\n+a\r\n+b\r\n+OK\r\n", 1}, {"*1\r\n|1\r\n+a\r\n+b\r\n+OK\r\n+OK\r\n", 2}, {"*3\r\n:1\r\n>2\r\n$10\r\ninvalidate\r\n*0\r\n:2\r\n:3\r\n", 1},
		{"$5\r\nhello", 0}, {"*2\r\n:1\r\n", 0},

		{"OK\r\n", -1}, {"\x00", -1}, {"$3\r\nabcd\r\n", -1}, {"$3\r\nabc\rx", -1}, {"$-2\r\n", -1}, {"*-2\r\n", -1}, {"%-1\r\n", -1}, {"$1x\r\n", -1}, {"$\r\n", -1}, {":1\n", -1}, {"+a\nb\r\n", -1}, {"_x\r\n", -1}, {"#x\r\n", -1}, {"#\r\n", -1},
		{"$536870913\r\n", -1}, {"*16777217\r\n", -1}, {"%8388609\r\n", -1}, {"*99999999999999999999\r\n", -1}, {"*2\r\n*16777215\r\n", -1}, {"*?\r\n", -1}, {";4\r\n", -1}, {".\r\n", -1},
		{strings.Repeat("*1\r\n", deepest+1), -1}, {">3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", -1}, {">3\r\n$12\r\nsunsubscribe\r\n$1\r\nc\r\n:1\r\n", -1}, {"+" + strings.Repeat("x", longestLine+1), -1},

		// What the client library would panic at: confirmations in disguise, redirections without an address, and more elements than
		// it knows of.
		{">3\r\n+subscribe\r\n$1\r\nc\r\n:1\r\n", -1}, {">3\r\n=9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", -1}, {">3\r\n-subscribe\r\n$1\r\nc\r\n:1\r\n", -1}, {">3\r\n*1\r\n$1\r\nx\r\n$1\r\nc\r\n:1\r\n", -1},
		{"|0\r\n>3\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", -1}, {"|1\r\n+a\r\n+b\r\n>2\r\n$1\r\nx\r\n*0\r\n", -1}, {">3\r\n|1\r\n$1\r\na\r\n$1\r\nb\r\n$9\r\nsubscribe\r\n$1\r\nc\r\n:1\r\n", -1},
		{"-MOVED\r\n", -1}, {"-MOVED 1\r\n", -1}, {"-ASK 1\r\n", -1}, {"!7\r\nMOVED 1\r\n", -1}, {"*1\r\n-ASKED\r\n", -1}, {"-MOVED 1 127.0.0.1:1\r\n-ASK 1 :1\r\n-MOVE x\r\n-\r\n!3\r\nMOV\r\n", 5},
		{"*2\r\n*1\r\n>2\r\n$1\r\nx\r\n*0\r\n:1\r\n:2\r\n", -1}, {"*2\r\n:1\r\n>2\r\n$1\r\nx\r\n>1\r\n$1\r\nx\r\n", -1}, {"*2\r\n:1\r\n>2\r\n$1\r\nx\r\n*0\r\n>2\r\n$1\r\nx\r\n*0\r\n", -1},
		{"*3\r\n>2\r\n$1\r\nx\r\n*0\r\n>2\r\n$1\r\nx\r\n*0\r\n:1\r\n:2\r\n*1\r\n:1\r\n:4\r\n", 2},
	} {
		for range 20 {
			f := framing{six: true}
			var err error
			for rest := c.text; rest != "" && err == nil; {
				n := min(len(rest), 1+rng.IntN(4))
				if len(c.text) > 1000 {
					n = min(len(rest), 1+rng.IntN(4000))
				}
				err, rest = f.next([]byte(rest[:n])), rest[n:]
			}
			if c.messages < 0 && !errors.Is(err, errFraming) || c.messages >= 0 && (err != nil || f.messages != c.messages) {
				t.Fatalf("%.100q: %d messages, %v; expected %d", c.text, f.messages, err, c.messages)
			}
		}
	}
}

// Only Redis 6 pushes inside of arrays: the client library goes by the version in the reply to HELLO.
func TestVersionOfTheServer(t *testing.T) {
	for hello, six := range map[string]bool{
		"%2\r\n$6\r\nserver\r\n$5\r\nredis\r\n$7\r\nversion\r\n$5\r\n6.2.1\r\n": true,
		"%2\r\n+version\r\n+6.0\r\n$5\r\nproto\r\n:3\r\n":                       true,
		"%1\r\n$7\r\nversion\r\n$5\r\n7.0.0\r\n":                                false,
		"%1\r\n$7\r\nversion\r\n:6\r\n":                                         false,
		"%1\r\n$5\r\n6.2.1\r\n$7\r\nversion\r\n":                                false,
		"%2\r\n$7\r\nversion\r\n*1\r\n:1\r\n$1\r\n6\r\n$1\r\n6\r\n":             false,
		"%2\r\n$7\r\nversion\r\n$1\r\n6\r\n$7\r\nversion\r\n$1\r\n7\r\n":        false,
		"%1\r\n$1\r\na\r\n%1\r\n$7\r\nversion\r\n$1\r\n6\r\n":                   false,
	} {
		f := framing{hello: 2}
		if err := f.next([]byte("+PONG\r\n" + hello)); err != nil || f.messages != 2 || f.six != six {
			t.Errorf("%q: %v, %d messages, %v", hello, err, f.messages, f.six)
		}
		if err := f.next([]byte("*2\r\n:1\r\n>2\r\n$1\r\nx\r\n*0\r\n:2\r\n")); (err == nil) != six {
			t.Errorf("a push in an array after %q: %v", hello, err)
		}
	}
	f := framing{six: true, plain: 1}
	if err := f.next([]byte("*2\r\n:1\r\n>2\r\n$1\r\nx\r\n*0\r\n:2\r\n")); err == nil {
		t.Error("a push in an array was taken before the handshake has ended")
	}
}

// A reply that no command has asked for ends the connection.
func TestExtraReply(t *testing.T) {
	here, there := net.Pipe()
	c := check(here, Config{})
	defer c.Close()
	go func() {
		b := make([]byte, 100)
		there.Read(b)
		there.Write([]byte("+PONG\r\n"))
		there.Write([]byte("+PONG\r\n"))
	}()
	if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 100)
	if n, err := c.Read(b); err != nil || string(b[:n]) != "+PONG\r\n" {
		t.Fatalf("got %q, %v", b[:n], err)
	}
	if n, err := c.Read(b); !errors.Is(err, errExtra) {
		t.Errorf("got %q, %v", b[:n], err)
	}
	if _, err := c.Write([]byte("x")); err == nil {
		t.Error("the connection is still open")
	}
}

func FuzzFraming(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\nx\r\n%1\r\n:1\r\n_\r\n+OK\r\n"), uint64(1))
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		whole, parts := framing{six: true, hello: 2}, framing{six: true, hello: 2}
		want := whole.next(text)
		r := rand.New(rand.NewPCG(seed, 0))
		var got error
		for rest := text; len(rest) > 0 && got == nil; {
			n := 1 + r.IntN(len(rest))
			got, rest = parts.next(rest[:n]), rest[n:]
		}
		if (want == nil) != (got == nil) || want == nil && (whole.messages != parts.messages || whole.depth != parts.depth || whole.left != parts.left || whole.owed != parts.owed || whole.six != parts.six) {
			t.Fatalf("%q: %v as a whole, %v in parts", text, want, got)
		}
	})
}

// The first PING of a connection is answered by one line: what waits for it reads no further.
func TestFirstPing(t *testing.T) {
	for text, good := range map[string]bool{"+PONG\r\n": true, "-NOAUTH\r\n": true, "*3\r\n+a\r\n+b\r\n": false, "$4\r\nPONG\r\n": false, ":1\r\n": false, ">1\r\n$1\r\nx\r\n": false} {
		c := check(&said{text: []byte(text), rng: rand.New(rand.NewPCG(1, 1))}, Config{})
		if _, err := c.Write([]byte("*1\r\n$4\r\nPING\r\n")); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadAll(c); (err == nil) != good {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// said is a connection on which a server says something.
type said struct {
	net.Conn
	text []byte
	rng  *rand.Rand
}

func (s *said) Write(b []byte) (int, error) { return len(b), nil }
func (s *said) Close() error                { return nil }
func (s *said) RemoteAddr() net.Addr        { return &net.TCPAddr{} }

func (s *said) Read(b []byte) (int, error) {
	if len(s.text) == 0 {
		return 0, io.EOF
	}
	n := copy(b[:min(len(b), 1+s.rng.IntN(len(s.text)))], s.text)
	s.text = s.text[n:]
	return n, nil
}

// What a sentinel says ends a connection at worst, and it is the same however it is cut to pieces.
func FuzzSentinel(f *testing.F) {
	const confirmed = ">3\r\n$11\r\nunsubscribe\r\n$9\r\n+sentinel\r\n:1\r\n>3\r\n$11\r\nunsubscribe\r\n$6\r\n+slave\r\n:1\r\n"
	f.Add([]byte("+PONG\r\n"+confirmed+"+PONG\r\n*2\r\n$1\r\nx\r\n$1\r\n1\r\n"), uint64(1))
	f.Add([]byte("+PONG\r\n-ERR\r\n+PONG\r\n-ERR\r\n*1\r\n%2\r\n$2\r\nip\r\n$1\r\nx\r\n$4\r\nport\r\n$1\r\n1\r\n*2\r\n$1\r\nx\r\n$1\r\n1\r\n>3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$9\r\nm 1 1 1 1\r\n"), uint64(1))
	channels := "$9\r\n+sentinel\r\n$6\r\n+slave\r\n$6\r\n-sdown\r\n$6\r\n+sdown\r\n$14\r\n+switch-master\r\n$7\r\n+reboot\r\n"
	commands := []byte("*1\r\n$4\r\nPING\r\n*7\r\n$11\r\nUNSUBSCRIBE\r\n" + channels + "*1\r\n$4\r\nPING\r\n*7\r\n$9\r\nSUBSCRIBE\r\n" + channels +
		"*3\r\n$8\r\nSENTINEL\r\n$9\r\nSENTINELS\r\n$1\r\nm\r\n*3\r\n$8\r\nSENTINEL\r\n$23\r\nGET-MASTER-ADDR-BY-NAME\r\n$1\r\nm\r\n")
	f.Fuzz(func(t *testing.T, text []byte, seed uint64) {
		var got [2][]byte
		var errs [2]error
		for i := range got {
			c := check(&said{text: text, rng: rand.New(rand.NewPCG(seed, uint64(i)))}, Config{Target: redisurl.Target{Mode: redisurl.Sentinels}})
			if _, err := c.Write(commands); err != nil {
				t.Fatal(err)
			}
			got[i], errs[i] = io.ReadAll(c)
		}
		if !errors.Is(errs[0], errFraming) && !errors.Is(errs[1], errFraming) && string(got[0]) != string(got[1]) {
			t.Fatalf("%q: %q, %v and %q, %v", text, got[0], errs[0], got[1], errs[1])
		}
		if errors.Is(errs[0], errFraming) != errors.Is(errs[1], errFraming) {
			t.Fatalf("%q: %v and %v", text, errs[0], errs[1])
		}
	})
}

func BenchmarkFraming(b *testing.B) {
	reply := []byte(strings.Repeat("$200\r\n"+strings.Repeat("x", 200)+"\r\n:3600000\r\n", 100))
	var f framing
	b.ReportAllocs()
	for b.Loop() {
		f.next(reply)
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/200, "ns/reply")
}
