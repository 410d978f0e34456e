package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf16"
	"unicode/utf8"
)

// field is a value of a JSON object.
type field struct {
	raw  json.RawMessage // as it was written
	kind string          // null, a string, a number, a boolean, an array or an object
	text string          // of a string
}

// plain returns a value as it stands in a key.
func (f field) plain() string {
	if f.kind == "a string" {
		return f.text
	}
	return string(f.raw)
}

// String returns what an error says of a value: of a number its digits, and of a text nothing, since it may be a secret.
func (f field) String() string {
	if f.kind == "a number" || f.kind == "a boolean" {
		return fmt.Sprintf("%s, %.40s", f.kind, f.raw)
	}
	return f.kind
}

// short is String without the kind of a number.
func (f field) short() string {
	if f.kind == "a number" || f.kind == "a boolean" {
		return fmt.Sprintf("%.40s", f.raw)
	}
	return f.kind
}

// members reads one JSON object. What encoding/json would change silently is an error: bytes that are no UTF-8, halves of
// characters, and a name that stands there twice.
func members(value []byte) (map[string]field, error) {
	if !utf8.Valid(value) {
		return nil, errors.New("it is not valid UTF-8")
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	if t, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("expected a JSON object with the fields of the row: %w", malformed(err))
	} else if t != json.Delim('{') {
		return nil, fmt.Errorf("found %s, expected one JSON object with the fields of the row", kindOf(bytes.TrimSpace(value)))
	}
	fields := make(map[string]field)
	for dec.More() {
		t, err := dec.Token()
		var f field
		if err == nil {
			err = dec.Decode(&f.raw)
		}
		if err != nil {
			return nil, fmt.Errorf("expected a JSON object with the fields of the row: %w", malformed(err))
		}
		name := t.(string)
		if _, twice := fields[name]; twice {
			return nil, fmt.Errorf("the field %.100q stands there twice", name)
		}
		if f.kind = kindOf(f.raw); f.kind == "a string" {
			if err := json.Unmarshal(f.raw, &f.text); err != nil {
				return nil, malformed(err)
			}
		}
		fields[name] = f
	}
	if _, err := dec.Token(); err != nil {
		return nil, fmt.Errorf("expected a JSON object with the fields of the row: %w", malformed(err))
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errors.New("expected one JSON object with the fields of the row, and nothing behind it")
	}
	if half := lone(value); half != "" {
		return nil, fmt.Errorf("%s is half of a character: its other half is missing, and it would be written as another character", half)
	}
	return fields, nil
}

// malformed is an error of encoding/json that ends where the value does.
func malformed(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func kindOf(raw []byte) string {
	if len(raw) == 0 {
		return "nothing"
	}
	switch raw[0] {
	case '"':
		return "a string"
	case '{':
		return "an object"
	case '[':
		return "an array"
	case 't', 'f':
		return "a boolean"
	case 'n':
		return "null"
	}
	return "a number"
}

// lone returns the first escape of valid JSON that is half of a surrogate pair without its other half; empty if there is none.
func lone(value []byte) string {
	for i := 0; i < len(value); i++ {
		if value[i] != '\\' {
			continue
		}
		if value[i+1] != 'u' {
			i++
			continue
		}
		r := hex4(value[i+2:])
		if !utf16.IsSurrogate(r) {
			i += 5
			continue
		}
		next := value[i+6:]
		if len(next) < 6 || next[0] != '\\' || next[1] != 'u' || utf16.DecodeRune(r, hex4(next[2:])) == utf8.RuneError {
			return string(value[i : i+6])
		}
		i += 11
	}
	return ""
}

func hex4(digits []byte) (r rune) {
	for _, d := range digits[:4] {
		switch {
		case d >= 'a':
			d -= 'a' - 10
		case d >= 'A':
			d -= 'A' - 10
		default:
			d -= '0'
		}
		r = r<<4 | rune(d)
	}
	return r
}

const maxError = 500 // bytes of the text of a database's error, which may quote a value

// bounded returns an error with a text of bounded length.
func bounded(err error) error {
	if err == nil || len(err.Error()) <= maxError {
		return err
	}
	return longError{err}
}

type longError struct{ error }

func (e longError) Unwrap() error { return e.error }

func (e longError) Error() string {
	text := e.error.Error()
	n := maxError
	for n > 0 && !utf8.RuneStart(text[n]) {
		n--
	}
	return fmt.Sprintf("%s... (%d bytes more)", text[:n], len(text)-n)
}
