package codec_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/nearside/nearside/codec"
)

var algorithms = map[string]codec.Algorithm{"s2": codec.S2, "zstd": codec.Zstd}

func noise(n int) []byte {
	rng := rand.New(rand.NewPCG(1, 2))
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	return b
}

func TestCompressed(t *testing.T) {
	text := []byte(strings.Repeat("all work and no play makes jack a dull boy; ", 200))
	for name, a := range algorithms {
		c := codec.Compressed(codec.Bytes(), codec.Compression{Algorithm: a})
		for what, v := range map[string][]byte{
			"empty": {}, "small": []byte("ada"), "text": text, "noise": noise(10_000),
			"what looks like s2": append([]byte("\xff\x06\x00\x00S2sTwO"), noise(50)...), "what looks like zstd": append([]byte("\x28\xb5\x2f\xfd"), noise(50)...),
		} {
			stored, err := c.Encode(v)
			if err != nil {
				t.Fatal(name, what, err)
			}
			back, err := c.Decode(stored)
			if err != nil || !bytes.Equal(back, v) {
				t.Errorf("%s, %s: %d bytes came back as %d, %v", name, what, len(v), len(back), err)
			}
			plain := bytes.Equal(stored, v)
			if wanted := what == "text" || strings.HasPrefix(what, "what"); plain == wanted {
				t.Errorf("%s, %s: plain is %v: %d bytes of %d", name, what, plain, len(stored), len(v))
			}
		}
	}
}

// Values of before, and of the other algorithm, are read by either.
func TestCompressedReadsTheOthers(t *testing.T) {
	v := []byte(strings.Repeat("x", 5000))
	for from, a := range algorithms {
		stored, _ := codec.Compressed(codec.Bytes(), codec.Compression{Algorithm: a}).Encode(v)
		for to, b := range algorithms {
			back, err := codec.Compressed(codec.Bytes(), codec.Compression{Algorithm: b}).Decode(stored)
			if err != nil || !bytes.Equal(back, v) {
				t.Errorf("%s does not read %s: %v", to, from, err)
			}
		}
	}
}

// What was stored is what the formats' own tools read.
func TestCompressedIsTheFormat(t *testing.T) {
	v := []byte(strings.Repeat("x", 5000))
	stored, _ := codec.Compressed(codec.Bytes(), codec.Compression{Algorithm: codec.Zstd}).Encode(v)
	d, _ := zstd.NewReader(nil)
	defer d.Close()
	if back, err := d.DecodeAll(stored, nil); err != nil || !bytes.Equal(back, v) {
		t.Error("zstd:", err)
	}
	stored, _ = codec.Compressed(codec.Bytes(), codec.Compression{}).Encode(v)
	var back bytes.Buffer
	if _, err := back.ReadFrom(s2.NewReader(bytes.NewReader(stored))); err != nil || !bytes.Equal(back.Bytes(), v) {
		t.Error("s2:", err)
	}
}

// A small value must not become a large one: 64 MiB of zeros are some kilobytes.
func TestCompressedIsBounded(t *testing.T) {
	bomb := make([]byte, 64<<20)
	for name, a := range algorithms {
		if _, err := codec.Compressed(codec.Bytes(), codec.Compression{Algorithm: a}).Encode(bomb); err == nil {
			t.Errorf("%s: what could not be decoded was encoded", name)
		}
		stored, err := codec.Compressed(codec.Bytes(), codec.Compression{Algorithm: a, MaxDecoded: len(bomb)}).Encode(bomb)
		if err != nil || len(stored) > 4<<20 {
			t.Fatal(name, len(stored), err)
		}
		small := codec.Compressed(codec.Bytes(), codec.Compression{MaxDecoded: 1 << 20})
		if _, err := small.Decode(stored); err == nil {
			t.Errorf("%s: 64 MiB came out of a codec of 1 MiB", name)
		}
		n := testing.Benchmark(func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				small.Decode(stored)
			}
		}).AllocedBytesPerOp()
		if n > 8<<20 {
			t.Errorf("%s: refusing it took %d bytes of memory", name, n)
		}
	}
}

func TestCompressedPassesErrorsOn(t *testing.T) {
	c := codec.Compressed(failing{}, codec.Compression{})
	if _, err := c.Encode(1); !errors.Is(err, errTest) {
		t.Error(err)
	}
	if _, err := c.Decode([]byte("x")); !errors.Is(err, errTest) {
		t.Error(err)
	}
	if _, err := c.Decode([]byte("\x28\xb5\x2f\xfdgarbage")); err == nil || errors.Is(err, errTest) {
		t.Error(err)
	}
}

