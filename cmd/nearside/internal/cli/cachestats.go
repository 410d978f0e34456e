package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/human"
)

const labels = 13 // columns before what is said

// cacheStats shows all about one cache.
func (w *env) cacheStats(v *fleet.View, c *fleet.Cache, s span) {
	if c.Err != nil {
		fmt.Fprint(w.out, w.wrapped("", 0, unread(*c)))
		return
	}
	say := func(label, text string) {
		fmt.Fprint(w.out, w.wrapped(fmt.Sprintf("%-*s", labels, label), labels, text))
	}
	win := s.window(c)
	say("cache", fmt.Sprintf("%s, the last %s of %s", human.Name(c.Name), ago(win.Span), human.Several(alive(v, c.Name), "process", "processes")))
	if win.Reads() == 0 {
		say("reads", "none")
	} else {
		say("reads", fmt.Sprintf("%s/s, %s %% hits", human.Rate(win.Rate(win.Reads())), human.Percent(win.HitRatio())))
		say("answered by", strings.Join(w.shares(win), ", "))
	}
	say("loads", w.parts(win, win.Loads(), []part{{"ok", win.LoadsOK}, {"notfound", win.LoadsAbsent}, {"error", win.LoadsFailed}, {"timeout", win.LoadsTimedOut}}))
	if n := win.Early; n > 0 {
		say("", fmt.Sprintf("%s of them before a value was stale", human.Count(float64(n))))
	}
	if p, f := win.Coalesced, win.CoalescedFleet; p+f > 0 {
		say("shared", fmt.Sprintf("%s reads waited for a load of their own process, %s for one of another", human.Count(float64(p)), human.Count(float64(f))))
	}
	say("saved", fmt.Sprintf("%s of the database each second", seconds(saved(win))))
	say("invalidated", w.parts(win, win.Invalidations(), []part{
		{"invalidate", win.Invalidated}, {"update", win.Updated}, {"mutate", win.Mutated}, {"set", win.Set}, {"push", win.Pushed}, {"lost", win.PushesLost},
	}))
	near := human.Several(c.NearEntries, "entry", "entries")
	if c.NearBytes > 0 {
		near += ", " + human.Bytes(int64(c.NearBytes))
	}
	say("near", near+" in all processes")
	say("store", fmt.Sprintf("%s/s read, %s/s written", human.Bytes(int64(win.Rate(win.BytesRead))), human.Bytes(int64(win.Rate(win.BytesWritten)))))
	if wrong := w.wrong(win); wrong != "" {
		say("trouble", wrong)
	}
	say("settings", settings(c))
	w.curves(c, s, say)
	fmt.Fprintln(w.out)
	w.latencies(win)
	w.hottest(c)
	w.members(v, c)
}

// part is a number that a sum is made of.
type part struct {
	name string
	n    uint64
}

// shares returns the share of each source in the reads.
func (w *env) shares(win *fleet.Window) (out []string) {
	for _, p := range []part{{"near", win.Near}, {"store", win.Store}, {"load", win.Load}, {"stale", win.Stale}, {"negative", win.Negative}, {"error", win.Errors}} {
		if p.n > 0 {
			out = append(out, fmt.Sprintf("%s %s %%", p.name, human.Percent(win.Share(p.n))))
		}
	}
	return out
}

// parts returns the rate of a sum, and its parts.
func (w *env) parts(win *fleet.Window, sum uint64, of []part) string {
	if sum == 0 {
		return "none"
	}
	var out []string
	for _, p := range of {
		if p.n > 0 {
			out = append(out, fmt.Sprintf("%s %s", p.name, human.Count(float64(p.n))))
		}
	}
	return fmt.Sprintf("%s/s: %s", human.Rate(win.Rate(sum)), strings.Join(out, ", "))
}

// wrong is what should not be.
func (w *env) wrong(win *fleet.Window) string {
	var out []string
	for _, p := range []part{
		{"reads that failed", win.Errors}, {"reads of the store without an answer", win.StoreErrors},
		{"values that could not be decoded or encoded", win.CodecErrors}, {"values too large to store", win.TooLarge},
		{"values loaded and not stored", win.Unfilled}, {"writes that the store was not told of", win.WritesDeferred},
		{"keys whose write failed without saying whether it was committed", win.WritesInDoubt},
		{"collections dropped, since the order of writes was not known", win.Dropped},
	} {
		if p.n > 0 {
			out = append(out, fmt.Sprintf("%s %s", human.Count(float64(p.n)), p.name))
		}
	}
	return strings.Join(out, "; ")
}

