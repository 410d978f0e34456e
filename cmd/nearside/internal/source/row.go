package source

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// kind is what a column holds, as far as its type says.
type kind int

const (
	anything kind = iota // the value says what it is
	number               // exact, whatever its digits
	float32s
	float64s
	boolean
	flag // a boolean that is stored as the number 0 or 1
	text
	binary   // base64
	hexed    // bytes that the database writes as \x and hexadecimal digits; base64
	date     // YYYY-MM-DD
	moment   // a timestamp: with a zone RFC 3339 in UTC, without one as it is
	instant  // a timestamp in UTC whose text does not say so
	document // JSON
	array    // of elements
)

const textKind = text // the name is also that of parameters

// expects is what a value that is written to a column must be; empty: anything.
func (k kind) expects() string {
	switch k {
	case number, float32s, float64s:
		return "a number"
	case boolean, flag:
		return "a boolean"
	case text, date, moment, instant:
		return "a string"
	case binary, hexed:
		return "a string of base64"
	case array:
		return "an array"
	}
	return ""
}

// column is how one column becomes a member of an object.
type column struct {
	name string
	head []byte // ,"name":
	kind kind
	elem kind // of an array

	delim byte   // between the elements of an array
	oid   uint32 // of PostgreSQL

	whole   bool // a number without a fraction: what it is written with must have none, since MySQL would round it
	integer bool // a whole number that is found by its JSON form alone; whole, but no YEAR, where 24 finds 2024
	rounds  bool // a float, which keeps what is nearest to the number that is written
	bytes   bool // a text that is found by its own bytes alone, whatever its collation
}

func newColumn(name string, k kind) column {
	head, _ := json.Marshal(name)
	return column{name: name, head: append(append([]byte{','}, head...), ':'), kind: k}
}

// append writes a value as JSON.
func (c *column) append(out []byte, v any) ([]byte, error) { return c.write(out, v, appendText) }

// plain writes a value as append does, and text without its quotes and escapes: as it stands in a collection.
func (c *column) plain(out []byte, v any) ([]byte, error) { return c.write(out, v, appendPlain) }

// write writes a value, and what is a string by way of text.
func (c *column) write(out []byte, v any, text func([]byte, string) ([]byte, error)) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return append(out, "null"...), nil
	case int64:
		switch {
		case c.kind == flag && (v == 0 || v == 1):
			return strconv.AppendBool(out, v == 1), nil
		case c.kind == flag:
			return out, c.noBoolean(v)
		}
		return strconv.AppendInt(out, v, 10), nil
	case uint64:
		return strconv.AppendUint(out, v, 10), nil
	case float64:
		if c.kind == flag {
			return out, c.noBoolean(v)
		}
		return appendFloat(out, v, 64)
	case float32:
		return appendFloat(out, float64(v), 32)
	case bool:
		return strconv.AppendBool(out, v), nil
	case string:
		return c.writeString(out, v, text)
	case []byte:
		switch c.kind {
		case document:
			return c.writeString(out, string(v), text)
		case textKind: // of SQLite, which stores anything anywhere: written back, the base64 would be another value
			return out, fmt.Errorf("it holds bytes, and its column is declared as text: select CAST(%s AS BLOB) AS %s", c.name, c.name)
		}
		return text(out, base64.StdEncoding.EncodeToString(v))
	}
	return out, fmt.Errorf("a value of type %T has no form in JSON", v)
}

// noBoolean is the error of a number in a column of booleans. As true it would be written back as 1.
func (c *column) noBoolean(v any) error {
	return fmt.Errorf("%v is neither 0 nor 1, and its column is declared as a boolean (BOOLEAN, TINYINT(1)): select it as a number, %s + 0 AS %s", v, c.name, c.name)
}

func appendFloat(out []byte, v float64, bits int) ([]byte, error) {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return out, noNumber(v)
	}
	// The shortest decimal that is this number again; an exponent only where the digits would be endless.
	format := byte('f')
	if a := math.Abs(v); a != 0 && (a < 1e-6 || a >= 1e21) {
		format = 'e'
	}
	return strconv.AppendFloat(out, v, format, -1, bits), nil
}

