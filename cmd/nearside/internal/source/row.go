package source

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// kind is what a column's declared type asks for beyond what its values say.
type kind int

const (
	plain kind = iota
	boolean
	date      // YYYY-MM-DD
	timestamp // with a zone: RFC 3339 in UTC; without: as it is
	document  // JSON
)

// column is how one column becomes a member of an object.
type column struct {
	name string
	head []byte // ,"name":
	kind kind

	expects string // what a value to be written must be; empty: anything
}

func newColumn(name, declared string) column {
	head, _ := json.Marshal(name)
	c := column{name: name, head: append(append([]byte{','}, head...), ':')}
	switch t := strings.ToUpper(declared); {
	case t == "JSON", t == "JSONB":
		c.kind = document
	case strings.Contains(t, "INT"), strings.Contains(t, "REAL"), strings.Contains(t, "FLOA"), strings.Contains(t, "DOUB"),
		strings.Contains(t, "NUMERIC"), strings.Contains(t, "DECIMAL"):
		c.expects = "a number"
	case strings.Contains(t, "CHAR"), strings.Contains(t, "TEXT"), strings.Contains(t, "CLOB"):
		c.expects = "a string"
	case t == "BLOB":
		c.expects = "base64"
	case strings.HasPrefix(t, "BOOL"):
		c.kind, c.expects = boolean, "a boolean"
	case t == "DATE":
		c.kind, c.expects = date, "a string"
	case strings.HasPrefix(t, "DATETIME"), strings.HasPrefix(t, "TIMESTAMP"):
		c.kind, c.expects = timestamp, "a string"
	}
	return c
}

// append writes a value as JSON.
func (c *column) append(out []byte, v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case int64:
		if c.kind == boolean {
			return strconv.AppendBool(out, v != 0), nil
		}
		return strconv.AppendInt(out, v, 10), nil
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return out, fmt.Errorf("%v has no form in JSON: select NULL in its place", v)
		}
		// The shortest decimal that is this number again; an exponent only where the digits would be endless.
		format := byte('f')
		if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
			format = 'e'
		}
		return strconv.AppendFloat(out, v, format, -1, 64), nil
	case bool:
		return strconv.AppendBool(out, v), nil
	case string:
		switch c.kind {
		case document:
			return appendDocument(out, []byte(v))
		case timestamp:
			v = inUTC(v)
		case date:
			v = day(v)
		}
		return appendText(out, v)
	case []byte:
		if c.kind == document {
			return appendDocument(out, v)
		}
		out = append(out, '"')
		out = base64.StdEncoding.AppendEncode(out, v)
		return append(out, '"'), nil
	}
	return out, fmt.Errorf("a value of type %T has no form in JSON", v)
}

// inUTC writes a timestamp with a zone as RFC 3339 in UTC, and leaves one without as it is.
func inUTC(text string) string {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04Z07:00"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}
	return text
}

// day cuts the time off a date that was stored with one.
func day(text string) string {
	if len(text) > len(time.DateOnly) {
		if _, err := time.Parse(time.DateOnly, text[:len(time.DateOnly)]); err == nil {
			return text[:len(time.DateOnly)]
		}
	}
	return text
}

func appendDocument(out, doc []byte) ([]byte, error) {
	if !json.Valid(doc) {
		return out, errors.New("it is declared as JSON, and its text is not")
	}
	return append(out, doc...), nil
}

const hexDigits = "0123456789abcdef"

// appendText writes a JSON string. Only what JSON demands is escaped.
func appendText(out []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return out, errors.New("its text is not valid UTF-8: select it as a BLOB")
	}
	out = append(out, '"')
	start := 0
	for i := range len(s) {
		b := s[i]
		if b >= ' ' && b != '"' && b != '\\' {
			continue
		}
		out = append(out, s[start:i]...)
		switch b {
		case '"', '\\':
			out = append(out, '\\', b)
		case '\n':
			out = append(out, '\\', 'n')
		case '\r':
			out = append(out, '\\', 'r')
		case '\t':
			out = append(out, '\\', 't')
		default:
			out = append(out, '\\', 'u', '0', '0', hexDigits[b>>4], hexDigits[b&15])
		}
		start = i + 1
	}
	return append(append(out, s[start:]...), '"'), nil
}
