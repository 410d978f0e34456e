package resp

import "strconv"

// AppendSimple appends a status such as OK. Line ends in s become spaces.
func AppendSimple(b []byte, s string) []byte { return appendLine(append(b, '+'), s) }

// AppendError appends an error; msg begins with its code, as in "ERR no such key". Line ends become spaces.
func AppendError(b []byte, msg string) []byte { return appendLine(append(b, '-'), msg) }

// AppendInt appends an integer.
func AppendInt(b []byte, n int64) []byte {
	return append(strconv.AppendInt(append(b, ':'), n, 10), '\r', '\n')
}

// AppendBulk appends a string of any bytes.
func AppendBulk(b, v []byte) []byte {
	return append(append(appendCount(b, '$', len(v)), v...), '\r', '\n')
}

// AppendBulkString is AppendBulk for a string.
func AppendBulkString(b []byte, v string) []byte {
	return append(append(appendCount(b, '$', len(v)), v...), '\r', '\n')
}

// AppendNull appends the absent value of protocol 2 or 3.
func AppendNull(b []byte, proto int) []byte {
	if proto == 3 {
		return append(b, "_\r\n"...)
	}
	return append(b, "$-1\r\n"...)
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

func appendCount(b []byte, kind byte, n int) []byte {
	return append(strconv.AppendInt(append(b, kind), int64(n), 10), '\r', '\n')
}

func appendLine(b []byte, s string) []byte {
	start := len(b)
	b = append(b, s...)
	for i, ch := range b[start:] {
		if ch == '\r' || ch == '\n' {
			b[start+i] = ' '
		}
	}
	return append(b, '\r', '\n')
}
