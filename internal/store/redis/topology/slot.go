package topology

import (
	"strconv"
	"strings"
	"sync"
)

// Slots is how many slots a cluster has.
const Slots = 16384

// Slot is the key's slot in a cluster: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model
func Slot(key string) uint16 {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if n := strings.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	return crc(key) % Slots
}

func crc[T string | []byte](text T) (sum uint16) {
	for i := range len(text) {
		sum = sum<<8 ^ crcTable[byte(sum>>8)^text[i]]
	}
	return sum
}

// crcTable is CRC-16/XMODEM of each byte.
var crcTable = func() (t [256]uint16) {
	for i := range t {
		crc := uint16(i) << 8
		for range 8 {
			if crc&0x8000 != 0 {
				crc = crc<<1 ^ 0x1021
			} else {
				crc <<= 1
			}
		}
		t[i] = crc
	}
	return t
}()

// TagOf returns the shortest number, in base 36, that hashes to a slot.
func TagOf(s uint16) string { return tags()[s] }

// Made in 2 ms, and only where a key needs it.
var tags = sync.OnceValue(func() []string {
	out := make([]string, Slots)
	var tag [8]byte
	for n, left := uint64(0), Slots; left > 0; n++ {
		text := strconv.AppendUint(tag[:0], n, 36)
		if s := crc(text) % Slots; out[s] == "" {
			out[s] = string(text)
			left--
		}
	}
	return out
})
