package fleet

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"time"
	"unicode/utf8"
)

// The JSON of a View is for scripts, and is read again by commands that ask a running serve. Counts have the names of words, and
// zeros are left out. Durations are milliseconds. What can be computed from the rest, such as reads_per_second, is written and not
// read.

// words are the counts by their names in JSON, all but saved.
var words = []struct {
	name  string
	count func(*Counts) *uint64
}{
	{"near", func(c *Counts) *uint64 { return &c.Near }},
	{"store", func(c *Counts) *uint64 { return &c.Store }},
	{"load", func(c *Counts) *uint64 { return &c.Load }},
	{"stale", func(c *Counts) *uint64 { return &c.Stale }},
	{"negative", func(c *Counts) *uint64 { return &c.Negative }},
	{"error", func(c *Counts) *uint64 { return &c.Errors }},
	{"load_ok", func(c *Counts) *uint64 { return &c.LoadsOK }},
	{"load_notfound", func(c *Counts) *uint64 { return &c.LoadsAbsent }},
	{"load_error", func(c *Counts) *uint64 { return &c.LoadsFailed }},
	{"load_timeout", func(c *Counts) *uint64 { return &c.LoadsTimedOut }},
	{"load_early", func(c *Counts) *uint64 { return &c.Early }},
	{"coalesced_process", func(c *Counts) *uint64 { return &c.Coalesced }},
	{"coalesced_fleet", func(c *Counts) *uint64 { return &c.CoalescedFleet }},
	{"by_invalidate", func(c *Counts) *uint64 { return &c.Invalidated }},
	{"by_update", func(c *Counts) *uint64 { return &c.Updated }},
	{"by_mutate", func(c *Counts) *uint64 { return &c.Mutated }},
	{"by_set", func(c *Counts) *uint64 { return &c.Set }},
	{"by_push", func(c *Counts) *uint64 { return &c.Pushed }},
	{"by_lost", func(c *Counts) *uint64 { return &c.PushesLost }},
	{"bytes_read", func(c *Counts) *uint64 { return &c.BytesRead }},
	{"bytes_written", func(c *Counts) *uint64 { return &c.BytesWritten }},
	{"unfilled", func(c *Counts) *uint64 { return &c.Unfilled }},
	{"too_large", func(c *Counts) *uint64 { return &c.TooLarge }},
	{"codec_error", func(c *Counts) *uint64 { return &c.CodecErrors }},
	{"store_error", func(c *Counts) *uint64 { return &c.StoreErrors }},
	{"deferred", func(c *Counts) *uint64 { return &c.WritesDeferred }},
	{"dropped", func(c *Counts) *uint64 { return &c.Dropped }},
	{"reread", func(c *Counts) *uint64 { return &c.Reread }},
	{"in_doubt", func(c *Counts) *uint64 { return &c.WritesInDoubt }},
}

// saved is the name of Counts.Saved, in microseconds.
const saved = "saved_us"

type windowJSON struct {
	SpanMS  int64              `json:"span_ms"`
	Reads   uint64             `json:"reads"`
	Rate    float64            `json:"reads_per_second"`
	Hit     float64            `json:"hit_ratio"`
	Near    float64            `json:"near_ratio"`
	P50     float64            `json:"p50_ms"`
	P99     float64            `json:"p99_ms"`
	Loads   float64            `json:"loads_per_second"`
	Saved   float64            `json:"saved_seconds_per_second"`
	Inval   float64            `json:"invalidations_per_second"`
	Counts  map[string]uint64  `json:"counts"`
	Latency map[string]latency `json:"latency"` // by tier
}

type latency struct {
	N       uint64            `json:"measured"`
	P50     float64           `json:"p50_ms"`
	P99     float64           `json:"p99_ms"`
	Buckets map[string]uint64 `json:"buckets"` // by number
}

