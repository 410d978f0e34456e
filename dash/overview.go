package dash

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/nearside/nearside/fleet"
)

// headline is the row of numbers at the top.
type headline struct {
	Now, Hour, Day *fleet.Window
	P99            time.Duration
	Alive, Gone    int // members; of one cache, those alive that have it
	Problems       []string
	Drifts         []string // caches that processes run with different settings
	Base           string
}

// line is a cache in the table of all.
type line struct {
	fleet.Cache
	Share    []share
	P99      time.Duration
	Keys     estimate
	Bytes    estimate
	Drift    bool
	Reported bool // somebody has counted something within a day
}

// share is the part of reads that an outcome has, and where it stands in the bar.
type share struct {
	Name        string
	Part        float64
	From, Width float64 // of 100
}

// estimate is a number of the samples.
type estimate struct {
	About   about
	Known   bool
	Why     string  // it is not known
	Pending bool    // it will be
	Most    float64 // none was met in the sample: there are hardly more than this
}

// Exact reports whether it is not an estimate at all.
func (e estimate) Exact() bool { return e.About.Off < 0.0005 }

func (h *Handler) overview(r *http.Request) (*page, error) {
	p := &page{Title: "Overview", Here: "overview", Live: true, Span: spanOf(r), Caches: h.names()}
	v, err := h.watch.look()
	if errors.Is(err, errNoFleet) {
		p.add("nofleet", "card", nil)
		p.add("strip", "card", h.strip(base(r)))
		return p, nil
	}
	if v == nil {
		return nil, err
	}
	p.late(v, err)
	head := headline{Now: &v.Now, Hour: &v.Hour, Day: &v.Day, P99: v.Now.Quantile(0.99), Base: base(r)}
	for i := range v.Members {
		if m := &v.Members[i]; m.Alive(v.At) {
			head.Alive++
			for _, problem := range m.Problems {
				if !slices.Contains(head.Problems, problem) {
					head.Problems = append(head.Problems, problem)
				}
			}
		} else {
			head.Gone++
		}
	}
	lines := h.lines(v)
	for _, l := range lines {
		if l.Drift {
			head.Drifts = append(head.Drifts, l.Name)
		}
	}
	p.add("headline", "", head)
	c := outcomeChart(sum(v.Caches, func(c *fleet.Cache) []fleet.Point { return points(c, p.Span) }))
	c.Title = "Reads of all caches by outcome"
	c.Empty = "No read was counted in this time. Read through a cache, and it shows here within 10 seconds; nearside serve --traffic 2000 asks a demo shop."
	p.addChart(c)
	p.add("caches", "card", struct {
		Lines []line
		Base  string
	}{lines, base(r)})
	p.add("strip", "card", h.strip(base(r)))
	return p, nil
}

// lines are all caches that were reported or are declared here, the busiest first.
func (h *Handler) lines(v *fleet.View) []line {
	var out []line
	for _, c := range v.Caches {
		l := line{Cache: c, Share: shares(&c.Now.Counts), P99: c.Now.Quantile(0.99), Drift: c.Drifts(), Reported: c.Day.Reads() > 0}
		if l.Now.Reads() == 0 {
			l.Share = shares(&c.Hour.Counts)
		}
		l.Keys, l.Bytes = h.size(c.Name)
		out = append(out, l)
	}
	slices.SortStableFunc(out, func(a, b line) int { return cmp.Compare(b.Hour.Reads(), a.Hour.Reads()) })
	return out
}

// size is how large a cache is, by the samples.
func (h *Handler) size(cache string) (keys, bytes estimate) {
	settings := h.settings()
	taken, err := h.sample.wanted(h.ctx, settings)
	var none estimate
	switch _, declared := settings[cache]; {
	case !declared:
		none.Why = "not declared in this process, or sessions, whose keys are never looked at"
	case err != nil && taken == nil:
		none.Why = err.Error()
	case taken == nil || taken.caches[cache] == nil:
		none.Pending = true
	default:
		one := taken.caches[cache]
		if keys = one.estimate(); !keys.Known {
			return keys, keys
		}
		if bytes.About, bytes.Known = one.bytes(); !bytes.Known {
			bytes.Why = "the server does not tell what keys take"
		}
		return keys, bytes
	}
	return none, none
}

// names are those of all caches that are known here.
func (h *Handler) names() (out []string) {
	for name := range h.inside.Caches() {
		out = append(out, name)
	}
	if v, _ := h.watch.look(); v != nil {
		out = append(out, v.Names...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func spanOf(r *http.Request) string {
	if r.URL.Query().Get("span") == "24h" {
		return "24h"
	}
	return "1h"
}

func points(c *fleet.Cache, span string) []fleet.Point {
	if span == "24h" {
		return c.Tens
	}
	return c.Minutes
}

// shares divides the bar of a cache.
func shares(c *fleet.Counts) (out []share) {
	all := float64(c.Reads())
	if all == 0 {
		return nil
	}
	at := 0.0
	for _, o := range outcomes {
		if n := o.of(c); n > 0 {
			s := share{Name: o.name, Part: float64(n) / all, From: at}
			s.Width = 100 * s.Part
			at += s.Width
			out = append(out, s)
		}
	}
	return out
}
