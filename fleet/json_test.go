package fleet

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/nearside/nearside/internal/tally"
)

// A view that was written is read as it was, and has the words that scripts look for.
func TestViewAsJSON(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_700_000_000, 0).UTC()
	w := Window{Span: time.Minute}
	for c := range tally.Counts {
		w.Counts[c] = uint64(c) + 1
	}
	for tier := range w.Latency {
		w.Latency[tier][10*tier+3] = 5
	}
	point := Point{Start: at, Span: time.Minute, Counts: w.Counts, P50: [tally.Tiers]time.Duration{7, 123_456, 10 * time.Millisecond}}
	v := View{
		At: at, Since: at.Add(-time.Hour), Names: []string{"gone", "user"}, Now: w, Hour: w,
		Caches: []Cache{
			{Name: "gone", Err: errors.New("the server has gone away")},
			{
				Name: "user", Now: w, Hour: w, Minutes: []Point{point, {Start: at, Span: time.Minute}},
				Hot:         []HotKey{{"user:1", 60, 1, 0.6}, {"user:\xff\x1b", 30, 0.5, 0.3}},
				NearEntries: 7, NearBytes: 8, Configs: map[string][]string{"aaaa": {"1"}, "bbbb": {"2", "3"}},
			},
		},
		Members: []Member{{ID: "1", Host: "web-1", Seen: at, Started: at, Caches: map[string]MemberCache{"user": {Config: "aaaa"}}}},
	}
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var got View
	if err := json.Unmarshal(text, &got); err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b error) bool { return (a == nil) == (b == nil) && (a == nil || a.Error() == b.Error()) })
	if diff := cmp.Diff(v, got, same); diff != "" {
		t.Errorf("what is read differs (-want +got):\n%s", diff)
	}
	for _, want := range []string{`"span_ms":60000`, `"reads":21`, `"reads_per_second":0.35`, `"load_ok":7`, `"key_base64":"dXNlcjr/Gw=="`, `"error":"the server has gone away"`, `"latency":{"load":{"measured":5,`} {
		if !strings.Contains(string(text), want) {
			t.Errorf("no %s in %s", want, text)
		}
	}
	if strings.Contains(string(text), `"day"`) {
		t.Error("a window that was not asked for is written")
	}
	if err := json.Unmarshal([]byte(`{"counts":{"of a later version":3,"near":4},"latency":{"near":{"buckets":{"999":1,"x":2,"3":4}}}}`), &w); err != nil || w.Counts[tally.Near] != 4 || w.Latency[0].N() != 4 {
		t.Errorf("%v: got %v", err, w)
	}
}

func TestQuantileOfAllReads(t *testing.T) {
	t.Parallel()
	var w Window
	if d := w.Quantile(0.5); d != 0 {
		t.Errorf("of nothing: %v", d)
	}
	w.Counts[tally.Near], w.Latency[tally.NearTier][2] = 960, 4 // one in 240 was measured
	w.Counts[tally.Store], w.Latency[tally.StoreTier][40] = 25, 50
	w.Counts[tally.Load], w.Latency[tally.LoadTier][80] = 15, 10
	for q, want := range map[float64]int{0.5: 2, 0.95: 2, 0.97: 40, 0.98: 40, 0.99: 80, 1: 80} {
		if d := w.Quantile(q); d != tally.Middle(want) {
			t.Errorf("%v: got %v, want %v", q, d, tally.Middle(want))
		}
	}
}
