package result

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// Table is a view of an outcome: a row for each layer, or for each place.
type Table struct {
	Title   string
	Columns []Column
	ByPlace bool // a row for each place, all of them of one layer or of that which the column names
}

// Column is one figure of all rows.
type Column struct {
	Head   string
	At     string // the place; in a table by place it is the row's
	Layer  string // in a table by place
	Metric string
	Floor  string // the layer whose ratio stands in brackets
	Format func(float64) string
}

// Markdown writes the table of an outcome.
func (t Table) Markdown(o *Outcome) string {
	var b strings.Builder
	if t.Title != "" {
		fmt.Fprintf(&b, "%s\n\n", t.Title)
	}
	b.WriteString("| |")
	for _, c := range t.Columns {
		b.WriteString(" " + c.Head + " |")
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(t.Columns)) + "\n")
	rows := o.Layers()
	if t.ByPlace {
		rows = o.Places(t.Columns[0].Metric)
	}
	for _, row := range rows {
		cells, any := make([]string, len(t.Columns)), false
		for i, c := range t.Columns {
			layer, at := row, c.At
			if t.ByPlace {
				layer, at = c.Layer, row
			}
			p := o.Point(layer, at, c.Metric)
			any = any || p != nil
			cells[i] = c.cell(p, o.Point(c.Floor, at, c.Metric))
		}
		if any {
			fmt.Fprintf(&b, "| %s | %s |\n", row, strings.Join(cells, " | "))
		}
	}
	return b.String()
}

func (c Column) cell(p, floor *Point) string {
	switch {
	case p == nil:
		return "-"
	case p.Err != "" && len(p.Values) == 0:
		return "failed: " + strings.NewReplacer("|", "/", "\n", " ").Replace(shortened(p.Err, 80))
	}
	text := c.Format(p.Median())
	if p != floor {
		if r := ratio(p, floor); !math.IsNaN(r) && !math.IsInf(r, 0) {
			text += fmt.Sprintf(" (%.2f)", r)
		}
	}
	if p.Err != "" {
		text += ", not in each round"
	}
	return text
}

func shortened(text string, most int) string {
	if r := []rune(text); len(r) > most {
		return string(r[:most]) + "…"
	}
	return text
}

// Count writes a number as people read it: 16.8 M, 98 k, 850, 2.1.
func Count(v float64) string {
	switch {
	case v >= 1e6:
		return significant(v/1e6) + " M"
	case v >= 1e3:
		return significant(v/1e3) + " k"
	}
	return significant(v)
}

// Exact writes a number without a unit: an allocation must not look like a thousandth of one.
func Exact(v float64) string { return fmt.Sprintf("%.1f", v) }

// Whole writes a number without decimals.
func Whole(v float64) string { return fmt.Sprintf("%.0f", v) }

// Thousands writes a number with commas: 10,000.
func Thousands(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

// Percent writes a share of 1.
func Percent(v float64) string { return fmt.Sprintf("%.1f %%", 100*v) }

// Seconds writes a duration given in seconds.
func Seconds(v float64) string {
	switch d := time.Duration(v * 1e9); {
	case d < time.Microsecond:
		return significant(v*1e9) + " ns"
	case d < time.Millisecond:
		return significant(v*1e6) + " µs"
	case d < time.Second:
		return significant(v*1e3) + " ms"
	}
	return significant(v) + " s"
}

func significant(v float64) string {
	switch {
	case v >= 100 || v == 0:
		return fmt.Sprintf("%.0f", v)
	case v >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}
