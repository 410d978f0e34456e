package resp_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
)

// read reads one reply. With pieces it is taken in parts, which are put together again.
func read(in io.Reader, size int, pieces bool) (reply []byte, err error) {
	var all []byte
	var take func([]byte)
	if pieces {
		take = func(part []byte) { all = append(all, part...) }
	}
	out, err := resp.ReadReply(bufio.NewReaderSize(in, size), nil, take, nil)
	return append(all, out...), err
}

func TestReadReply(t *testing.T) {
	long := strings.Repeat("x", 100)
	nested := func(n int) string { return strings.Repeat("*1\r\n", n) + ":1\r\n" }
	for _, c := range []struct{ in, want string }{ // want is "" for what is no reply
		{"+OK\r\n", "+OK\r\n"}, {"+\r\n", "+\r\n"}, {"-ERR a\r\n:1\r\n", "-ERR a\r\n"}, {":-1\r\n", ":-1\r\n"}, {"+" + long + "\r\n", "+" + long + "\r\n"},
		{"$3\r\na\r\n\r\n", "$3\r\na\r\n\r\n"}, {"$0\r\n\r\n", "$0\r\n\r\n"}, {"$-1\r\n", "$-1\r\n"}, {"*-1\r\n", "*-1\r\n"}, {"*0\r\n", "*0\r\n"},
		{"*2\r\n$1\r\na\r\n*1\r\n:1\r\n+more\r\n", "*2\r\n$1\r\na\r\n*1\r\n:1\r\n"},
		{"_\r\n", "_\r\n"}, {",1.5\r\n", ",1.5\r\n"}, {"#t\r\n", "#t\r\n"}, {"(" + long + "\r\n", "(" + long + "\r\n"}, {"=5\r\ntxt:a\r\n", "=5\r\ntxt:a\r\n"}, {"!5\r\nERR a\r\n", "!5\r\nERR a\r\n"},
		{"%1\r\n+a\r\n:1\r\n", "%1\r\n+a\r\n:1\r\n"}, {"~1\r\n+a\r\n", "~1\r\n+a\r\n"}, {"|1\r\n+a\r\n+b\r\n:1\r\n", "|1\r\n+a\r\n+b\r\n:1\r\n"},
		{">2\r\n+invalidate\r\n_\r\n>0\r\n+OK\r\n", "+OK\r\n"}, {nested(64), nested(64)},

		{"\r\n", ""}, {"+\n", ""}, {"OK\r\n", ""}, {"+OK\n", ""}, {long + "\r\n", ""}, {"+" + long + "\n", ""}, {"*" + long + "\r\n", ""}, {"$" + long + "\r\n", ""},
		{"$\r\n", ""}, {"$01\r\na\r\n", ""}, {"$+1\r\na\r\n", ""}, {"$-2\r\n", ""}, {"$-01\r\n", ""}, {"*-2\r\n", ""}, {"%-1\r\n", ""}, {"=-1\r\n", ""}, {"$1 \r\na\r\n", ""}, {"$?\r\n", ""},
		{"$536870913\r\n", ""}, {"*536870913\r\n", ""}, {"$99999999999999999999\r\n", ""}, {"$1\r\nab\r\n", ""}, {"$1\r\na\n\n", ""}, {nested(65), ""}, {"*1\r\nOK\r\n", ""},
	} {
		for _, size := range []int{16, 4096} { // a buffer that lines do not fit into, and one that they do
			for _, pieces := range []bool{false, true} {
				for _, in := range []io.Reader{strings.NewReader(c.in), iotest.OneByteReader(strings.NewReader(c.in))} {
					got, err := read(in, size, pieces)
					switch {
					case c.want != "" && (string(got) != c.want || err != nil):
						t.Errorf("%.60q: got %.60q, %v", c.in, got, err)
					case c.want == "" && !errors.Is(err, resp.ErrReply):
						t.Errorf("%.60q: got %.60q, %v, want ErrReply", c.in, got, err)
					}
				}
			}
		}
		// What ends too early is an error of the connection.
		if c.want != "" {
			for n := range len(c.want) - 1 {
				if _, err := read(strings.NewReader(c.want[:n]), 16, false); !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
					t.Errorf("%.60q: got %v", c.want[:n], err)
				}
			}
		}
	}
}

