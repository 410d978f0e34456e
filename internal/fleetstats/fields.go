package fleetstats

import (
	"encoding/binary"
	"strconv"

	"github.com/nearside/nearside/internal/tally"
)

// What is counted in a minute is a map in MessagePack, of fields and their numbers. A count is a letter; a bucket of a latency
// is the number of its tier and its own in base 36, so that 00 is the first bucket of near and 23f the last of the loader.
// A zero has no field. The sum of two maps is that of their fields.
//
// It is MessagePack because a report costs mostly time of the server, whose scripts read and write whole maps in C. That takes half
// of what an HINCRBY for each field of a hash takes. JSON takes nearly twice as long, and more memory (docs/benchmarks.md).
//
// A letter never changes its meaning, because processes of several versions add to one map. A new Count takes an unused letter.
var letters = [tally.Counts]byte{
	tally.Near: 'n', tally.Store: 's', tally.Load: 'l', tally.Stale: 't', tally.Negative: 'a', tally.Error: 'e',
	tally.LoadOK: 'k', tally.LoadNotFound: 'f', tally.LoadError: 'x', tally.LoadTimeout: 'o', tally.Early: 'y',
	tally.CoalescedProcess: 'p', tally.CoalescedFleet: 'q',
	tally.SavedMicros:  'v',
	tally.ByInvalidate: 'i', tally.ByUpdate: 'u', tally.ByMutate: 'm', tally.BySet: 'b', tally.ByPush: 'h', tally.ByLost: 'j',
	tally.BytesRead: 'r', tally.BytesWritten: 'w', tally.Unfilled: 'c', tally.TooLarge: 'g', tally.CodecError: 'd',
	tally.StoreError: 'z', tally.Deferred: 'B', tally.Dropped: 'D', tally.Reread: 'R', tally.InDoubt: 'I',
}

var counted = func() (of [256]int) {
	for i := range of {
		of[i] = -1
	}
	for c, letter := range letters {
		of[letter] = c
	}
	return of
}()

// maxCount is the largest number that is accepted: sums of many do not overflow, and Lua's numbers hold them.
const maxCount = 1 << 48

// encode returns the fields that are not zero, and "" if there are none.
func encode(t *tally.Tally) string {
	out := []byte{0xde, 0, 0} // a map, how many fields follow
	fields := uint16(0)
	put := func(field string, n uint64) {
		if n == 0 {
			return
		}
		fields++
		out = append(out, 0xa0|byte(len(field)))
		out = append(out, field...)
		switch {
		case n < 1<<7:
			out = append(out, byte(n))
		case n < 1<<8:
			out = append(out, 0xcc, byte(n))
		case n < 1<<16:
			out = binary.BigEndian.AppendUint16(append(out, 0xcd), uint16(n))
		case n < 1<<32:
			out = binary.BigEndian.AppendUint32(append(out, 0xce), uint32(n))
		default:
			out = binary.BigEndian.AppendUint64(append(out, 0xcf), n)
		}
	}
	for c, n := range t.Counts {
		put(string(rune(letters[c])), n)
	}
	for tier := range t.Latency {
		for b, n := range t.Latency[tier] {
			if n != 0 {
				put(strconv.Itoa(tier)+strconv.FormatInt(int64(b), 36), n)
			}
		}
	}
	if fields == 0 {
		return ""
	}
	binary.BigEndian.PutUint16(out[1:], fields)
	return string(out)
}

// decode adds a map to a tally. It ignores fields that it does not know, which a later version may have written. It stops at
// anything but a short text and a number, which another program has written.
func decode(text string, t *tally.Tally) {
	p := packed(text)
	n, ok := p.fields()
	for ; ok && n > 0; n-- {
		var field string
		var number uint64
		if field, ok = p.field(); !ok {
			return
		}
		if number, ok = p.number(); !ok {
			return
		}
		switch {
		case number > maxCount:
		case len(field) == 1:
			if c := counted[field[0]]; c >= 0 {
				t.Counts[c] += number
			}
		case len(field) >= 2 && len(field) <= 3:
			tier := int(field[0]) - '0'
			b, err := strconv.ParseUint(field[1:], 36, 16)
			if err == nil && tier >= 0 && tier < int(tally.Tiers) && b < tally.Buckets {
				t.Latency[tier][b] += number
			}
		}
	}
}

// packed is the rest of a text that is decoded. Its methods take something from its start; ok is false if that is not there.
type packed string

func (p *packed) fields() (n int, ok bool) {
	switch kind, ok := p.take(1); {
	case !ok:
		return 0, false
	case kind&0xf0 == 0x80:
		return int(kind & 0x0f), true
	case kind == 0xde:
		n, ok := p.take(2)
		return int(n), ok
	}
	return 0, false
}

func (p *packed) field() (text string, ok bool) {
	kind, ok := p.take(1)
	n := int(kind & 0x1f)
	if !ok || kind&0xe0 != 0xa0 || len(*p) < n {
		return "", false
	}
	text = string((*p)[:n])
	*p = (*p)[n:]
	return text, true
}

func (p *packed) number() (n uint64, ok bool) {
	switch kind, ok := p.take(1); {
	case !ok:
		return 0, false
	case kind < 0x80:
		return kind, true
	case kind >= 0xcc && kind <= 0xcf:
		return p.take(1 << (kind - 0xcc))
	}
	return 0, false
}

// take takes n bytes as one number.
func (p *packed) take(n int) (number uint64, ok bool) {
	if len(*p) < n {
		return 0, false
	}
	for i := range n {
		number = number<<8 | uint64((*p)[i])
	}
	*p = (*p)[n:]
	return number, true
}
