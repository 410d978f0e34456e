package fleet

import (
	"strconv"

	"github.com/nearside/nearside/internal/tally"
)

// The fields of a minute's hash. A count is a letter. Two neighbouring buckets of a latency are one field, since each field
// costs the server 1 µs: the number of the tier and that of the pair in base 36, so that 00 has the first two buckets of near
// and 21p the last two of the loader. Its number is the first bucket's and, times 2^31, the second's; adding such numbers adds
// both, up to 2^31 reads a minute in one bucket. Fields are short, since a hash of few and short ones is kept in one piece of
// memory (a listpack: at most 128 fields in some configurations, 512 in others).
//
// The letters are for ever: processes of several versions add to one hash. A new Count takes a letter that was never used.
var letters = [tally.Counts]byte{
	tally.Near: 'n', tally.Store: 's', tally.Load: 'l', tally.Stale: 't', tally.Negative: 'a', tally.Error: 'e',
	tally.LoadOK: 'k', tally.LoadNotFound: 'f', tally.LoadError: 'x', tally.LoadTimeout: 'o', tally.Early: 'y',
	tally.CoalescedProcess: 'p', tally.CoalescedFleet: 'q',
	tally.SavedMicros:  'v',
	tally.ByInvalidate: 'i', tally.ByUpdate: 'u', tally.ByMutate: 'm', tally.BySet: 'b', tally.ByPush: 'h', tally.ByLost: 'j',
	tally.BytesRead: 'r', tally.BytesWritten: 'w', tally.Unfilled: 'c', tally.TooLarge: 'g', tally.CodecError: 'd',
	tally.StoreError: 'z', tally.Behind: 'B', tally.Dropped: 'D', tally.Reread: 'R',
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

// encode appends the fields that are not zero, each with its number.
func encode(out []string, t *tally.Tally) []string {
	for c, n := range t.Counts {
		if n != 0 {
			out = append(out, string(rune(letters[c])), strconv.FormatUint(n, 10))
		}
	}
	for tier := range t.Latency {
		for pair := range pairs {
			h := &t.Latency[tier]
			if n := min(h[2*pair], half-1) + min(h[2*pair+1], half-1)*half; n != 0 {
				out = append(out, strconv.Itoa(tier)+strconv.FormatInt(int64(pair), 36), strconv.FormatUint(n, 10))
			}
		}
	}
	return out
}

const (
	pairs = tally.Buckets / 2
	half  = 1 << 31
	most  = 1 << 48 // the largest count that is believed: sums of many do not overflow
)

// decode adds fields and their numbers to a tally. What is none of ours is left out: a field of a later version, or what
// somebody else has written there.
func decode(fields []string, t *tally.Tally) {
	for ; len(fields) >= 2; fields = fields[2:] {
		n, err := strconv.ParseUint(fields[1], 10, 64)
		if err != nil {
			continue
		}
		switch name := fields[0]; {
		case len(name) == 1:
			if c := counted[name[0]]; c >= 0 && n <= most {
				t.Counts[c] += n
			}
		case len(name) >= 2 && len(name) <= 3:
			tier := int(name[0]) - '0'
			pair, err := strconv.ParseUint(name[1:], 36, 16)
			if err == nil && tier >= 0 && tier < int(tally.Tiers) && pair < pairs && n < half*half {
				t.Latency[tier][2*pair] += n % half
				t.Latency[tier][2*pair+1] += n / half
			}
		}
	}
}