// A large reply is given away in parts, or collected within the limits. An announced length costs nothing.
func TestReadLargeReply(t *testing.T) {
	const mib = 1 << 20
	text := func(n int) string { return fmt.Sprintf("$%d\r\n%s\r\n", n, strings.Repeat("x", n)) }
	array := func(n int) string { return fmt.Sprintf("*%d\r\n", n) + strings.Repeat("$10\r\n0123456789\r\n", n) }
	for _, c := range []struct {
		in   string
		fits bool // in memory
	}{
		{text(10), true}, {text(3 * mib), true}, {text(64*mib - 20), true}, {text(64 * mib), false},
		{array(100_000), true}, {array(4_000_000), false}, {"+" + strings.Repeat("x", 3*mib) + "\r\n", true}, {"+" + strings.Repeat("x", 64*mib) + "\r\n", false},
	} {
		largest, rest := 0, c.in
		out, err := resp.ReadReply(bufio.NewReader(strings.NewReader(c.in)), []byte("before"), func(part []byte) {
			largest = max(largest, len(part))
			if !strings.HasPrefix(rest, string(part)) {
				t.Fatalf("%.20q: another part was expected", c.in)
			}
			rest = rest[len(part):]
		}, func(int64) bool { t.Error("a part was counted"); return true })
		if err != nil || string(out) != "before"+rest || largest > 160<<10 || len(out) > 160<<10 {
			t.Errorf("%.20q in parts: %d bytes at most, %d at the end, %v", c.in, largest, len(out), err)
		}

		held := int64(0)
		out, err = resp.ReadReply(bufio.NewReader(strings.NewReader(c.in)), nil, nil, func(n int64) bool { held += n; return true })
		switch {
		case c.fits && (err != nil || string(out) != c.in || held != int64(len(c.in))):
			t.Errorf("%.20q: %d bytes, of which %d are counted, %v", c.in, len(out), held, err)
		case !c.fits && (!errors.Is(err, resp.ErrTooLarge) || held > 65*mib):
			t.Errorf("%.20q: %d bytes are counted, %v", c.in, held, err)
		}
	}
	if out, err := resp.ReadReply(bufio.NewReader(strings.NewReader(text(mib))), nil, nil, func(int64) bool { return false }); !errors.Is(err, resp.ErrNoMemory) || cap(out) > 128<<10 {
		t.Errorf("without memory: %d bytes, %v", cap(out), err)
	}
	if out, err := resp.ReadReply(bufio.NewReader(strings.NewReader("*1\r\n$536870912\r\nabc")), nil, func([]byte) {}, nil); err == nil || cap(out) > 128<<10 {
		t.Errorf("an announced length: %d bytes, %v", cap(out), err)
	}
}

func TestReply(t *testing.T) {
	for in, text := range map[string]string{
		"+OK\r\n": "OK", "-ERR a\r\n": "ERR a", "!5\r\nERR a\r\n": "ERR a", ":-12\r\n": "-12", "$4\r\n\r\n\r\n\r\n": "\r\n\r\n", "=5\r\ntxt:a\r\n": "txt:a", ",1.5\r\n": "1.5",
		"_\r\n": "", "$-1\r\n": "", "$0\r\n\r\n": "", "*1\r\n+a\r\n": "", "": "",
	} {
		if got := string(resp.Reply(in).Text()); got != text {
			t.Errorf("%q: got %q, want %q", in, got, text)
		}
		if got, want := resp.Reply(in).IsError(), strings.HasPrefix(text, "ERR"); got != want {
			t.Errorf("%q is an error: %v", in, got)
		}
		n, err := resp.Reply(in).Int()
		if in == ":-12\r\n" && (n != -12 || err != nil) || in != ":-12\r\n" && !errors.Is(err, resp.ErrReply) {
			t.Errorf("%q: %d, %v", in, n, err)
		}
	}
	for in, elements := range map[string][]string{
		"*3\r\n+a\r\n*1\r\n:1\r\n$-1\r\n": {"+a\r\n", "*1\r\n:1\r\n", "$-1\r\n"},
		"%1\r\n+a\r\n:1\r\n":              {"+a\r\n", ":1\r\n"},
		"*0\r\n":                          nil, "*-1\r\n": nil, "~1\r\n_\r\n": {"_\r\n"}, "$4\r\n*1\r\n\r\n": nil, "+a\r\n": nil, "": nil,
	} {
		var got []string
		for e := range resp.Reply(in).Elements() {
			got = append(got, string(e))
		}
		if !slices.Equal(got, elements) || resp.Reply(in).Len() != len(elements) {
			t.Errorf("%q: %d elements, %q", in, resp.Reply(in).Len(), got)
		}
	}
}

