package resp

import (
	"math"
	"strconv"
)

// AppendSimple appends a status such as OK. Line ends in s become spaces.
func AppendSimple(b []byte, s string) []byte { return appendLine(append(b, '+'), s) }

// AppendError appends an error; msg begins with its code, as in "ERR no such key". Line ends become spaces.
func AppendError(b []byte, msg string) []byte { return appendLine(append(b, '-'), msg) }

// AppendInt appends an integer.
func AppendInt(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, ':'), n, 10), crlf...)
}

// AppendBulk appends a string of any bytes.
func AppendBulk(b, v []byte) []byte {
	return append(append(AppendBulkHeader(b, len(v)), v...), crlf...)
}

// AppendBulkHeader appends what precedes a string of n bytes. The bytes and AppendBulkEnd must follow.
func AppendBulkHeader(b []byte, n int) []byte { return appendCount(b, '$', n) }

// AppendBulkEnd appends what follows the bytes of a string.
func AppendBulkEnd(b []byte) []byte { return append(b, crlf...) }

// AppendBulkString is AppendBulk for a string.
func AppendBulkString(b []byte, v string) []byte {
	return append(append(AppendBulkHeader(b, len(v)), v...), crlf...)
}

// AppendNull appends the absent value of protocol 2 or 3.
func AppendNull(b []byte, proto int) []byte {
	if proto == 3 {
		return append(b, "_"+crlf...)
	}
	return append(b, "$-1"+crlf...)
}

// AppendArray appends the header of an array; its n elements must follow.
func AppendArray(b []byte, n int) []byte { return appendCount(b, '*', n) }

// AppendMap appends the header of a map; n pairs must follow. Protocol 2 has no maps and gets an array of twice as many.
func AppendMap(b []byte, n, proto int) []byte {
	if proto == 3 {
		return appendCount(b, '%', n)
	}
	return appendCount(b, '*', 2*n)
}

// AppendSet appends the header of a set; its n elements must follow. Protocol 2 has no sets and gets an array.
func AppendSet(b []byte, n, proto int) []byte {
	if proto == 3 {
		return appendCount(b, '~', n)
	}
	return appendCount(b, '*', n)
}

// AppendDouble appends a number. Protocol 2 has no doubles and gets its text as a string.
func AppendDouble(b []byte, v float64, proto int) []byte {
	if proto == 3 {
		return append(AppendFloat(append(b, ','), v), crlf...)
	}
	var text [32]byte
	return AppendBulk(b, AppendFloat(text[:0], v))
}

// AppendFloat appends the shortest text that is this number again, as Redis writes scores since 7.2.
func AppendFloat(b []byte, v float64) []byte {
	switch a := math.Abs(v); {
	case math.IsInf(v, 1):
		return append(b, "inf"...)
	case math.IsInf(v, -1):
		return append(b, "-inf"...)
	case a != 0 && (a < 1e-6 || a >= 1e21):
		return strconv.AppendFloat(b, v, 'e', -1, 64)
	}
	return strconv.AppendFloat(b, v, 'f', -1, 64)
}

// AppendNullArray appends the absent array of protocol 2 or 3.
func AppendNullArray(b []byte, proto int) []byte {
	if proto == 3 {
		return append(b, "_"+crlf...)
	}
	return append(b, "*-1"+crlf...)
}

func appendCount(b []byte, kind byte, n int) []byte {
	return append(strconv.AppendInt(append(b, kind), int64(n), 10), crlf...)
}

func appendLine(b []byte, s string) []byte {
	start := len(b)
	b = append(b, s...)
	for i, ch := range b[start:] {
		if ch == '\r' || ch == '\n' {
			b[start+i] = ' '
		}
	}
	return append(b, crlf...)
}