func noNumber(v any) error {
	return fmt.Errorf("%v has no form in JSON: select NULL in its place", v)
}

// writeString writes what the database gives as text, by what it stands for.
func (c *column) writeString(out []byte, v string, text func([]byte, string) ([]byte, error)) ([]byte, error) {
	switch c.kind {
	case float32s, float64s:
		bits := 64
		if c.kind == float32s {
			bits = 32
		}
		if f, err := strconv.ParseFloat(v, bits); err == nil {
			return appendFloat(out, f, bits)
		}
	case array:
		return c.appendArray(out, v)
	case hexed:
		digits, ok := strings.CutPrefix(v, `\x`)
		data, err := hex.DecodeString(digits)
		if err != nil || !ok {
			return out, errors.New("its bytes are not in hexadecimal digits: bytea_output is another one")
		}
		return text(out, base64.StdEncoding.EncodeToString(data))
	case binary: // of SQLite, as above
		return out, fmt.Errorf("it holds text, and its column is declared as bytes: select CAST(%s AS TEXT) AS %s", c.name, c.name)
	case number:
		if isNumber(v) {
			return append(out, v...), nil
		}
		if strings.Contains(v, "NaN") || strings.Contains(v, "Infinity") {
			return out, noNumber(v)
		}
	case boolean:
		switch v {
		case "t", "true":
			return append(out, "true"...), nil
		case "f", "false":
			return append(out, "false"...), nil
		}
	case document:
		if !json.Valid([]byte(v)) {
			return out, errors.New("it is declared as JSON, and its text is not")
		}
		return append(out, v...), nil
	case instant:
		t := inUTC(v + "Z")
		if t == v+"Z" && strings.HasPrefix(v, "0000-") {
			return out, fmt.Errorf("%s has no form in JSON: select NULL in its place", v)
		}
		return text(out, t)
	case moment, date:
		if strings.HasSuffix(v, "infinity") || strings.HasSuffix(v, " BC") {
			return out, fmt.Errorf("%s has no form in JSON: select NULL in its place", v)
		}
		if c.kind == moment {
			v = inUTC(v)
		} else {
			v = day(v)
		}
	}
	return text(out, v)
}

// isNumber reports whether a text is a number of JSON.
func isNumber(v string) bool {
	if v == "" || v[len(v)-1] < '0' || v[len(v)-1] > '9' || v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		return false
	}
	return json.Valid([]byte(v))
}

// inUTC writes a timestamp with a zone as RFC 3339 in UTC, and leaves one without as it is.
func inUTC(text string) string {
	for _, layout := range []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04Z07:00", "2006-01-02 15:04:05.999999999Z07"} {
		if t, err := time.Parse(layout, text); err == nil {
			return t.UTC().Format(time.RFC3339Nano)
		}
	}
	return text
}

var midnight = regexp.MustCompile(`^[T ]00:00(:00(\.0*)?)?(Z|\+00(:?00)?)?$`)

// day cuts the time off a date that was stored with one. A time of the day is no midnight, and stays.
func day(text string) string {
	if len(text) > len(time.DateOnly) && midnight.MatchString(text[len(time.DateOnly):]) {
		if _, err := time.Parse(time.DateOnly, text[:len(time.DateOnly)]); err == nil {
			return text[:len(time.DateOnly)]
		}
	}
	return text
}

const hexDigits = "0123456789abcdef"

var errText = errors.New("its text is not valid UTF-8: select it as bytes")

// appendPlain writes a string as it is.
func appendPlain(out []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return out, errText
	}
	return append(out, s...), nil
}

// appendText writes a JSON string. Only what JSON demands is escaped.
func appendText(out []byte, s string) ([]byte, error) {
	if !utf8.ValidString(s) {
		return out, errText
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