// MarshalJSON writes the window, with what its methods return.
func (w Window) MarshalJSON() ([]byte, error) {
	out := windowJSON{
		SpanMS: w.Span.Milliseconds(), Reads: w.Reads(), Rate: w.Rate(w.Reads()), Hit: w.HitRatio(), Near: w.Share(w.Near),
		P50: millis(w.Quantile(0.5)), P99: millis(w.Quantile(0.99)), Loads: w.Rate(w.Loads()), Saved: w.SavedPerSecond(),
		Inval: w.Rate(w.Invalidations()), Counts: countsByName(&w.Counts), Latency: make(map[string]latency),
	}
	for name, h := range w.latencies() {
		l := latency{N: h.N(), P50: millis(h.Quantile(0.5)), P99: millis(h.Quantile(0.99)), Buckets: make(map[string]uint64)}
		if l.N == 0 {
			continue
		}
		for i, b := range h.counts {
			if b != 0 {
				l.Buckets[strconv.Itoa(i)] = b
			}
		}
		out.Latency[name] = l
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads the window. It ignores names that it does not know, which a later version may have written.
func (w *Window) UnmarshalJSON(b []byte) error {
	var in windowJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*w = Window{Span: time.Duration(in.SpanMS) * time.Millisecond, Counts: namedCounts(in.Counts)}
	for name, h := range w.latencies() {
		for bucket, n := range in.Latency[name].Buckets {
			if i, err := strconv.Atoi(bucket); err == nil && i >= 0 && i < len(h.counts) {
				h.counts[i] = n
			}
		}
	}
	return nil
}

// latencies are the histograms by their names in JSON.
func (w *Window) latencies() map[string]*Histogram {
	return map[string]*Histogram{"near": &w.NearLatency, "store": &w.StoreLatency, "load": &w.LoadLatency}
}

type pointJSON struct {
	Start  time.Time          `json:"start"`
	SpanMS int64              `json:"span_ms"`
	Counts map[string]uint64  `json:"counts,omitempty"`
	P50    map[string]float64 `json:"p50_ms,omitempty"` // by tier
	P99    map[string]float64 `json:"p99_ms,omitempty"`
}

// MarshalJSON writes the point.
func (p Point) MarshalJSON() ([]byte, error) {
	out := pointJSON{p.Start, p.Span.Milliseconds(), countsByName(&p.Counts), make(map[string]float64), make(map[string]float64)}
	for name, q := range p.latencies() {
		if q.P50 != 0 {
			out.P50[name] = millis(q.P50)
		}
		if q.P99 != 0 {
			out.P99[name] = millis(q.P99)
		}
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads the point. It ignores names that it does not know.
func (p *Point) UnmarshalJSON(b []byte) error {
	var in pointJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*p = Point{Start: in.Start, Span: time.Duration(in.SpanMS) * time.Millisecond, Counts: namedCounts(in.Counts)}
	for name, q := range p.latencies() {
		*q = Quantiles{duration(in.P50[name]), duration(in.P99[name])}
	}
	return nil
}

// latencies are the quantiles by their names in JSON.
func (p *Point) latencies() map[string]*Quantiles {
	return map[string]*Quantiles{"near": &p.NearLatency, "store": &p.StoreLatency, "load": &p.LoadLatency}
}

type hotKeyJSON struct {
	Key       string  `json:"key"`
	Base64    string  `json:"key_base64,omitempty"` // of a key that is not UTF-8, which Key cannot have as it is
	Reads     uint64  `json:"reads"`
	PerSecond float64 `json:"reads_per_second"`
	Share     float64 `json:"share"`
}

// MarshalJSON writes the key.
func (k HotKey) MarshalJSON() ([]byte, error) {
	out := hotKeyJSON{Key: k.Key, Reads: k.Reads, PerSecond: k.PerSecond, Share: k.Share}
	if !utf8.ValidString(k.Key) {
		out.Base64 = base64.StdEncoding.EncodeToString([]byte(k.Key))
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads the key.
func (k *HotKey) UnmarshalJSON(b []byte) error {
	var in hotKeyJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*k = HotKey{in.Key, in.Reads, in.PerSecond, in.Share}
	if in.Base64 != "" {
		raw, err := base64.StdEncoding.DecodeString(in.Base64)
		k.Key = string(raw)
		return err
	}
	return nil
}

// plainCache is a Cache without its methods.
type plainCache Cache

type cacheJSON struct {
	*plainCache
	Error string `json:"error,omitempty"`
}

// MarshalJSON writes the cache, and Err as its text.
func (c Cache) MarshalJSON() ([]byte, error) {
	out := cacheJSON{plainCache: (*plainCache)(&c)}
	if c.Err != nil {
		out.Error = c.Err.Error()
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads the cache.
func (c *Cache) UnmarshalJSON(b []byte) error {
	in := cacheJSON{plainCache: (*plainCache)(c)}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	if in.Error != "" {
		c.Err = errors.New(in.Error)
	}
	return nil
}

func countsByName(c *Counts) map[string]uint64 {
	out := make(map[string]uint64)
	for _, w := range words {
		if n := *w.count(c); n != 0 {
			out[w.name] = n
		}
	}
	if n := savedMicros(c); n != 0 {
		out[saved] = n
	}
	return out
}

func namedCounts(from map[string]uint64) (c Counts) {
	for _, w := range words {
		*w.count(&c) = from[w.name]
	}
	c.Saved = time.Duration(min(from[saved], math.MaxInt64/1000)) * time.Microsecond
	return c
}

func savedMicros(c *Counts) uint64 { return uint64(max(c.Saved.Microseconds(), 0)) }

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func duration(ms float64) time.Duration { return time.Duration(ms*float64(time.Millisecond) + 0.5) }
