package serve

import (
	"context"
	"errors"
	"sync/atomic"

	"github.com/nearside/nearside/cmd/nearside/internal/resp"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
	"github.com/nearside/nearside/cmd/nearside/internal/upstream"
)

// A read of many keys is done in portions, each of which is sent before the next one is read: so the memory of a reply depends on
// the portion and not on what the client asked for.
//
// A portion has at most so many keys that their values, each as large as the largest that was seen lately, are portionBytes.
// What the portions of all clients may have together is readBytes. Where that is used up a portion is one key, so nothing waits.
const (
	firstKeys    = 128      // of the first portion of a command, whose values may all be larger than those seen lately
	portionKeys  = 256      // of each other one
	portionBytes = 4 << 20  // values of one portion
	readBytes    = 64 << 20 // values of all portions that are being read
	freeBytes    = 64 << 10 // a portion with fewer is not counted
	unknownSize  = 64 << 10 // bytes of a value of a cache that nothing is known about
)

// valueSize is how large the values of a cache are.
type valueSize struct{ bytes atomic.Int64 }

func (s *valueSize) guess() int64 {
	if n := s.bytes.Load(); n > 0 {
		return n
	}
	return unknownSize
}

// saw notes the largest of n values.
func (s *valueSize) saw(largest, n int) {
	switch was, now := s.guess(), int64(largest)+1; {
	case now > was:
		s.bytes.Store(now)
	case n > 0:
		if less := (was - now) * int64(min(n, portionKeys)) / portionKeys; less > 0 {
			s.bytes.Store(was - less)
		}
	}
}

// portion returns how many of the keys are read at once, and how many bytes are taken from h.reading for them.
func (h *Handler) portion(keys [][]byte, most int) (n int, taken int64) {
	n = min(len(keys), most)
	largest := h.others.guess()
	for _, c := range h.service.caches {
		largest = max(largest, c.size.guess())
	}
	if largest*int64(n) > freeBytes {
		for i, key := range keys[:n] {
			one := h.others.guess()
			if c, _ := h.service.find(key); c != nil {
				one = c.size.guess()
			}
			if taken += one; taken > portionBytes && i > 0 {
				taken -= one
				n = i
				break
			}
		}
	}
	if taken > freeBytes && !h.reading.Take(taken) {
		return 1, 0
	}
	if taken <= freeBytes {
		taken = 0
	}
	return n, taken
}

// read calls answer for each key in order, portion by portion, until it returns false.
func (h *Handler) read(ctx context.Context, c *respserver.Conn, keys [][]byte, answer func(a reading) bool) {
	for most := firstKeys; len(keys) > 0; most = portionKeys {
		n, taken := h.portion(keys, most)
		answers, held := h.readPortion(ctx, c, keys[:n])
		if taken != 0 {
			h.reading.Give(taken)
		}
		for _, a := range answers {
			if !answer(a) {
				return
			}
		}
		c.Borrow(-held) // they are sent, or wait in what is counted by itself
		keys = keys[n:]
		for ctx.Err() != nil && len(keys) > 0 && answer(reading{Answer: Answer{Err: ctx.Err()}}) {
			keys = keys[1:] // nothing is read for a connection that is given up
		}
	}
}

// reading is the answer for one key.
type reading struct {
	Answer
	raw resp.Reply // the reply of Redis, for a key of no declared cache; nil: the Answer counts
}

// readPortion reads keys of declared caches and others, at once. It returns how many bytes it has borrowed for the answers.
func (h *Handler) readPortion(ctx context.Context, c *respserver.Conn, keys [][]byte) ([]reading, int64) {
	var held atomic.Int64
	hold := func(n int64) bool { held.Add(n); return c.Borrow(n) }
	out := make([]reading, len(keys))
	var ours, others [][]byte
	var at, otherAt []int
	for i, key := range keys {
		if h.upstream != nil && h.service.foreign(key) {
			others, otherAt = append(others, key), append(otherAt, i)
		} else {
			ours, at = append(ours, key), append(at, i)
		}
	}
	done := make(chan struct{})
	theirs := func() {
		defer close(done)
		replies, err := h.getForeign(ctx, upstream.Client{Proto: c.Proto(), Hold: hold}, others)
		if err != nil {
			h.failed(err)
		}
		largest := 0
		for n, i := range otherAt {
			if err != nil {
				out[i].Err = err
				continue
			}
			out[i].raw, largest = replies[n], max(largest, len(replies[n]))
		}
		h.others.saw(largest, len(others))
	}
	switch {
	case len(others) == 0:
		close(done)
	case len(ours) == 0:
		theirs()
	default:
		go theirs()
	}
	if len(ours) > 0 {
		bytes := 0
		for n, a := range h.service.Get(ctx, ours) {
			out[at[n]].Answer = a
			bytes += len(a.Value)
		}
		if bytes > freeBytes {
			hold(int64(bytes))
		}
	}
	<-done
	return out, held.Load()
}

// mget answers MGET of declared keys, and of others if there are any. An error is that of the command as long as no part of
// the reply was sent, and then stands in the place of its value.
func (h *Handler) mget(ctx context.Context, c *respserver.Conn, out []byte, args [][]byte) []byte {
	keys := args[1:]
	begin, sent := len(out), false
	out = resp.AppendArray(out, len(keys))
	h.read(ctx, c, keys, func(a reading) bool {
		err, before := a.Err, len(out)
		switch {
		case err != nil && !errors.Is(err, errWrongType) && !sent: // an array of values has no place for an error
			out = h.fail(out[:begin], err)
			return false
		case err != nil && !errors.Is(err, errWrongType):
			out = h.fail(out, err)
		case a.raw.IsError(): // GET of a list: MGET shows it as missing
			out = resp.AppendNull(out, c.Proto())
		case a.raw != nil:
			out = append(out, a.raw...)
		default:
			out = appendValue(c, out, a.Value)
		}
		out = c.Flush(out)
		sent = sent || len(out) < before
		return true
	})
	return out
}
