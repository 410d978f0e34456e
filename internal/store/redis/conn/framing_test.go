package conn

import (
	"errors"
	"math/rand/v2"
	"net"
	"strings"
	"testing"

	"github.com/nearside/nearside/internal/seed"
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
	} {
		for range 20 {
			var f framing
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

// A reply that no command has asked for ends the connection.
func TestExtraReply(t *testing.T) {
	here, there := net.Pipe()
	c := check(here, false)
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
		var whole, parts framing
		want := whole.next(text)
		r := rand.New(rand.NewPCG(seed, 0))
		var got error
		for rest := text; len(rest) > 0 && got == nil; {
			n := 1 + r.IntN(len(rest))
			got, rest = parts.next(rest[:n]), rest[n:]
		}
		if (want == nil) != (got == nil) || want == nil && (whole.messages != parts.messages || whole.depth != parts.depth || whole.left != parts.left) {
			t.Fatalf("%q: %v as a whole, %v in parts", text, want, got)
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
