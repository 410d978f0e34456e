package fleet

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"os"
	"reflect"
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
	w := Window{Span: time.Minute, Counts: Counts{
		Near: 1, Store: 2, Load: 3, Stale: 4, Negative: 5, Errors: 6, LoadsOK: 7, LoadsAbsent: 8, LoadsFailed: 9, LoadsTimedOut: 10,
		Early: 11, Coalesced: 12, CoalescedFleet: 13, Saved: 14 * time.Microsecond,
		Invalidated: 15, Updated: 16, Mutated: 17, Set: 18, Pushed: 19, PushesLost: 20, BytesRead: 21, BytesWritten: 22,
		Unfilled: 23, TooLarge: 24, CodecErrors: 25, StoreErrors: 26, WritesDeferred: 27, Dropped: 28, Reread: 29, WritesInDoubt: 30,
	}}
	w.NearLatency.Add(tally.Middle(3), 5)
	w.StoreLatency.Add(tally.Middle(13), 5)
	w.LoadLatency.Add(tally.Middle(23), 5)
	point := Point{
		Start: at, Span: time.Minute, Counts: w.Counts, NearLatency: Quantiles{P50: 7},
		StoreLatency: Quantiles{123_456, 223_456}, LoadLatency: Quantiles{10 * time.Millisecond, 20 * time.Millisecond},
	}
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
	old, err := os.ReadFile("testdata/view.json") // as versions wrote it whose Window was an array of counts
	if err != nil {
		t.Fatal(err)
	}
	var compact bytes.Buffer
	if err := json.Compact(&compact, old); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(compact.String(), string(text)); diff != "" {
		t.Errorf("what is written differs (-want +got):\n%s", diff)
	}
	var got View
	if err := json.Unmarshal(old, &got); err != nil {
		t.Fatal(err)
	}
	same := cmp.Comparer(func(a, b error) bool { return (a == nil) == (b == nil) && (a == nil || a.Error() == b.Error()) })
	if diff := cmp.Diff(v, got, same, cmp.AllowUnexported(Histogram{})); diff != "" {
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
	if err := json.Unmarshal([]byte(`{"counts":{"of a later version":3,"near":4},"latency":{"near":{"buckets":{"999":1,"x":2,"3":4}}}}`), &w); err != nil || w.Near != 4 || w.NearLatency.N() != 4 {
		t.Errorf("%v: got %v", err, w)
	}
}

func TestQuantileOfAllReads(t *testing.T) {
	t.Parallel()
	var w Window
	if d := w.Quantile(0.5); d != 0 {
		t.Errorf("of nothing: %v", d)
	}
	w.Near, w.Store, w.Load = 960, 25, 15
	w.NearLatency.Add(tally.Middle(2), 4) // one in 240 was measured
	w.StoreLatency.Add(tally.Middle(40), 50)
	w.LoadLatency.Add(tally.Middle(80), 10)
	for q, want := range map[float64]int{0.5: 2, 0.95: 2, 0.97: 40, 0.98: 40, 0.99: 80, 1: 80} {
		if d := w.Quantile(q); d != tally.Middle(want) {
			t.Errorf("%v: got %v, want %v", q, d, tally.Middle(want))
		}
	}
}

func TestAdd(t *testing.T) {
	t.Parallel()
	one := Window{Counts: Counts{Near: 1, LoadsOK: 2, WritesInDoubt: 3, Saved: math.MaxInt64 / 3 * 2}, Span: time.Minute}
	one.StoreLatency.Add(time.Millisecond, 4)
	sum := Window{Span: time.Hour}
	sum.Add(&one)
	sum.Add(&one)
	if sum.Near != 2 || sum.Loads() != 4 || sum.WritesInDoubt != 6 || sum.Saved != math.MaxInt64 || sum.StoreLatency.N() != 8 || sum.Span != time.Hour {
		t.Errorf("the sum is %+v", sum)
	}
	for end, n := range sum.StoreLatency.Buckets() {
		if end < time.Millisecond || end > 1200*time.Microsecond || n != 8 {
			t.Errorf("%d in the bucket up to %v", n, end)
		}
	}
	// Every field is added.
	every := reflect.ValueOf(&Counts{}).Elem()
	for i := range every.NumField() {
		if every.Field(i).CanUint() {
			every.Field(i).SetUint(uint64(i) + 1)
		} else {
			every.Field(i).SetInt(int64(i) + 1)
		}
	}
	from, got := every.Interface().(Counts), Counts{}
	if got.Add(&from); got != from {
		t.Errorf("got %+v, want %+v", got, from)
	}
}
