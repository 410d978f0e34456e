// Package codec turns values into the bytes that stand in Redis, and back.
//
// The bytes are all that stands there: no header, no envelope. So GET in redis-cli shows what a codec wrote, and
// programs in other languages may read and write the same keys.
package codec

// Codec encodes and decodes values of one type. It must be safe for concurrent use. Decode must not keep data, which is
// shared, nor modify it; bytes that it refuses count as a miss and are loaded again. What Encode returns belongs to the cache, which
// may keep it: Encode must not use it again, so no buffer of a pool.
//
// Get returns the loader's own value at first, and later what Decode has made of it. Both should be the same: see JSON.
type Codec[V any] interface {
	Encode(v V) ([]byte, error)
	Decode(data []byte) (V, error)
}

// Bytes returns the codec that stores bytes as they are, the default for []byte. Get then returns the stored bytes
// themselves: they are shared and must not be modified, and neither must those that a loader or a caller of Set has handed over.
func Bytes() Codec[[]byte] { return bytesCodec{} }

type bytesCodec struct{}

func (bytesCodec) Encode(v []byte) ([]byte, error)    { return v, nil }
func (bytesCodec) Decode(data []byte) ([]byte, error) { return data, nil }
