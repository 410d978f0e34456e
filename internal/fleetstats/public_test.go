package fleetstats

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/tally"
)

// Each count and each bucket stands in the field of a window whose name in JSON is that of package tally.
func TestWindowHasAllThatIsCounted(t *testing.T) {
	var in tally.Tally
	for c := range in.Counts {
		in.Counts[c] = 1000 + uint64(c)
	}
	for tier := range in.Latency {
		for bucket := range in.Latency[tier] {
			in.Latency[tier][bucket] = uint64(1000*tier + bucket)
		}
	}
	var w fleet.Window
	setWindow(&w, &in)
	if out := tallyOf(t, w); out != in {
		t.Errorf("counted was %v, shown is %v", in, out)
	}
	if w.Reads() != in.Reads() || w.HitRatio() != in.HitRatio() || w.Saved != 1013*time.Microsecond {
		t.Errorf("reads %d, hits %v, saved %v", w.Reads(), w.HitRatio(), w.Saved)
	}
	h := newHistory()
	h.add(100, &in)
	minutes := h.cache("user", fleet.Query{}, time.Unix(100*60+30, 0), time.Time{}).Minutes
	p := minutes[len(minutes)-1]
	if p.Counts != w.Counts {
		t.Errorf("a point has %+v", p.Counts)
	}
	for tier, q := range []fleet.Quantiles{p.NearLatency, p.StoreLatency, p.LoadLatency} {
		if l := &in.Latency[tier]; q.P50 != l.Quantile(0.5) || q.P99 != l.Quantile(0.99) {
			t.Errorf("%v: the quantiles are %v", tally.Tier(tier), q)
		}
	}
}

// tallyOf reads the JSON of a window by the names of package tally.
func tallyOf(t testing.TB, w fleet.Window) (out tally.Tally) {
	t.Helper()
	text, err := json.Marshal(w)
	if err != nil {
		t.Fatal(err)
	}
	var in struct {
		Counts  map[string]uint64
		Latency map[string]struct{ Buckets map[string]uint64 }
	}
	if err := json.Unmarshal(text, &in); err != nil {
		t.Fatal(err)
	}
	for word, n := range in.Counts {
		c, ok := tally.Named(word)
		if !ok {
			t.Fatalf("nothing is called %q", word)
		}
		out.Counts[c] = n
	}
	for tier := range out.Latency {
		for bucket, n := range in.Latency[tally.Tier(tier).String()].Buckets {
			i, err := strconv.Atoi(bucket)
			if err != nil {
				t.Fatal(err)
			}
			out.Latency[tier][i] = n
		}
	}
	return out
}
