package fleet

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/nearside/nearside/internal/tally"
)

// A View as JSON is for people's scripts, and is read again by who asks a running serve. Numbers are called as package tally
// names them, and what is zero is left out; durations are milliseconds. What can be
// computed from the rest (reads_per_second and the like) is written too, and not read.

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

// MarshalJSON writes the window with what it says.
func (w Window) MarshalJSON() ([]byte, error) {
	out := windowJSON{
		SpanMS: w.Span.Milliseconds(), Reads: w.Reads(), Rate: w.Rate(w.Reads()), Hit: w.HitRatio(), Near: w.Share(tally.Near),
		P50: millis(w.Quantile(0.5)), P99: millis(w.Quantile(0.99)), Loads: w.Rate(w.Loads()), Saved: w.SavedPerSecond(),
		Inval: w.Rate(w.Invalidations()), Counts: words(&w.Counts), Latency: make(map[string]latency),
	}
	for tier := range w.Latency {
		h := &w.Latency[tier]
		l := latency{N: h.N(), P50: millis(h.Quantile(0.5)), P99: millis(h.Quantile(0.99)), Buckets: make(map[string]uint64)}
		if l.N == 0 {
			continue
		}
		for i, b := range h {
			if b != 0 {
				l.Buckets[strconv.Itoa(i)] = b
			}
		}
		out.Latency[tally.Tier(tier).String()] = l
	}
	return json.Marshal(out)
}

// UnmarshalJSON reads the window. What it does not know is left out: a later version has written it.
func (w *Window) UnmarshalJSON(b []byte) error {
	var in windowJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*w = Window{Span: time.Duration(in.SpanMS) * time.Millisecond}
	counts(&w.Counts, in.Counts)
	for tier := range w.Latency {
		for bucket, n := range in.Latency[tally.Tier(tier).String()].Buckets {
			if i, err := strconv.Atoi(bucket); err == nil && i >= 0 && i < tally.Buckets {
				w.Latency[tier][i] = n
			}
		}
	}
	return nil
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
	return json.Marshal(pointJSON{p.Start, p.Span.Milliseconds(), words(&p.Counts), byTier(&p.P50), byTier(&p.P99)})
}

// UnmarshalJSON reads the point.
func (p *Point) UnmarshalJSON(b []byte) error {
	var in pointJSON
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*p = Point{Start: in.Start, Span: time.Duration(in.SpanMS) * time.Millisecond}
	counts(&p.Counts, in.Counts)
	for tier := range p.P50 {
		name := tally.Tier(tier).String()
		p.P50[tier], p.P99[tier] = duration(in.P50[name]), duration(in.P99[name])
	}
	return nil
}

type hotKeyJSON struct {
	Key       string  `json:"key"`
	Base64    string  `json:"key_base64,omitempty"` // of a key that is no UTF-8, and so not quite the one above
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

func words(counts *[tally.Counts]uint64) map[string]uint64 {
	out := make(map[string]uint64)
	for c, n := range counts {
		if n != 0 {
			out[tally.Count(c).String()] = n
		}
	}
	return out
}

func counts(into *[tally.Counts]uint64, from map[string]uint64) {
	for word, n := range from {
		if c, ok := tally.Named(word); ok {
			into[c] = n
		}
	}
}

func byTier(of *[tally.Tiers]time.Duration) map[string]float64 {
	out := make(map[string]float64)
	for tier, d := range of {
		if d != 0 {
			out[tally.Tier(tier).String()] = millis(d)
		}
	}
	return out
}

func millis(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func duration(ms float64) time.Duration { return time.Duration(ms*float64(time.Millisecond) + 0.5) }
