package prom_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	dto "github.com/prometheus/client_model/go"
	"go.uber.org/goleak"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/prom"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m, redistest.Delayed()...) }

func open(t testing.TB, url string) *nearside.Client {
	t.Helper()
	c, err := nearside.Open(context.Background(), url, nearside.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// scrape returns all that a registry with the collector has, by name and labels: nearside_near_entries{cache="user"}.
func scrape(t testing.TB, s prom.Source) map[string]*dto.Metric {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(prom.New(s))
	if problems, err := testutil.GatherAndLint(r); err != nil || len(problems) > 0 {
		t.Errorf("lint: %v, %v", problems, err)
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	out := make(map[string]*dto.Metric)
	for _, f := range families {
		for _, m := range f.Metric {
			var labels []string
			for _, l := range m.Label {
				labels = append(labels, fmt.Sprintf("%s=%q", l.GetName(), l.GetValue()))
			}
			out[f.GetName()+"{"+strings.Join(labels, ",")+"}"] = m
		}
	}
	return out
}

func number(m *dto.Metric) float64 {
	switch {
	case m == nil:
		return math.NaN()
	case m.Counter != nil:
		return m.Counter.GetValue()
	}
	return m.Gauge.GetValue()
}

func TestCollector(t *testing.T) {
	server := redistest.Start(t)
	c := open(t, server.URL())
	users := nearside.New(c, "user", nearside.Config[int64, string]{
		Load: func(_ context.Context, id int64) (string, error) {
			switch {
			case id < 0:
				return "", nearside.ErrNotFound
			case id == 0:
				return "", errors.New("refused")
			}
			return "Ada", nil
		},
	})
	ctx := t.Context()
	for _, id := range []int64{1, 1, 1, -1, 0} {
		users.Get(ctx, id)
	}
	users.Invalidate(ctx, 1)
	users.Set(ctx, 1, "Bob")
	users.Update(ctx, 1, func(context.Context) (string, error) { return "Eve", nil })
	c.Mutate(ctx, func(context.Context) error { return nil }, users.Key(1), users.Key(2))

	got := scrape(t, c)
	for name, want := range map[string]float64{
		`nearside_requests_total{cache="user",outcome="store"}`:         2,
		`nearside_requests_total{cache="user",outcome="load"}`:          2,
		`nearside_requests_total{cache="user",outcome="error"}`:         1,
		`nearside_requests_total{cache="user",outcome="near"}`:          0,
		`nearside_loads_total{cache="user",result="ok"}`:                1,
		`nearside_loads_total{cache="user",result="notfound"}`:          1,
		`nearside_loads_total{cache="user",result="error"}`:             1,
		`nearside_invalidations_total{cache="user",cause="invalidate"}`: 1,
		`nearside_invalidations_total{cache="user",cause="set"}`:        1,
		`nearside_invalidations_total{cache="user",cause="update"}`:     1,
		`nearside_invalidations_total{cache="user",cause="mutate"}`:     2,
		`nearside_bytes_total{cache="user",dir="read"}`:                 2 * 5,
		`nearside_bytes_total{cache="user",dir="written"}`:              5,
		`nearside_deferred_invalidations{}`:                             0,
		`nearside_store_up{}`:                                           1,
		fmt.Sprintf(`nearside_breaker_state{node="%s"}`, node(got)):     0,
	} {
		if n := number(got[name]); n != want {
			t.Errorf("%s is %v, want %v", name, n, want)
		}
	}
	for name, want := range map[string]uint64{
		`nearside_load_duration_seconds{cache="user"}`:              3,
		`nearside_tier_duration_seconds{cache="user",tier="store"}`: 5,
		`nearside_tier_duration_seconds{cache="user",tier="near"}`:  0,
	} {
		if h := got[name].GetHistogram(); h.GetSampleCount() != want || h.GetSchema() != 2 || len(h.GetBucket()) == 0 {
			t.Errorf("%s is %v, want %d", name, h, want)
		}
	}
	if saved := number(got[`nearside_load_seconds_saved_total{cache="user"}`]); saved <= 0 {
		t.Errorf("saved: %v", saved)
	}
	for name := range got {
		if strings.Contains(name, "user:") {
			t.Errorf("a key is in a label: %s", name)
		}
	}

	server.Stop()
	eventually.True(t, "the breaker is open", func() bool {
		users.Get(ctx, 1)
		got = scrape(t, c)
		return number(breaker(got)) == 2
	})
	if got[`nearside_store_keys{}`] != nil || number(got[`nearside_store_up{}`]) != 0 {
		t.Errorf("of a store that is away: %v keys, up %v", got[`nearside_store_keys{}`], number(got[`nearside_store_up{}`]))
	}
}

// breaker is that of the only node.
func breaker(got map[string]*dto.Metric) *dto.Metric {
	return got[fmt.Sprintf(`nearside_breaker_state{node="%s"}`, node(got))]
}

// node is the only node.
func node(got map[string]*dto.Metric) string {
	for name := range got {
		if node, ok := strings.CutPrefix(name, `nearside_breaker_state{node="`); ok {
			return strings.TrimSuffix(node, `"}`)
		}
	}
	return ""
}

// told is a source that says what a test tells it.
type told nearside.Stats

func (s told) Stats(context.Context) nearside.Stats { return nearside.Stats(s) }

// The classic buckets are those of the log buckets, as far as these can tell.
func TestHistogram(t *testing.T) {
	var s nearside.CacheStats
	durations := []time.Duration{30 * time.Microsecond, 80 * time.Microsecond, 80 * time.Microsecond, 3 * time.Millisecond, 700 * time.Millisecond, 40 * time.Second}
	var sum float64
	for _, d := range durations {
		s.LoadLatency.Add(d, 1)
		sum += d.Seconds()
	}
	h := scrape(t, told{Caches: map[string]nearside.CacheStats{"user": s}})[`nearside_load_duration_seconds{cache="user"}`].GetHistogram()
	below := make(map[float64]uint64)
	for _, b := range h.Bucket {
		below[b.GetUpperBound()] = b.GetCumulativeCount()
	}
	for bound, want := range map[float64]uint64{50e-6: 1, 100e-6: 3, 1e-3: 3, 5e-3: 4, 0.5: 4, 1: 5, 10: 5} {
		if below[bound] != want {
			t.Errorf("%d are below %v s, want %d", below[bound], bound, want)
		}
	}
	if h.GetSampleCount() != 6 || math.Abs(h.GetSampleSum()-sum) > 0.1*sum {
		t.Errorf("%d durations of %v s, want 6 of %v", h.GetSampleCount(), h.GetSampleSum(), sum)
	}
	// Bucket i of the native one ends at 2^(i/4) s.
	var middles []float64
	i, n := int32(0), int64(0)
	at := 0
	for _, span := range h.PositiveSpan {
		i += span.GetOffset()
		for range span.GetLength() {
			n += h.PositiveDelta[at]
			at++
			for range n {
				middles = append(middles, math.Exp2(float64(i)/4-1./8))
			}
			i++
		}
	}
	if len(middles) != len(durations) {
		t.Fatalf("the native histogram has %v", middles)
	}
	for i, d := range durations {
		if ratio := middles[i] / d.Seconds(); ratio < 0.8 || ratio > 1.25 { // two roundings of half a bucket
			t.Errorf("%v is shown as %v s", d, middles[i])
		}
	}
}

func TestTwoClients(t *testing.T) {
	r := prometheus.NewPedanticRegistry()
	for _, name := range []string{"a", "b"} {
		if err := prometheus.WrapRegistererWith(prometheus.Labels{"client": name}, r).Register(prom.New(open(t, "memory:"))); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := r.Gather(); err != nil {
		t.Fatal(err)
	}
}

func Example() {
	client, err := nearside.Open(context.Background(), "memory:", nearside.Options{})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer client.Close()
	registry := prometheus.NewRegistry()
	registry.MustRegister(prom.New(client))
	n, err := testutil.GatherAndCount(registry, "nearside_store_keys")
	fmt.Println(n, err)
	// Output: 1 <nil>
}
