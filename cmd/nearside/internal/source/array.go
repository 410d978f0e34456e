package source

import (
	"errors"
	"strings"
)

// appendArray writes an array of PostgreSQL's text form as JSON: {1,NULL,"a \"b\"",{...}}, perhaps behind its bounds
// ([0:2]=...). https://www.postgresql.org/docs/current/arrays.html#ARRAYS-IO
func (c *column) appendArray(out []byte, v string) ([]byte, error) {
	if strings.HasPrefix(v, "[") {
		_, v, _ = strings.Cut(v, "=")
	}
	elem := column{kind: c.elem, delim: c.delim}
	out, rest, err := elem.appendElements(out, v)
	if err == nil && rest != "" {
		err = errArray
	}
	return out, err
}

var errArray = errors.New("its text is no array")

func (c *column) appendElements(out []byte, v string) (_ []byte, rest string, err error) {
	if !strings.HasPrefix(v, "{") {
		return out, v, errArray
	}
	v = v[1:]
	out = append(out, '[')
	for first := true; ; first = false {
		if strings.HasPrefix(v, "}") && first {
			return append(out, ']'), v[1:], nil
		}
		if !first {
			out = append(out, ',')
		}
		switch {
		case v == "":
			return out, v, errArray
		case v[0] == '{':
			out, v, err = c.appendElements(out, v)
		case v[0] == '"':
			var b strings.Builder
			i := 1
			for ; i < len(v) && v[i] != '"'; i++ {
				if v[i] == '\\' {
					i++
				}
				if i < len(v) {
					b.WriteByte(v[i])
				}
			}
			if i >= len(v) {
				return out, v, errArray
			}
			out, err = c.append(out, b.String())
			v = v[i+1:]
		default:
			i := strings.IndexAny(v, string(rune(c.delim))+"}")
			if i < 0 {
				return out, v, errArray
			}
			if v[:i] == "NULL" {
				out = append(out, "null"...)
			} else {
				out, err = c.append(out, v[:i])
			}
			v = v[i:]
		}
		switch {
		case err != nil:
			return out, v, err
		case strings.HasPrefix(v, "}"):
			return append(out, ']'), v[1:], nil
		case v == "" || v[0] != c.delim:
			return out, v, errArray
		}
		v = v[1:]
	}
}
