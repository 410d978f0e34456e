package cli

import (
	"fmt"
	"io"
	"os"
	"strings"
	"unicode/utf8"

	"golang.org/x/term"
)

// terminal reports whether out is a terminal, and how wide.
func terminal(out io.Writer) (is bool, width int) {
	f, ok := out.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return false, 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 1 {
		width = 80
	}
	return true, width
}

// The colours of what the commands print.
const (
	red    = "31"
	yellow = "33"
	green  = "32"
	dim    = "2"
)

// paint colours text on a terminal, unless NO_COLOR is set (no-color.org).
func (w *env) paint(colour, text string) string {
	if !w.terminal || w.lookup("NO_COLOR") != "" || w.lookup("TERM") == "dumb" {
		return text
	}
	return "\x1b[" + colour + "m" + text + "\x1b[0m"
}

// note says something beside the answer.
func (w *env) note(format string, args ...any) { fmt.Fprintf(w.err, format+"\n", args...) }

// column is a column of a table.
type column struct {
	title string
	right bool // aligned
	cut   bool // gives way if the terminal is narrow
}

// table prints rows under titles, in the width of the terminal.
func (w *env) table(columns []column, rows [][]string) {
	const gap = 2
	widths, all := make([]int, len(columns)), gap*(len(columns)-1)
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		all += widths[i]
	}
	for i, c := range columns {
		if over := all - w.width; w.width > 0 && over > 0 && c.cut {
			least := max(utf8.RuneCountInString(c.title), 8)
			narrow := max(widths[i]-over, min(widths[i], least))
			all -= widths[i] - narrow
			widths[i] = narrow
		}
	}
	line := func(cells []string) string {
		var b strings.Builder
		for i, cell := range cells {
			cell = shortened(cell, widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i].right {
				cell, pad = pad+cell, ""
			}
			b.WriteString(cell)
			if i < len(cells)-1 {
				b.WriteString(pad + strings.Repeat(" ", gap))
			}
		}
		return b.String()
	}
	titles := make([]string, len(columns))
	for i, c := range columns {
		titles[i] = c.title
	}
	fmt.Fprintln(w.out, w.paint(dim, line(titles)))
	for _, row := range rows {
		fmt.Fprintln(w.out, line(row))
	}
}

// shortened leaves out what does not fit, from the middle: keys differ at their ends.
func shortened(text string, width int) string {
	runes := []rune(text)
	if len(runes) <= width {
		return text
	}
	head := (width - 1) / 2
	return string(runes[:head]) + "…" + string(runes[len(runes)-(width-1-head):])
}

// wrapped breaks text into lines of the terminal's width, each behind so many spaces but the first, which follows lead.
func (w *env) wrapped(lead string, indent int, text string) string {
	if w.width == 0 {
		return lead + text + "\n"
	}
	room := max(w.width-indent, 16)
	var b strings.Builder
	line := ""
	begin := lead
	flush := func() {
		b.WriteString(begin + line + "\n")
		begin, line = strings.Repeat(" ", indent), ""
	}
	for word := range strings.FieldsSeq(text) {
		if line != "" && utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > room {
			flush()
		}
		if line != "" {
			line += " "
		}
		line += word
	}
	flush()
	return b.String()
}
