package resp

import (
	"bytes"
	"strings"
)

// maxLine is the length of an inline command, as in Redis.
const maxLine = 64 << 10

// inline reads a command that is a line of words: PING. A load balancer's health check sends one, and so does a person with a terminal.
// It is a subset of what Redis takes: a line with quotes is refused.
//
// A web page can have a browser send such lines in the body of a request. The first line of a request and its headers come before
// the body, and end the connection.
func (p *Parser) inline(b []byte) (n, need int, err error) {
	if !beginsLine(b[0]) {
		return 0, 0, errStart
	}
	most := min(maxLine, p.Lim.Command)
	end := bytes.IndexByte(b[p.line:], '\n')
	if end < 0 {
		if p.line = len(b); p.line > most {
			return 0, 0, errLine
		}
		return 0, len(b) + 1, nil
	}
	end += p.line
	p.line = 0
	p.Args = p.Args[:0]
	line := b[:end]
	if bytes.HasSuffix(line, []byte("\r")) {
		line = line[:end-1]
	}
	if end > most {
		return 0, 0, errLine
	}
	for at := 0; at < len(line); {
		if isBlank(line[at]) {
			at++
			continue
		}
		from := at
		for ; at < len(line) && !isBlank(line[at]); at++ {
			if line[at] == '"' || line[at] == '\'' {
				return 0, 0, errQuotes
			}
		}
		switch {
		case at-from > p.Lim.Bulk:
			return 0, 0, errBulk
		case len(p.Args) == p.Lim.Args:
			return 0, 0, errArgs
		}
		p.Args = append(p.Args, line[from:at:at])
	}
	if ofHTTP(p.Args) {
		return 0, 0, errHTTP
	}
	return end + 1, 0, nil
}

func isBlank(b byte) bool { return b == ' ' || b >= '\t' && b <= '\r' }

// beginsLine reports whether an inline command can begin with this byte, and not another protocol or a broken array.
func beginsLine(b byte) bool {
	return isBlank(b) || b|0x20 >= 'a' && b|0x20 <= 'z' || b == '"' || b == '\''
}

// ofHTTP reports whether a line is the first of an HTTP request (POST / HTTP/1.1) or one of its headers (Host: example.com).
func ofHTTP(args [][]byte) bool {
	if len(args) == 0 {
		return false
	}
	name := string(args[0][:min(len(args[0]), 32)])
	return len(args) == 3 && bytes.HasPrefix(args[2], []byte("HTTP/")) || strings.EqualFold(name, "post") ||
		bytes.HasSuffix(args[0], []byte(":"))
}
