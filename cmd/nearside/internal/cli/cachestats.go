package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/human"
	"github.com/nearside/nearside/internal/tally"
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
	say("cache", fmt.Sprintf("%s, the last %s of %s", human.Name(c.Name), ago(win.Span), several(alive(v, c.Name), "process", "processes")))
	if win.Reads() == 0 {
		say("reads", "none")
	} else {
		say("reads", fmt.Sprintf("%s/s, %s %% hits", human.Rate(win.Rate(win.Reads())), human.Percent(win.HitRatio())))
		say("answered by", strings.Join(w.shares(win), ", "))
	}
	say("loads", w.parts(win, win.Loads(), tally.LoadOK, tally.LoadTimeout, "load_"))
	if n := win.Counts[tally.Early]; n > 0 {
		say("", fmt.Sprintf("%s of them before a value was stale", human.Count(float64(n))))
	}
	if p, f := win.Counts[tally.CoalescedProcess], win.Counts[tally.CoalescedFleet]; p+f > 0 {
		say("shared", fmt.Sprintf("%s reads waited for a load of their own process, %s for one of another", human.Count(float64(p)), human.Count(float64(f))))
	}
	say("saved", fmt.Sprintf("%s of the database each second", seconds(saved(win))))
	say("invalidated", w.parts(win, win.Invalidations(), tally.ByInvalidate, tally.ByLost, "by_"))
	near := several(c.NearEntries, "entry", "entries")
	if c.NearBytes > 0 {
		near += ", " + human.Bytes(int64(c.NearBytes))
	}
	say("near", near+" in all processes")
	say("store", fmt.Sprintf("%s/s read, %s/s written", human.Bytes(int64(win.Rate(win.Counts[tally.BytesRead]))), human.Bytes(int64(win.Rate(win.Counts[tally.BytesWritten])))))
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

// shares are the shares of reads by who answered them.
func (w *env) shares(win *fleet.Window) (out []string) {
	for n := tally.Near; n <= tally.Error; n++ {
		if win.Counts[n] > 0 {
			out = append(out, fmt.Sprintf("%s %s %%", n, human.Percent(win.Share(n))))
		}
	}
	return out
}

// parts are a sum and what it is made of.
func (w *env) parts(win *fleet.Window, sum uint64, first, last tally.Count, prefix string) string {
	if sum == 0 {
		return "none"
	}
	var out []string
	for n := first; n <= last; n++ {
		if win.Counts[n] > 0 {
			out = append(out, fmt.Sprintf("%s %s", strings.TrimPrefix(n.String(), prefix), human.Count(float64(win.Counts[n]))))
		}
	}
	return fmt.Sprintf("%s/s: %s", human.Rate(win.Rate(sum)), strings.Join(out, ", "))
}

// wrong is what should not be.
func (w *env) wrong(win *fleet.Window) string {
	var out []string
	for _, t := range []struct {
		count tally.Count
		what  string
	}{
		{tally.Error, "reads that failed"}, {tally.StoreError, "reads of the store without an answer"},
		{tally.CodecError, "values that could not be decoded or encoded"}, {tally.TooLarge, "values too large to store"},
		{tally.Unfilled, "values loaded and not stored"}, {tally.Behind, "writes that the store was not told of"},
		{tally.InDoubt, "keys whose write failed without saying whether it was committed"},
		{tally.Dropped, "collections dropped, since the order of writes was not known"},
	} {
		if n := win.Counts[t.count]; n > 0 {
			out = append(out, fmt.Sprintf("%s %s", human.Count(float64(n)), t.what))
		}
	}
	return strings.Join(out, "; ")
}

// settings says whether processes agree.
func settings(c *fleet.Cache) string {
	var out []string
	for _, hash := range slices.Sorted(maps.Keys(c.Configs)) {
		out = append(out, fmt.Sprintf("%.8s in %s", human.Name(hash), several(len(c.Configs[hash]), "process", "processes")))
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
			win := fleet.Window{Tally: tally.Tally{Counts: p.Counts}, Span: p.Span}
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
	for tier, what := range []string{"near", "store", "loader"} {
		h := &win.Latency[tier]
		rows = append(rows, []string{what, human.Duration(h.Quantile(0.5)), human.Duration(h.Quantile(0.9)), human.Duration(h.Quantile(0.99)), human.Count(float64(h.N()))})
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
