package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// reporting is two clients that have read a key of a cache "basket" 30 times, with different settings, and told the fleet.
func reporting(t *testing.T, srv *redistest.Server) {
	t.Helper()
	for _, ttl := range []time.Duration{time.Hour, time.Minute} {
		c, err := nearside.Open(t.Context(), srv.URL(), nearside.Options{Fleet: true, Budget: eventually.Limit, WriteBudget: 30 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		baskets := nearside.New(c, "basket", nearside.Config[int, string]{Load: func(context.Context, int) (string, error) { return "milk", nil }, TTL: ttl})
		for range 15 {
			if _, err := baskets.Get(t.Context(), 7); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// until asks until the answer has all that is wanted: reports come by themselves.
func until(t *testing.T, vars []string, line string, wants ...string) (said string) {
	t.Helper()
	var latest strings.Builder
	eventually.True(t, fmt.Sprintf("%s says %q", line, wants), func() bool {
		status, out, errs := commandLine(t, vars, strings.Fields(line)...)
		said = out + errs
		latest.Reset()
		fmt.Fprintf(&latest, "status %d\n%s", status, said)
		return !slices.ContainsFunc(wants, func(want string) bool { return !strings.Contains(said, want) })
	}, &latest)
	return said
}

func TestFleetCommands(t *testing.T) {
	operated(t, func(t *testing.T, srv *redistest.Server, vars []string) {
		reporting(t, srv)
		heat := func(key string) { // in the place of very many reads: of few only some are noted
			t.Helper()
			minute := time.Now().Unix() / 60
			for m := minute; m <= minute+1; m++ {
				srv.Do(t, "ZADD", fmt.Sprintf("nearside:{basket}:h:%d", m), "1000", key)
			}
		}
		heat("basket:7")
		out := until(t, vars, "stats basket", "basket, the last", "of 2 processes", "answered by  store 96.7 %, load 3.3 %\n", "/s: ok 1\n",
			"they differ: ", " in 1 process, ", "nearside doctor says more", "LATENCY", "PROCESS ", "HOT KEY", "basket:7")
		if strings.Contains(out, "\x1b") {
			t.Errorf("escapes on a pipe: %q", out)
		}
		for line, want := range map[string]string{
			"stats":             "\nbasket ",
			"stats --since 1h":  "\nbasket ",
			"stats --since 24h": "\nbasket ",
			"hot":               "basket:7",
			"hot basket":        "basket:7",
			"hot --for 10m":     "basket:7",
			"top -n 1":          "\nbasket ",
		} {
			if status, out, errs := commandLine(t, vars, strings.Fields(line)...); status != 0 || !strings.Contains(out, want) {
				t.Errorf("%s: status %d, no %q in\n%s%s", line, status, want, out, errs)
			}
		}
		status, out, errs := commandLine(t, vars, "stats", "--json", "basket")
		var v struct {
			Source string
			fleet.View
		}
		if err := json.Unmarshal([]byte(out), &v); err != nil || status != 0 {
			t.Fatalf("status %d, %v: %s%s", status, err, out, errs)
		}
		if len(v.Caches) != 1 || v.Caches[0].Hour.Store != 29 || v.Caches[0].Hour.StoreLatency.Quantile(0.5) <= 0 || v.Source == "" {
			t.Errorf("got %s", out)
		}
		for _, line := range []string{"stats bsket", "hot bsket", "stats bsket --json"} {
			if status, _, errs := commandLine(t, vars, strings.Fields(line)...); status != 2 || !strings.Contains(errs, "did you mean basket?") {
				t.Errorf("%s: status %d: %s", line, status, errs)
			}
		}
		status, out, _ = commandLine(t, vars, "doctor")
		for _, want := range []string{"! basket: 1 of 2 processes run it with other settings than the rest: 1 ", "  do:  if no release is under way"} {
			if status != 1 || !strings.Contains(out, want) {
				t.Errorf("status %d, doctor does not say %q:\n%s", status, want, out)
			}
		}
		// A key that somebody else has written there is shown, and does nothing to the terminal.
		heat("basket:\x1b[2J\n")
		until(t, vars, "hot basket", `"basket:\x1b[2J\n"`)
		srv.Pause()
		t.Cleanup(srv.Continue)
		for _, line := range []string{"stats", "stats basket", "hot", "top"} {
			if status, out, errs := commandLine(t, vars, strings.Fields(line)...); status != 3 || out != "" || strings.Count(errs, "\n") != 1 {
				t.Errorf("%s: status %d, want 3 and one sentence: %s%s", line, status, out, errs)
			}
		}
	})
}

// Where nobody has reported, it is said how to.
func TestNobodyReports(t *testing.T) {
	srv := redistest.Start(t)
	vars := []string{"NEARSIDE_REDIS=" + srv.URL()}
	for _, line := range []string{"stats", "stats basket", "hot", "top -n 1"} {
		if status, _, errs := commandLine(t, vars, strings.Fields(line)...); status != 0 || !strings.Contains(errs, "nearside.Options{Fleet: true}") {
			t.Errorf("%s: status %d: %s", line, status, errs)
		}
	}
	for _, line := range []string{"stats --json", "hot --json"} {
		if status, out, _ := commandLine(t, vars, strings.Fields(line)...); status != 0 || strings.Contains(out, "null") || !json.Valid([]byte(out)) {
			t.Errorf("%s: status %d: %s", line, status, out)
		}
	}
	if _, out, _ := commandLine(t, vars, "doctor"); !strings.Contains(out, "- the settings of processes could not be compared: no process reports") {
		t.Errorf("doctor: %s", out)
	}
	for line, want := range map[string]string{
		"stats --since 2h": "--since: found 2h0m0s, expected 1h or 24h", "hot --limit 0": "--limit: found 0", "hot --for 10s": "--for: found 10s, expected a duration from 1m to 10m", "hot --for 11m": "--for: found 11m0s",
		"top --every 1ms": "--every: found 1ms", "top --times=-1": "--times: found -1",
	} {
		if status, _, errs := commandLine(t, vars, strings.Fields(line)...); status != 2 || !strings.Contains(errs, want) {
			t.Errorf("%s: status %d: %s", line, status, errs)
		}
	}
}

// aView is a fleet at noon.
func aView() *fleet.View {
	at := time.Date(2026, 5, 1, 12, 0, 0, 0, time.Local)
	window := func(reads uint64, loader time.Duration) fleet.Window {
		w := fleet.Window{Span: time.Minute}
		w.Near, w.Store, w.Load = reads*6/10, reads*3/10, reads/10
		w.Stale, w.Errors = reads/1000, reads/10_000
		w.LoadsOK, w.LoadsFailed = reads/10, reads/10_000
		w.Updated, w.Pushed = reads/100, reads/50
		w.Saved = time.Duration(reads*9/10) * loader
		w.NearLatency.Add(300*time.Nanosecond, reads/400)
		w.StoreLatency.Add(250*time.Microsecond, reads*3/10)
		w.LoadLatency.Add(loader, reads/10)
		return w
	}
	point := func(i int, w fleet.Window) fleet.Point {
		p := fleet.Point{Start: at.Add(time.Duration(i-5) * time.Minute), Span: time.Minute, Counts: w.Counts}
		p.Near = p.Near * uint64(i) / 5
		return p
	}
	v := &fleet.View{At: at, Since: at.Add(-time.Hour)}
	for name, w := range map[string]fleet.Window{
		"products": window(834_720, 31*time.Millisecond), "sessions": window(546_000, 2*time.Millisecond), "reports_of_the_finance_department": window(7_200, 900*time.Millisecond),
		"idle": {Span: time.Minute}, "evil\x1b[2J": window(30, time.Millisecond),
	} {
		c := fleet.Cache{Name: name, Now: w, Hour: w, NearEntries: 1200, NearBytes: 3 << 20, Configs: map[string][]string{"8fa1aaaa": {"1", "2"}, "2c07bbbb": {"3"}}}
		c.Hot = []fleet.HotKey{{Key: name + ":1", Reads: 600, PerSecond: 10}, {Key: name + ":2\n", Reads: 3, PerSecond: 0.05}}
		for i := range c.Hot {
			if all := w.Reads(); all > 0 {
				c.Hot[i].Share = float64(c.Hot[i].Reads) / float64(all)
			}
		}
		for i := range 6 {
			c.Minutes = append(c.Minutes, point(i, w))
		}
		v.Names, v.Caches = append(v.Names, name), append(v.Caches, c)
		v.Now.Add(&w)
	}
	v.Names, v.Caches = append(v.Names, "broken"), append(v.Caches, fleet.Cache{Name: "broken", Err: errors.New("the server said\nno")})
	all := make(map[string]fleet.MemberCache)
	for _, name := range v.Names {
		all[name] = fleet.MemberCache{Config: "8fa1aaaa", NearEntries: 600}
	}
	for i, m := range []fleet.Member{{Breaker: "closed"}, {Breaker: "open: the server is away"}, {Ended: true}, {Host: "evil\x1b[2J", Problems: []string{"no right\nto scan"}}} {
		m.ID, m.PID, m.Version, m.Started, m.Seen, m.Caches = fmt.Sprint(i), 4000+i, "v1.2.3", at.Add(-26*time.Hour), at.Add(-time.Duration(i)*20*time.Second), all
		if m.Host == "" {
			m.Host = fmt.Sprintf("web-%d.example.com", i)
		}
		v.Members = append(v.Members, m)
	}
	return v
}

// What is shown of a fleet is compared with what was looked at, in wide and narrow terminals.
func TestFleetTables(t *testing.T) {
	for _, width := range []int{0, 80, 40} {
		var all strings.Builder
		shown := func(title string, f func(w *env)) {
			var out bytes.Buffer
			w := &env{out: &out, err: &out, width: width, lookup: func(string) string { return "" }}
			f(w)
			fmt.Fprintf(&all, "== %s\n%s\n", title, out.String())
			for line := range strings.Lines(out.String()) {
				if n := len([]rune(strings.TrimSuffix(line, "\n"))); width > 0 && n > width {
					t.Errorf("%d columns in %d: %s", n, width, line)
				}
			}
		}
		v := aView()
		cache := func(name string) *fleet.Cache {
			for i := range v.Caches {
				if v.Caches[i].Name == name {
					return &v.Caches[i]
				}
			}
			return nil
		}
		shown("stats", func(w *env) { w.allStats(v, 0) })
		shown("stats products --since 1h", func(w *env) { w.cacheStats(v, cache("products"), span(time.Hour)) })
		shown("stats idle", func(w *env) { w.cacheStats(v, cache("idle"), 0) })
		shown("hot", func(w *env) { w.hotKeys(ordered(v.Caches, 0, nil), 20) })
		p := topPage{source: "redis at 127.0.0.1:6379", view: v}
		page := func(w *env) { fmt.Fprintln(w.out, strings.Join(p.lines(w, 14), "\n")) }
		shown("top", page)
		p.take(reading{err: errors.New("redis at 127.0.0.1:6379 does not answer")})
		p.failed = v.At.Add(time.Second)
		p.press('p')
		p.press('/')
		for _, key := range "PROx\x7f" {
			p.press(key)
		}
		shown("top, Redis away, paused, /PRO", page)
		asGolden(t, fmt.Sprintf("fleet%d.txt", width), all.String())
	}
}

func TestSpans(t *testing.T) {
	t.Parallel()
	for got, want := range map[string]string{
		ago(61 * time.Second): "1m", ago(25 * time.Hour): "25h", ago(72 * time.Hour): "3d",
		spark(nil, 9): "", spark([]float64{0, 0}, 9): "▁▁",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if got := spark([]float64{9, 1, 4, 8, 0.01}, 4); got != "▂▄█▂" {
		t.Errorf("got %s", got)
	}
}

func TestOrders(t *testing.T) {
	t.Parallel()
	v := aView()
	for i, want := range []string{"products", "evil\x1b[2J", "reports_of_the_finance_department", "products", "products", "products", "products", "broken"} {
		if got := ordered(v.Caches, 0, orders[i]); got[0].Name != want && !(i == 1 && got[0].Now.HitRatio() <= got[1].Now.HitRatio() && got[0].Now.Reads() > 0) {
			t.Errorf("by %s: %q is first, want %q", called(orders[i]), got[0].Name, want)
		} else if i < len(orders)-1 && got[len(got)-1].Name != "broken" {
			t.Errorf("by %s: what could not be read is not last", called(orders[i]))
		}
	}
}
