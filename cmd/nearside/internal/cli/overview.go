package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/human"
)

// span is which of a view's windows is looked at.
type span time.Duration

func (s span) window(c *fleet.Cache) *fleet.Window { return s.choose(&c.Now, &c.Hour, &c.Day) }
func (s span) all(v *fleet.View) *fleet.Window     { return s.choose(&v.Now, &v.Hour, &v.Day) }

func (s span) choose(now, hour, day *fleet.Window) *fleet.Window {
	switch {
	case s <= span(time.Minute):
		return now
	case s <= span(time.Hour):
		return hour
	}
	return day
}

// measure is a number of each cache.
type measure struct {
	column
	by   string // how sorting by it is called; empty: nobody does
	of   func(w *fleet.Window) float64
	text func(n float64) string
	low  bool // the lowest are looked for first
}

func reads(w *fleet.Window) float64 { return w.Rate(w.Reads()) }
func hits(w *fleet.Window) float64  { return w.HitRatio() }
func near(w *fleet.Window) float64  { return w.Share(w.Near) }
func p50(w *fleet.Window) float64   { return float64(w.Quantile(0.5)) }
func p99(w *fleet.Window) float64   { return float64(w.Quantile(0.99)) }
func loads(w *fleet.Window) float64 { return w.Rate(w.Loads()) }
func saved(w *fleet.Window) float64 { return w.SavedPerSecond() }
func stale(w *fleet.Window) float64 { return float64(w.Stale) }
func gone(w *fleet.Window) float64  { return w.Rate(w.Invalidations()) }
func errs(w *fleet.Window) float64  { return float64(w.Errors) }
func long(ns float64) string        { return human.Duration(time.Duration(ns)) }
func seconds(perSecond float64) string {
	if perSecond <= 0 {
		return "0"
	}
	return human.Duration(time.Duration(perSecond * float64(time.Second)))
}

// measures are the columns of the overview behind the name. All fit into 80 columns, and reads, hits, p99 and loads into 40.
var measures = []measure{
	{column{title: "READS/S", right: true}, "reads/s", reads, human.Rate, false},
	{column{title: "HIT%", right: true}, "hit %, lowest first", hits, human.Percent, true},
	{column{title: "NEAR%", right: true, rank: 5}, "", near, human.Percent, false},
	{column{title: "P50", right: true, rank: 6}, "", p50, long, false},
	{column{title: "P99", right: true, rank: 1}, "p99", p99, long, false},
	{column{title: "LOADS/S", right: true, rank: 2}, "loads/s", loads, human.Rate, false},
	{column{title: "SAVED/S", right: true, rank: 3}, "time saved", saved, seconds, false},
	{column{title: "STALE", right: true, rank: 8}, "", stale, human.Count, false},
	{column{title: "INVAL/S", right: true, rank: 7}, "invalidations/s", gone, human.Rate, false},
	{column{title: "ERRORS", right: true, rank: 4}, "errors", errs, human.Count, false},
}

// shows is the measure of a window as the table has it. Of a cache that was not read there is no ratio.
func (m *measure) shows(w *fleet.Window) string {
	if strings.HasSuffix(m.title, "%") && w.Reads() == 0 {
		return "-"
	}
	return m.text(m.of(w))
}

// orders are the measures that one can sort by; nil, the last one, is by name.
var orders = func() (out []*measure) {
	for i := range measures {
		if measures[i].by != "" {
			out = append(out, &measures[i])
		}
	}
	return append(out, nil)
}()

func called(order *measure) string {
	if order == nil {
		return "name"
	}
	return order.by
}

// ordered are the caches in an order, those whose numbers could not be read last.
func ordered(caches []fleet.Cache, s span, order *measure) []fleet.Cache {
	out := slices.Clone(caches)
	slices.SortStableFunc(out, func(a, b fleet.Cache) int {
		switch {
		case order == nil:
			return strings.Compare(a.Name, b.Name)
		case a.Err != nil || b.Err != nil:
			return boolean(a.Err != nil) - boolean(b.Err != nil)
		}
		wa, wb := s.window(&a), s.window(&b)
		if order.low { // a cache that is not read misses nothing
			if c := boolean(wa.Reads() == 0) - boolean(wb.Reads() == 0); c != 0 {
				return c
			}
			return cmp.Compare(order.of(wa), order.of(wb))
		}
		return cmp.Compare(order.of(wb), order.of(wa))
	})
	return out
}

func boolean(b bool) int {
	if b {
		return 1
	}
	return 0
}

// overview is the table of caches: the titles, and a line for each.
func (w *env) overview(caches []fleet.Cache, s span) []string {
	columns := []column{{title: "CACHE", cut: true}}
	for _, m := range measures {
		columns = append(columns, m.column)
	}
	rows := make([][]string, 0, len(caches))
	for i := range caches {
		row := []string{human.Name(caches[i].Name)}
		for _, m := range measures {
			if caches[i].Err != nil {
				row = append(row, "?")
				continue
			}
			row = append(row, m.shows(s.window(&caches[i])))
		}
		rows = append(rows, row)
	}
	return w.lines(columns, rows)
}

// summary is all caches in one sentence.
func summary(v *fleet.View, s span) string {
	w := s.all(v)
	hits := ""
	if w.Reads() > 0 {
		hits = fmt.Sprintf("%s %% hits, ", human.Percent(w.HitRatio()))
	}
	return fmt.Sprintf("%s, %s, the last %s: %s reads/s, %s%s of the database saved each second, %s",
		human.Several(len(v.Caches), "cache", "caches"), human.Several(alive(v, ""), "process", "processes"), ago(w.Span),
		human.Rate(w.Rate(w.Reads())), hits, seconds(saved(w)), human.Several(int(w.Errors), "error", "errors"))
}

// unheard is what is said where nobody has reported, or where those who did are gone; empty: somebody reports.
func unheard(v *fleet.View) string {
	switch {
	case len(v.Names) == 0:
		return "No process has reported yet. A program of yours reports with nearside.Options{Fleet: true}, a second after it has begun and then each 10 s; nearside serve reports always. Both must be on the same Redis."
	case alive(v, "") == 0:
		return "No process reports at the moment: these are the numbers of those that are gone."
	}
	return ""
}