var errTest = errors.New("as it was told to")

type failing struct{}

func (failing) Encode(int) ([]byte, error) { return nil, errTest }
func (failing) Decode([]byte) (int, error) { return 0, errTest }

func FuzzCompressed(f *testing.F) {
	for _, a := range algorithms {
		stored, _ := codec.Compressed(codec.Bytes(), codec.Compression{Algorithm: a, Above: 1}).Encode([]byte(strings.Repeat("x", 500)))
		f.Add(stored)
	}
	f.Add([]byte("\x28\xb5\x2f\xfd"))
	f.Add([]byte("\xff\x06\x00\x00S2sTwO"))
	c := codec.Compressed(codec.Bytes(), codec.Compression{Above: 10, MaxDecoded: 1 << 20})
	f.Fuzz(func(t *testing.T, data []byte) {
		if v, err := c.Decode(data); err == nil && len(v) > 1<<20 {
			t.Fatal(len(v))
		}
		if len(data) > 1<<20 {
			return
		}
		stored, err := c.Encode(data)
		if err != nil {
			t.Fatal(err)
		}
		if back, err := c.Decode(stored); err != nil || !bytes.Equal(back, data) {
			t.Fatalf("%d bytes came back as %d, %v", len(data), len(back), err)
		}
	})
}

type product struct {
	ID                   int
	Name, Category, Text string
	Price                float64
	Tags                 []string
}

func sample(size int) product {
	words := strings.Fields("lamp desk wooden small large brass light with and for the office kitchen garden sturdy elegant cheap new used signed")
	rng := rand.New(rand.NewPCG(3, 4))
	p := product{ID: 42, Name: "Desk lamp", Category: "light", Price: 19.99, Tags: []string{"lamp", "brass"}}
	var text strings.Builder
	for text.Len() < size {
		fmt.Fprint(&text, words[rng.IntN(len(words))], " ", rng.IntN(1000), " ")
	}
	p.Text = text.String()
	return p
}

func BenchmarkCompressed(b *testing.B) {
	for _, size := range []int{1 << 10, 10 << 10, 100 << 10, 1 << 20} {
		p := sample(size)
		for name, c := range map[string]codec.Codec[product]{
			"json":      codec.JSON[product](),
			"json+s2":   codec.Compressed(codec.JSON[product](), codec.Compression{}),
			"json+zstd": codec.Compressed(codec.JSON[product](), codec.Compression{Algorithm: codec.Zstd}),
		} {
			stored, err := c.Encode(p)
			if err != nil {
				b.Fatal(err)
			}
			b.Run(fmt.Sprintf("decode/%dKiB/%s", size>>10, name), func(b *testing.B) {
				b.ReportAllocs()
				b.ReportMetric(float64(len(stored)), "stored-bytes")
				for b.Loop() {
					if _, err := c.Decode(stored); err != nil {
						b.Fatal(err)
					}
				}
			})
			b.Run(fmt.Sprintf("encode/%dKiB/%s", size>>10, name), func(b *testing.B) {
				b.ReportAllocs()
				for b.Loop() {
					if _, err := c.Encode(p); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// What a compressed value weighs in a process is known without decoding it.
func TestDecodedSize(t *testing.T) {
	for name, a := range algorithms {
		c := codec.Compressed(codec.Bytes(), codec.Compression{Algorithm: a, MaxDecoded: 4 << 20})
		for _, v := range [][]byte{{}, []byte("ada"), noise(10_000), bytes.Repeat([]byte("x"), 200_000), append(noise(200_000), bytes.Repeat([]byte("x"), 3<<20)...)} {
			stored, err := c.Encode(v)
			if err != nil {
				t.Fatal(err)
			}
			if got := c.(interface{ DecodedSize([]byte) int }).DecodedSize(stored); got != len(v) {
				t.Errorf("%s: %d bytes, stored as %d: got %d", name, len(v), len(stored), got)
			}
		}
		for _, bad := range []string{"\xff\x06\x00\x00S2sTwO\x00\x09\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff\x7f", "\x28\xb5\x2f\xfd", "\xff\x06\x00\x00S2sTwO\x00\xff\xff\xff"} {
			if got := c.(interface{ DecodedSize([]byte) int }).DecodedSize([]byte(bad)); got < 0 || got > 4<<20 {
				t.Errorf("%q: got %d", bad, got)
			}
		}
	}
}
