package codec

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/s2"
	"github.com/klauspost/compress/zstd"

	"github.com/nearside/nearside/internal/setting"
)

// Algorithm is a way to compress.
type Algorithm int

const (
	S2   Algorithm = iota // faster than the network: https://pkg.go.dev/github.com/klauspost/compress/s2
	Zstd                  // smaller, at several times the cost: https://datatracker.ietf.org/doc/html/rfc8878
)

// Compression says what is compressed, and how. The zero value is S2 above 1 KiB.
type Compression struct {
	Algorithm Algorithm
	Above     int // bytes: smaller values stay as they are. 1 KiB if zero
	// MaxDecoded is how large in bytes a value may become when it is decoded; a larger one is an error, before the memory is
	// taken. 16 MiB if zero.
	MaxDecoded int
}

// Compressed returns a codec whose larger values are compressed, where that makes them a tenth smaller at least. In Redis they
// begin with the magic number of their format, as a file of it does, so that zstd -d or s2d reads them; both are decoded
// whatever Algorithm says, and so are values that were stored before compression was switched on. docs/benchmarks.md has
// where it pays.
//
// The layer's own bounds (Config.MaxValue, NearBytes) count bytes as they are stored. It panics if a setting is negative.
func Compressed[V any](inner Codec[V], c Compression) Codec[V] {
	var check setting.Check
	setting.Default(&check, "Compression.Above", &c.Above, 1<<10)
	setting.Default(&check, "Compression.MaxDecoded", &c.MaxDecoded, 16<<20)
	if check.Err != nil {
		panic("codec.Compressed: " + check.Err.Error())
	}
	// Its errors are about options; each decoder takes a few hundred bytes until it is used.
	decoder, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(0), zstd.WithDecoderMaxMemory(uint64(c.MaxDecoded)))
	if err != nil {
		panic("codec: " + err.Error())
	}
	encoder, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedDefault), zstd.WithWindowSize(1<<20))
	if err != nil {
		panic("codec: " + err.Error())
	}
	return &compressed[V]{inner, c, encoder, decoder}
}

type compressed[V any] struct {
	inner Codec[V]
	Compression
	encoder *zstd.Encoder
	decoder *zstd.Decoder
}

// The magic numbers of the formats.
var (
	s2Magic   = []byte("\xff\x06\x00\x00S2sTwO")
	zstdMagic = []byte("\x28\xb5\x2f\xfd")
)

func marked(data []byte) bool {
	return bytes.HasPrefix(data, s2Magic) || bytes.HasPrefix(data, zstdMagic)
}

func (c *compressed[V]) Encode(v V) ([]byte, error) {
	data, err := c.inner.Encode(v)
	if err != nil {
		return nil, err
	}
	if len(data) > c.MaxDecoded {
		return nil, fmt.Errorf("compress: %d bytes are more than MaxDecoded, %d, so that nobody could read them", len(data), c.MaxDecoded)
	}
	looks := marked(data) // it would be taken for compressed
	if len(data) <= c.Above && !looks {
		return data, nil
	}
	var small []byte
	switch c.Algorithm {
	case Zstd:
		small = c.encoder.EncodeAll(data, make([]byte, 0, len(data)/2))
	case S2:
		if small, err = s2Encode(data); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("compress: unknown algorithm %d", c.Algorithm)
	}
	if len(small) > len(data)-len(data)/10 && !looks {
		return data, nil
	}
	return small, nil
}

func (c *compressed[V]) Decode(data []byte) (v V, err error) {
	switch {
	case bytes.HasPrefix(data, zstdMagic):
		data, err = c.decoder.DecodeAll(data, nil)
	case bytes.HasPrefix(data, s2Magic):
		data, err = s2Decode(data, c.MaxDecoded)
	}
	if err == nil && len(data) > c.MaxDecoded {
		err = fmt.Errorf("%d bytes are more than %d", len(data), c.MaxDecoded)
	}
	if err != nil {
		return v, fmt.Errorf("decompress: %w", err)
	}
	return c.inner.Decode(data)
}

var (
	s2Writers = sync.Pool{New: func() any { return s2.NewWriter(nil, s2.WriterConcurrency(1), s2.WriterBlockSize(64<<10)) }}
	s2Readers = sync.Pool{New: func() any { return s2.NewReader(nil, s2.ReaderMaxBlockSize(1<<20)) }}
)

func s2Encode(data []byte) ([]byte, error) {
	out := bytes.NewBuffer(make([]byte, 0, len(data)/2))
	w := s2Writers.Get().(*s2.Writer)
	defer s2Writers.Put(w)
	w.Reset(out)
	if _, err := w.Write(data); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress: %w", err)
	}
	return out.Bytes(), nil
}

func s2Decode(data []byte, most int) ([]byte, error) {
	r := s2Readers.Get().(*s2.Reader)
	defer s2Readers.Put(r)
	r.Reset(bytes.NewReader(data))
	var out bytes.Buffer
	out.Grow(min(4*len(data), most))
	_, err := io.Copy(&out, io.LimitReader(r, int64(most)+1))
	return out.Bytes(), err
}

// DecodedSize returns how many bytes a value has that Encode has compressed, by what its format says, and at most MaxDecoded. A
// cache weighs its near values by it.
func (c *compressed[V]) DecodedSize(data []byte) int {
	n := uint64(len(data))
	switch {
	case bytes.HasPrefix(data, zstdMagic):
		var h zstd.Header
		if h.Decode(data) == nil && h.HasFCS {
			n = h.FrameContentSize
		}
	case bytes.HasPrefix(data, s2Magic):
		n = s2Size(data)
	}
	return int(min(n, uint64(c.MaxDecoded)))
}

// s2Size adds up what the chunks of a stream say. https://github.com/google/snappy/blob/main/framing_format.txt
func s2Size(data []byte) (n uint64) {
	for len(data) >= 4 {
		kind, size := data[0], int(data[1])|int(data[2])<<8|int(data[3])<<16
		if data = data[4:]; size > len(data) {
			break
		}
		const sum = 4 // bytes in front of the block
		switch chunk := data[:size]; {
		case size < sum:
		case kind == 0: // compressed
			length, _ := binary.Uvarint(chunk[sum:])
			n += length
		case kind == 1:
			n += uint64(size - sum)
		}
		data = data[size:]
	}
	return n
}