// settings says whether processes agree.
func settings(c *fleet.Cache) string {
	var out []string
	for _, hash := range slices.Sorted(maps.Keys(c.Configs)) {
		out = append(out, fmt.Sprintf("%.8s in %s", human.Name(hash), human.Several(len(c.Configs[hash]), "process", "processes")))
	}
	switch {
	case len(out) == 0:
		return "not known"
	case c.Drifts():
		return "they differ: " + strings.Join(out, ", ") + "; nearside doctor says more"
	}
	return out[0]
}

// curves are how reads, hits and loads went.
func (w *env) curves(c *fleet.Cache, s span, say func(label, text string)) {
	points, steps := c.Minutes, "minutes"
	if s > span(time.Hour) {
		points, steps = c.Tens, "times 10 minutes"
	}
	if len(points) < 2 {
		return
	}
	room := 60
	if w.width > 0 {
		room = max(w.width-labels, 8)
	}
	n := min(room, len(points))
	say("curves", fmt.Sprintf("of the last %d %s", n, steps))
	for _, curve := range []struct {
		label string
		of    func(w *fleet.Window) float64
		text  func(float64) string
	}{
		{"  reads/s", reads, human.Rate},
		{"  hit ratio", hits, func(v float64) string { return human.Percent(v) + " %" }},
		{"  loads/s", loads, human.Rate},
	} {
		values, most := make([]float64, 0, n), 0.0
		for _, p := range points[len(points)-n:] {
			win := fleet.Window{Counts: p.Counts, Span: p.Span}
			values = append(values, curve.of(&win))
			most = max(most, values[len(values)-1])
		}
		text := spark(values, n)
		if w.width == 0 || labels+n+16 <= w.width {
			text += "  most " + curve.text(most)
		}
		fmt.Fprintf(w.out, "%-*s%s\n", labels, curve.label, text)
	}
}

// latencies is a table of the tiers.
func (w *env) latencies(win *fleet.Window) {
	var rows [][]string
	for _, tier := range []struct {
		name string
		*fleet.Histogram
	}{{"near", &win.NearLatency}, {"store", &win.StoreLatency}, {"loader", &win.LoadLatency}} {
		rows = append(rows, []string{tier.name, human.Duration(tier.Quantile(0.5)), human.Duration(tier.Quantile(0.9)), human.Duration(tier.Quantile(0.99)), human.Count(float64(tier.N()))})
	}
	w.table([]column{{title: "LATENCY"}, {title: "P50", right: true}, {title: "P90", right: true, rank: 2}, {title: "P99", right: true}, {title: "MEASURED", right: true, rank: 1}}, rows)
}

func (w *env) hottest(c *fleet.Cache) {
	if len(c.Hot) == 0 {
		return
	}
	fmt.Fprintln(w.out)
	w.hotKeys([]fleet.Cache{*c}, 5)
}

func (w *env) members(v *fleet.View, c *fleet.Cache) {
	var rows [][]string
	var said []string
	for i := range v.Members {
		m := &v.Members[i]
		own, has := m.Caches[c.Name]
		if !has {
			continue
		}
		state := m.Breaker
		switch {
		case m.Ended:
			state = "ended"
		case !m.Alive(v.At):
			state = "silent"
		case state == "" || state == "closed":
			state = "ok"
		}
		for _, p := range m.Problems {
			said = append(said, fmt.Sprintf("%s:%d: %s", human.Name(m.Host), m.PID, plain(p)))
		}
		rows = append(rows, []string{
			human.Name(m.Host), fmt.Sprint(m.PID), human.Name(m.Version), ago(m.Seen.Sub(m.Started)), ago(v.At.Sub(m.Seen)) + " ago",
			human.Count(float64(own.NearEntries)), fmt.Sprintf("%.8s", human.Name(own.Config)), plain(state),
		})
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintln(w.out)
	w.table([]column{
		{title: "PROCESS", cut: true}, {title: "PID", right: true}, {title: "VERSION", cut: true, rank: 3}, {title: "UP", right: true, rank: 4}, {title: "SEEN", right: true},
		{title: "NEAR", right: true, rank: 2}, {title: "SETTINGS", rank: 1}, {title: "STATE", cut: true},
	}, rows)
	for _, text := range said {
		fmt.Fprint(w.out, w.wrapped("! ", 2, text))
	}
}
