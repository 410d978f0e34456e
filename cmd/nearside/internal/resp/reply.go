package resp

import (
	"bytes"
	"iter"
	"strconv"
)

const (
	crlf      = "\r\n"
	maxLength = 512 << 20 // bytes of a string or elements of an aggregate, as in Redis
	maxDepth  = 64        // of aggregates in aggregates
)

// A ReplyError says why a reply was not read to its end although its connection works.
type ReplyError string

func (e ReplyError) Error() string { return string(e) }

// ErrReply is the error of bytes that are no reply.
const ErrReply = ReplyError("its reply is not of the Redis protocol")

// A Reply is the bytes of one whole reply, as ReadReply or Cut has found it. https://redis.io/docs/latest/develop/reference/protocol-spec/
type Reply []byte

// Cut cuts b after its first reply.
func Cut(b []byte) (r Reply, rest []byte, err error) {
	at := 0
	for left := 1; left > 0; left-- {
		line := b[at : at+bytes.IndexByte(b[at:], '\n')+1]
		size, values, err := head(line)
		if err != nil {
			return nil, nil, err
		}
		if at += len(line); size > 0 {
			if len(b)-at < size || string(b[at+size-2:at+size]) != crlf {
				return nil, nil, ErrReply
			}
			at += size
		}
		left += values
	}
	return b[:at:at], b[at:], nil
}

// head reads the first line of a value. It returns what belongs to the value after that line: the bytes of a string with
// its line end, or the values of an aggregate.
func head(line []byte) (size, values int, err error) {
	if len(line) < 3 || line[len(line)-2] != '\r' {
		return 0, 0, ErrReply
	}
	if isLine(line[0]) {
		return 0, 0, nil
	}
	switch kind := line[0]; kind {
	case '$', '*', '!', '=', '~', '>', '%', '|':
		if (kind == '$' || kind == '*') && string(line[1:]) == "-1"+crlf {
			return 0, 0, nil
		}
		n, next := length(line, 1, maxLength)
		if next != len(line) {
			return 0, 0, ErrReply
		}
		switch kind {
		case '$', '!', '=':
			return n + len(crlf), 0, nil
		case '%':
			n *= 2
		case '|': // attributes stand before their value
			n = 2*n + 1
		}
		return 0, n, nil
	}
	return 0, 0, ErrReply
}

// isLine reports whether a value of a kind is one line: a status, an error, a number, a null or a boolean.
func isLine(kind byte) bool {
	switch kind {
	case '+', '-', ':', '_', ',', '#', '(':
		return true
	}
	return false
}

// Some of what Kind returns.
const (
	Status = '+'
	Array  = '*'
	Set    = '~'
)

// Kind returns the first byte of the reply, and zero if there is no reply.
func (r Reply) Kind() byte {
	if len(r) == 0 {
		return 0
	}
	return r[0]
}

// IsError reports whether the reply is an error.
func (r Reply) IsError() bool { return r.Kind() == '-' || r.Kind() == '!' }

// Text returns what a status, an error, a string or a number says. It is empty for a null and an aggregate.
func (r Reply) Text() []byte {
	line, body, _ := bytes.Cut(r, []byte(crlf))
	switch kind := r.Kind(); {
	case isLine(kind):
		return line[1:]
	case kind == '$', kind == '!', kind == '=':
		return bytes.TrimSuffix(body, []byte(crlf))
	}
	return nil
}

// Int returns an integer. The error is ErrReply if the reply is none.
func (r Reply) Int() (int64, error) {
	n, err := strconv.ParseInt(string(r.Text()), 10, 64)
	if err != nil || r.Kind() != ':' {
		return 0, ErrReply
	}
	return n, nil
}

// Len returns the number of elements of an aggregate. Each pair of a map is two.
func (r Reply) Len() int {
	_, values, _ := head(r[:len(r)-len(r.Body())])
	return values
}

// Body returns the bytes after the first line: the elements of an aggregate.
func (r Reply) Body() []byte {
	_, body, _ := bytes.Cut(r, []byte(crlf))
	return body
}

// Elements returns the elements of an aggregate in order.
func (r Reply) Elements() iter.Seq[Reply] {
	return func(yield func(Reply) bool) {
		rest := r.Body()
		for range r.Len() {
			e, after, err := Cut(rest)
			if err != nil || !yield(e) {
				return
			}
			rest = after
		}
	}
}
