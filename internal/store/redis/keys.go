package redis

import (
	"strconv"
	"strings"
	"sync"

	"github.com/nearside/nearside/internal/store"
)

// Every key that this store writes:
//
//	user:42          string   the value: what the application's codec wrote, and nothing else
//	{user:42}:~l     string   its sidecar: what goes on with the key (package store); only while something does
//
// A sidecar must be in the slot of its key, since scripts and one MULTI may only touch one slot. A key whose braces
// choose its slot keeps them; any other is put into braces as a whole; where that cannot be, because the key is empty or
// has a brace of its own, a short string that hashes to the slot stands in the braces.
func sidecar(key string) string {
	open := strings.IndexByte(key, '{')
	if open >= 0 {
		n := strings.IndexByte(key[open+1:], '}')
		whole := open == 0 && n == len(key)-2 // {u}: its braces and a suffix are the sidecar of u
		if n > 0 && !whole {
			return key + ":~l"
		}
	}
	if key != "" && !strings.Contains(key, "}") {
		return "{" + key + "}:~l"
	}
	return "~l:{" + tagOf(Slot(key)) + "}:" + key
}

// keyOf returns the key of a sidecar. False: the name is none of a sidecar's.
func keyOf(name string) (key string, ok bool) {
	var forms []string
	if base, found := strings.CutSuffix(name, ":~l"); found {
		forms = append(forms, base)
		if n := len(base); n >= 2 {
			forms = append(forms, base[1:n-1])
		}
	}
	if rest, found := strings.CutPrefix(name, "~l:{"); found {
		_, key, _ := strings.Cut(rest, "}:")
		forms = append(forms, key)
	}
	for _, key := range forms {
		if sidecar(key) == name && store.CheckKey(key) == nil {
			return key, true
		}
	}
	return "", false
}

const slots = 16384

// Slot is the key's slot in a cluster: https://redis.io/docs/latest/operate/oss_and_stack/reference/cluster-spec/#key-distribution-model
func Slot(key string) uint16 {
	if open := strings.IndexByte(key, '{'); open >= 0 {
		if n := strings.IndexByte(key[open+1:], '}'); n > 0 {
			key = key[open+1 : open+1+n]
		}
	}
	crc := uint16(0)
	for i := range len(key) {
		crc = crc<<8 ^ crcTable[byte(crc>>8)^key[i]]
	}
	return crc % slots
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

// tagOf returns the shortest number, in base 36, that hashes to a slot.
func tagOf(s uint16) string { return tags()[s] }

var tags = sync.OnceValue(func() []string {
	out := make([]string, slots)
	for n, left := uint64(0), slots; left > 0; n++ {
		tag := strconv.FormatUint(n, 36)
		if s := Slot(tag); out[s] == "" {
			out[s] = tag
			left--
		}
	}
	return out
})