// What a client writes, a server reads.
func TestWriteCommand(t *testing.T) {
	args := [][]byte{[]byte("SET"), {}, bytes.Repeat([]byte("\r\n*$"), 10_000), []byte("k")}
	for size := range 40 { // of the buffer, so that each place is once at its end
		var b bytes.Buffer
		w := bufio.NewWriterSize(&b, 16+size)
		resp.WriteCommand(w, args)
		w.Flush()
		p := resp.Parser{Lim: &resp.Normal}
		if n, _, err := p.Next(b.Bytes()); n != b.Len() || err != nil || !slices.EqualFunc(p.Args, args, bytes.Equal) {
			t.Fatalf("read %d of %d bytes, %v", n, b.Len(), err)
		}
	}
}

// The ways to read a reply agree, whatever the bytes are, and what was found can be taken apart.
func FuzzReply(f *testing.F) {
	f.Add([]byte("*2\r\n$1\r\na\r\n%1\r\n+a\r\n:1\r\n-ERR\r\n"))
	f.Add([]byte(">1\r\n+x\r\n|1\r\n+a\r\n_\r\n$-1\r\n"))
	f.Add([]byte("*536870912\r\n$99999999999999999999\r\n"))
	f.Add([]byte("+a line that is longer than the smallest buffer\r\n"))
	f.Fuzz(func(t *testing.T, in []byte) {
		if len(in) > 1<<12 {
			return
		}
		got, err := read(bytes.NewReader(in), 4096, false)
		for _, size := range []int{16, 17, 64} {
			again, err2 := read(iotest.HalfReader(bytes.NewReader(in)), size, size == 17)
			if (err2 != nil) != (err != nil) || err == nil && !bytes.Equal(again, got) {
				t.Fatalf("%q: %q, %v, with a buffer of %d bytes %q, %v", in, got, err, size, again, err2)
			}
		}
		if err != nil {
			return
		}
		if in[0] != '>' && !bytes.HasPrefix(in, got) {
			t.Fatalf("%q: got %q", in, got)
		}
		r, rest, err := resp.Cut(append(got, "more"...))
		if !bytes.Equal(r, got) || string(rest) != "more" || err != nil {
			t.Fatalf("%q was cut to %q, %q, %v", got, r, rest, err)
		}
		n, all := 0, []byte(nil)
		for e := range r.Elements() {
			n, all = n+1, append(all, e...)
			e.Text()
		}
		if n != r.Len() || n > 0 && !bytes.Equal(all, r.Body()) {
			t.Fatalf("%q has %d elements of %d, %q", got, n, r.Len(), all)
		}
		r.Text()
		_, _ = r.Int()
		if _, _, err := resp.Cut(r[:len(r)-1]); err == nil {
			t.Fatalf("%q without its last byte is a reply", r)
		}
	})
}

func BenchmarkReadReply(b *testing.B) {
	for name, reply := range map[string]string{"status": "+OK\r\n", "string": "$100\r\n" + strings.Repeat("x", 100) + "\r\n", "array": "*100\r\n" + strings.Repeat("$10\r\n0123456789\r\n", 100)} {
		b.Run(name, func(b *testing.B) {
			src := strings.NewReader(reply)
			in := bufio.NewReaderSize(src, 16<<10)
			var out []byte
			b.ReportAllocs()
			for b.Loop() {
				src.Reset(reply)
				in.Reset(src)
				var err error
				if out, err = resp.ReadReply(in, out[:0], nil, nil); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
