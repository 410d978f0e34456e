package dash

import (
	"slices"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/human"
)

// chart is numbers over time: a table, of which the script makes a picture.
type chart struct {
	ID, Title, Unit string
	Stacked         bool // areas, one on the other; else lines, on a logarithmic axis
	Series          []series
	Rows            []row // the latest first
	Empty           string
}

// series is one column. Its class has a color in the style sheet, and a hatch in the layout or, of a line, dashes in the script.
type series struct {
	Name, Class string
	Thin        bool // of a line
}

type row struct {
	At    time.Time
	Cells []cell
}

type cell struct {
	Value float64 // for the picture; negative: there is none
	Text  string
}

// outcomes are the sources of answers, in the order in which they are stacked.
var outcomes = []struct {
	name string
	of   func(*fleet.Counts) uint64
}{
	{"near", func(c *fleet.Counts) uint64 { return c.Near }},
	{"store", func(c *fleet.Counts) uint64 { return c.Store }},
	{"load", func(c *fleet.Counts) uint64 { return c.Load }},
	{"stale", func(c *fleet.Counts) uint64 { return c.Stale }},
	{"negative", func(c *fleet.Counts) uint64 { return c.Negative }},
	{"error", func(c *fleet.Counts) uint64 { return c.Errors }},
}

// causes of invalidations, as people say them.
var causes = []struct {
	series
	of func(*fleet.Counts) uint64
}{
	{series{Name: "invalidate", Class: "c1"}, func(c *fleet.Counts) uint64 { return c.Invalidated }},
	{series{Name: "update", Class: "c2"}, func(c *fleet.Counts) uint64 { return c.Updated }},
	{series{Name: "mutate", Class: "c3"}, func(c *fleet.Counts) uint64 { return c.Mutated }},
	{series{Name: "set", Class: "c4"}, func(c *fleet.Counts) uint64 { return c.Set }},
	{series{Name: "push (near copies)", Class: "c5"}, func(c *fleet.Counts) uint64 { return c.Pushed }},
	{series{Name: "connection lost (near copies)", Class: "c6"}, func(c *fleet.Counts) uint64 { return c.PushesLost }},
}

// outcomeChart shows reads per second by outcome.
func outcomeChart(points []fleet.Point) chart {
	c := chart{ID: "outcomes", Title: "Reads by outcome", Unit: "reads/s", Stacked: true, Empty: "No read was counted in this time."}
	for _, o := range outcomes {
		c.Series = append(c.Series, series{Name: o.name, Class: o.name})
	}
	c.fill(points, func(p *fleet.Point) (cells []cell) {
		for _, o := range outcomes {
			cells = append(cells, rate(p, o.of(&p.Counts)))
		}
		return cells
	})
	return c
}

// causeChart shows invalidations per second by cause.
func causeChart(points []fleet.Point) chart {
	c := chart{ID: "causes", Title: "Invalidations by cause", Unit: "keys/s", Stacked: true,
		Empty: "Nothing was invalidated in this time: a value is as old as its TTL allows. Call Invalidate after a write to the database, or write with Update; over the Redis protocol, DEL."}
	for _, one := range causes {
		c.Series = append(c.Series, one.series)
	}
	c.fill(points, func(p *fleet.Point) (cells []cell) {
		for _, one := range causes {
			cells = append(cells, rate(p, one.of(&p.Counts)))
		}
		return cells
	})
	return c
}

// latencyChart shows medians and 99th percentiles of each tier.
func latencyChart(points []fleet.Point) chart {
	c := chart{ID: "latency", Title: "Latency by tier", Unit: "ms", Empty: "Nothing was measured in this time."}
	for _, tier := range []string{"near", "store", "load"} {
		c.Series = append(c.Series, series{tier + " p50", tier, true}, series{tier + " p99", tier, false})
	}
	c.fill(points, func(p *fleet.Point) (cells []cell) {
		for _, tier := range []fleet.Quantiles{p.NearLatency, p.StoreLatency, p.LoadLatency} {
			for _, d := range []time.Duration{tier.P50, tier.P99} {
				value := float64(d) / float64(time.Millisecond)
				if d <= 0 {
					value = -1
				}
				cells = append(cells, cell{value, span(d)})
			}
		}
		return cells
	})
	return c
}

func rate(p *fleet.Point, n uint64) cell {
	f := float64(n) / p.Span.Seconds()
	return cell{f, human.Rate(f)}
}

// settled is how much of a step must have passed before it is shown: each process reports some 10 s at once, so a part of a
// minute would be far too much or too little.
const settled = 40 * time.Second

// fill sets the rows. If there is nothing but zeros and gaps, there are none.
func (c *chart) fill(points []fleet.Point, cells func(*fleet.Point) []cell) {
	some := false
	if n := len(points) - 1; n > 0 && points[n].Span < settled {
		points = points[:n]
	}
	for i := len(points) - 1; i >= 0; i-- {
		r := row{points[i].Start, cells(&points[i])}
		for _, one := range r.Cells {
			some = some || one.Value > 0
		}
		c.Rows = append(c.Rows, r)
	}
	if !some {
		c.Rows = nil
	}
}

// Latest says the newest numbers in words, for those who do not see the picture.
func (c chart) Latest() string {
	if len(c.Rows) == 0 {
		return c.Empty
	}
	text := ""
	for i, s := range c.Series {
		if one := c.Rows[0].Cells[i]; one.Value > 0 {
			text += ", " + s.Name + " " + one.Text
		}
	}
	return c.Title + " in " + c.Unit + ", latest: " + text[min(len(text), 2):]
}

// sum adds the charts of several caches, point by point.
func sum(caches []fleet.Cache, of func(*fleet.Cache) []fleet.Point) []fleet.Point {
	at := make(map[int64]*fleet.Point)
	var order []int64
	for i := range caches {
		for _, p := range of(&caches[i]) {
			t := p.Start.Unix()
			have := at[t]
			if have == nil {
				at[t] = &fleet.Point{Start: p.Start, Span: p.Span, Counts: p.Counts}
				order = append(order, t)
				continue
			}
			have.Span = max(have.Span, p.Span)
			have.Counts.Add(&p.Counts)
		}
	}
	slices.Sort(order)
	out := make([]fleet.Point, len(order))
	for i, t := range order {
		out[i] = *at[t]
	}
	return out
}
