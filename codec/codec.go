// Package codec turns values into the bytes that stand in Redis, and back.
//
// The bytes are all that stands there: no header, no envelope. So GET in redis-cli shows what a codec wrote, and
// programs in other languages may read and write the same keys.
package codec

// Codec encodes and decodes values of one type. It must be safe for concurrent use. Decode must not keep data, which is
// shared, nor modify it; bytes that it refuses count as a miss and are loaded again.
type Codec[V any] interface {
	Encode(v V) ([]byte, error)
	Decode(data []byte) (V, error)
}

// Bytes returns the codec that stores bytes as they are, the default for []byte. Get then returns the stored bytes
// themselves: they are shared and must not be modified.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Encode(v []byte) ([]byte, error)    { return v, nil }
func (bytesCodec) Decode(data []byte) ([]byte, error) { return data, nil }
