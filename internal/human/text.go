package human

import (
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Name writes a name on one line. A name that a terminal does not show as it is (control characters, escape sequences, marks that
// turn the direction of writing, spaces at the ends) is quoted as Go does. One that begins with a quote is quoted too, so that the
// two cannot be confused.
func Name(name string) string {
	plain := name != "" && name[0] != '"' && name == strings.TrimSpace(name) && utf8.ValidString(name)
	for _, r := range name {
		plain = plain && unicode.IsPrint(r)
	}
	if plain {
		return name
	}
	return strconv.Quote(name)
}

// Text writes a value with its lines and tabs. All else that a terminal does not show is escaped as Go does.
func Text(value []byte) string {
	var b strings.Builder
	for len(value) > 0 {
		r, n := utf8.DecodeRune(value)
		switch {
		case r == utf8.RuneError && n == 1:
			b.WriteString(`\x` + strconv.FormatUint(0x100+uint64(value[0]), 16)[1:])
		case r == '\n', r == '\t', unicode.IsPrint(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRune(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		value = value[n:]
	}
	return b.String()
}
