package resp_test

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

// encode is the one spelling of a command.
func encode(args ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "*%d\r\n", len(args))
	for _, a := range args {
		fmt.Fprintf(&b, "$%d\r\n%s\r\n", len(a), a)
	}
	return b.String()
}

// parse reads all commands of b, given whole, and encodes them again.
func parse(b []byte, lim resp.Limits) (out string, err error) {
	p := resp.Parser{Lim: &lim}
	for len(b) > 0 {
		n, _, err := p.Next(b)
		if err != nil || n == 0 {
			return out, err
		}
		args := make([]string, len(p.Args))
		for i, a := range p.Args {
			args[i] = string(a)
		}
		if b[0] == '*' && string(b[:n]) != "*-1\r\n" && encode(args...) != string(b[:n]) {
			return out, fmt.Errorf("what was read is not what was sent: %q of %q", args, b[:n])
		}
		out += encode(args...)
		b = b[n:]
	}
	return out, nil
}

// inPieces is parse for bytes that arrive step by step, and move each time.
func inPieces(b []byte, step int, lim resp.Limits) (out string, err error) {
	p := resp.Parser{Lim: &lim}
	var have []byte
	least := 0
	for len(b) > 0 || len(have) > 0 {
		n, need, err := 0, 0, error(nil)
		if len(have) >= least {
			n, need, err = p.Next(have)
		} else {
			need = least
		}
		if err != nil {
			return out, err
		}
		if n > 0 {
			args := make([]string, len(p.Args))
			for i, a := range p.Args {
				args[i] = string(a)
			}
			out += encode(args...)
			have, least = have[n:], 0
			continue
		}
		if need <= len(have) {
			return out, fmt.Errorf("needs %d bytes and has %d", need, len(have))
		}
		least = need
		if len(b) == 0 {
			return out, nil
		}
		k := min(step, len(b))
		moved := append(bytes.Clone(have), b[:k]...)
		for i := range have {
			have[i] = 0xAA // what is used after it has moved shows
		}
		have, b = moved, b[k:]
	}
	return out, nil
}

func TestParser(t *testing.T) {
	small := resp.Limits{Bulk: 10, Args: 3, Command: 50}
	for _, c := range []struct {
		in, out string
		fails   bool
	}{
		{encode("GET", "user:42"), encode("GET", "user:42"), false},
		{encode("PING") + encode("GET", ""), encode("PING") + encode("GET", ""), false},
		{"*0\r\n" + encode("PING"), "*0\r\n" + encode("PING"), false},
		{encode("SET", "k", "\r\n*$\x00\xff"), encode("SET", "k", "\r\n*$\x00\xff"), false},
		{encode("GET", "1234567890"), encode("GET", "1234567890"), false},
		{"*2\r\n$3\r\nGE", "", false}, {"*", "", false}, {"*1\r", "", false}, {"*1\r\n$", "", false},
		{encode("GET", "12345678901"), "", true}, {"*4\r\n", "", true},
		{encode("1234567890", "1234567890", "1234567890"), "", true}, // 55 bytes in all
		{"GET / HTTP/1.1\r\n", "", true}, {"\x16\x03\x01", "", true},
		{"PING\r\n", encode("PING"), false}, {"PING\n", encode("PING"), false}, {" ECHO\t a  b \r\n" + encode("PING"), encode("ECHO", "a", "b") + encode("PING"), false},
		{"\r\n\n \r\nPING\r\n", "*0\r\n*0\r\n*0\r\n" + encode("PING"), false}, {"PIN", "", false}, {"PING\r", "", false},
		{"*-1\r\n" + encode("PING"), "*0\r\n" + encode("PING"), false}, {"*-", "", false}, {"*-2\r\n", "", true}, {"*-11\r\n", "", true}, {"*-01\r\n", "", true},
		{"ECHO \"a b\"\r\n", "", true}, {"a b c d\r\n", "", true}, {"ECHO 12345678901\r\n", "", true}, {strings.Repeat(" ", 51) + "\n", "", true}, {strings.Repeat("a ", 26), "", true},
		{"POST / HTTP/1.1\r\n", "", true}, {"Host: x\r\n", "", true}, {"post\r\n", "", true}, {"$3\r\n", "", true}, {"\x00\r\n", "", true},
		{"*1\r\n$-1\r\n", "", true}, {"*01\r\n", "", true}, {"*+1\r\n", "", true}, {"*1\n$1\na\n", "", true}, {"*1\r\r", "", true},
		{"*\r\n", "", true}, {"*a\r\n", "", true}, {"*?\r\n", "", true}, {"*1\r\n$?\r\n", "", true},
		{"*1\r\n$9223372036854775800\r\nabc\r\n", "", true}, {"*1\r\n$" + strings.Repeat("9", 40), "", true}, {"*99999999999999999999", "", true},
		{"*1\r\n$03\r\nGET\r\n", "", true}, {"*1\r\n$+3\r\nGET\r\n", "", true}, {"*1\r\n$3\r\nabcd\r\n", "", true}, {"*1\r\n$3\r\nabc\n\n", "", true},
		{"*1\r\n:1\r\n", "", true}, {"*1\r\n_\r\n", "", true}, {"*1\r\n+x\r\n", "", true}, {"%1\r\n", "", true}, {">1\r\n", "", true}, {"|1\r\n", "", true},
	} {
		out, err := parse([]byte(c.in), small)
		if out != c.out || (err != nil) != c.fails {
			t.Errorf("%.60q: got %q, %v, want %q, an error: %v", c.in, out, err, c.out, c.fails)
		}
		for step := 1; step <= 5; step++ {
			if again, err2 := inPieces([]byte(c.in), step, small); again != out || fmt.Sprint(err2) != fmt.Sprint(err) {
				t.Errorf("%.60q in pieces of %d: got %q, %v, whole: %q, %v", c.in, step, again, err2, out, err)
			}
		}
	}
}

// An announced length costs nothing before the bytes are there.
func TestParserAllocatesWhatArrives(t *testing.T) {
	lim := resp.Normal
	p := resp.Parser{Lim: &lim}
	in := []byte("*1048576\r\n$16777216\r\nabc")
	if n := testing.AllocsPerRun(10, func() { q := p; q.Next(in) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func FuzzParser(f *testing.F) {
	f.Add([]byte(encode("GET", "user:42")+encode("PING")), 1)
	f.Add([]byte("*1\r\n$9223372036854775800\r\nabc\r\n"), 3)
	f.Add([]byte("*0\r\n*2\r\n$0\r\n\r\n$3\r\na\r\nb"), 2)
	f.Add([]byte("PING\r\n\r\n*-1\r\nECHO a b\n"), 1)
	f.Fuzz(func(t *testing.T, in []byte, step int) {
		if step < 1 || len(in) > 1<<12 {
			return
		}
		lim := resp.Limits{Bulk: 512, Args: 64, Command: 2048}
		out, err := parse(in, lim)
		if err != nil && strings.HasPrefix(err.Error(), "what was read") {
			t.Error(err)
		}
		again, err2 := inPieces(in, step, lim)
		if again != out || fmt.Sprint(err) != fmt.Sprint(err2) {
			t.Errorf("%q: whole %q, %v; in pieces of %d %q, %v", in, out, err, step, again, err2)
		}
	})
}

func BenchmarkParser(b *testing.B) {
	lim := resp.Normal
	p := resp.Parser{Lim: &lim}
	in := []byte(encode("GET", "user:123456"))
	b.ReportAllocs()
	for b.Loop() {
		if n, _, err := p.Next(in); n != len(in) || err != nil {
			b.Fatal(n, err)
		}
	}
}
