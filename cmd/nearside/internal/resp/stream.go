package resp

import (
	"bufio"
	"errors"
	"io"
	"slices"
)

const (
	pieceSize = 64 << 10 // bytes of a reply that are read at once
	maxReply  = 64 << 20 // bytes of a reply that is collected
)

// The errors of ReadReply, besides ErrReply and those of the connection.
const (
	ErrTooLarge = ReplyError("its reply is larger than 64 MiB")
	ErrNoMemory = ReplyError("the memory for replies is used up")
)

// ReadReply appends the next reply of a server to out, byte for byte. It drops what the server pushes by itself.
//
// Parts of a large reply go to take as they are read, and what is returned is its end; take may be nil, and then the reply is
// collected up to 64 MiB. A part is valid until take returns. hold counts the bytes that are collected, and returns false if
// there is no memory for them; it may be nil.
func ReadReply(in *bufio.Reader, out []byte, take func(part []byte), hold func(n int64) bool) ([]byte, error) {
	for {
		first, err := in.Peek(1)
		if err != nil {
			return out, err
		}
		v := reading{in: in, take: take, hold: hold, begin: len(out)}
		pushed := first[0] == '>'
		if pushed {
			v.take = nil
		}
		if out, err = v.value(out, 0); err != nil || !pushed {
			return out, err
		}
		out = out[:v.begin]
	}
}

// reading is one call of ReadReply.
type reading struct {
	in    *bufio.Reader
	take  func(part []byte)
	hold  func(n int64) bool
	begin int // where this reply begins in what is collected
}

// value appends a value with all that it contains.
func (v *reading) value(out []byte, depth int) ([]byte, error) {
	line, err := v.in.ReadSlice('\n')
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		return v.long(out, line)
	case err != nil:
		return out, err
	case depth > maxDepth:
		return out, ErrReply
	}
	size, values, err := head(line)
	if err != nil {
		return out, err
	}
	if out, err = v.grown(append(out, line...), len(line)); err != nil {
		return out, err
	}
	if v.take == nil && len(out)-v.begin+size > maxReply {
		return out, ErrTooLarge
	}
	for size > 0 {
		n, at := min(size, pieceSize), len(out)
		out = slices.Grow(out, n)[:at+n] // as bytes arrive, whatever was announced
		if _, err := io.ReadFull(v.in, out[at:]); err != nil {
			return out, err
		}
		if size -= n; size == 0 && string(out[len(out)-2:]) != crlf {
			return out, ErrReply
		}
		if out, err = v.grown(out, n); err != nil {
			return out, err
		}
	}
	for range values {
		if out, err = v.value(out, depth+1); err != nil {
			return out, err
		}
	}
	return out, nil
}

// long appends a line that is longer than the buffer, of which part is the beginning.
func (v *reading) long(out, part []byte) ([]byte, error) {
	if !isLine(part[0]) {
		return out, ErrReply
	}
	var last byte // the one before the last of part
	for {
		n := len(part)
		if n > 1 {
			last = part[n-2]
		}
		ended := part[n-1] == '\n'
		if ended && last != '\r' {
			return out, ErrReply
		}
		last = part[n-1]
		var err error
		if out, err = v.grown(append(out, part...), n); err != nil || ended {
			return out, err
		}
		if part, err = v.in.ReadSlice('\n'); err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return out, err
		}
	}
}

// grown gives what is collected of this reply to take if it is a large part, or counts the n bytes that were added.
func (v *reading) grown(out []byte, n int) ([]byte, error) {
	switch size := len(out) - v.begin; {
	case v.take != nil && size >= pieceSize:
		v.take(out[v.begin:])
		return out[:v.begin], nil
	case v.take != nil:
		return out, nil
	case size > maxReply:
		return out, ErrTooLarge
	}
	if v.hold != nil && !v.hold(int64(n)) {
		return out, ErrNoMemory
	}
	return out, nil
}
