package cli

import (
	"fmt"
	"io"
	"os"
	"slices"
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
	bold   = "1"
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
	rank  int  // those of the highest rank are left out first, if that is not enough; 0: never
}

// table prints rows under titles, in the width of the terminal.
func (w *env) table(columns []column, rows [][]string) {
	for _, line := range w.lines(columns, rows) {
		fmt.Fprintln(w.out, line)
	}
}

// lines are those of a table, the titles first.
func (w *env) lines(columns []column, rows [][]string) []string {
	widths := make([]int, len(columns))
	for i, c := range columns {
		widths[i] = utf8.RuneCountInString(c.title)
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
	}
	shown, gap := w.fit(columns, widths)
	line := func(cells func(column int) string) string {
		var b strings.Builder
		for n, i := range shown {
			cell := shortened(cells(i), widths[i])
			pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
			if columns[i].right {
				cell, pad = pad+cell, ""
			}
			b.WriteString(cell)
			if n < len(shown)-1 {
				b.WriteString(pad + strings.Repeat(" ", gap))
			}
		}
		return b.String()
	}
	out := []string{w.paint(dim, line(func(i int) string { return columns[i].title }))}
	for _, row := range rows {
		out = append(out, line(func(i int) string { return row[i] }))
	}
	return out
}

const (
	cutTo   = 12 // runes, before columns are left out
	cutLast = 4
)

// fit finds out which columns the terminal has room for and how far they are apart, and narrows the widths of those that give way.
func (w *env) fit(columns []column, widths []int) (shown []int, gap int) {
	for i := range columns {
		shown = append(shown, i)
	}
	if w.width == 0 {
		return shown, 2
	}
	sum := func(width func(i int) int) (n int) {
		for _, i := range shown {
			n += width(i)
		}
		return n
	}
	least := func(i int) int {
		if columns[i].cut {
			return min(widths[i], max(utf8.RuneCountInString(columns[i].title), cutTo))
		}
		return widths[i]
	}
	for {
		for gap = 2; gap > 0 && sum(least)+gap*(len(shown)-1) > w.width; gap-- {
		}
		first := slices.MaxFunc(shown, func(a, b int) int { return columns[a].rank - columns[b].rank })
		if gap > 0 || columns[first].rank == 0 {
			break
		}
		shown = slices.DeleteFunc(shown, func(i int) bool { return i == first })
	}
	gap = max(gap, 1)
	over := sum(func(i int) int { return widths[i] }) + gap*(len(shown)-1) - w.width
	for floor := cutTo; over > 0 && floor >= cutLast; { // rune by rune, from the widest
		widest := -1
		for _, i := range shown {
			if columns[i].cut && widths[i] > floor && (widest < 0 || widths[i] > widths[widest]) {
				widest = i
			}
		}
		if widest < 0 {
			floor--
			continue
		}
		widths[widest]--
		over--
	}
	return shown, gap
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
