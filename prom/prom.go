// Package prom shows what caches count to Prometheus.
//
//	prometheus.MustRegister(prom.New(client))
//
// Nothing is counted for it: a scrape reads Client.Stats. All metrics are of this process; Prometheus adds up the fleet. Labels
// are names of caches and words of this package, never keys. Those to begin with:
//
//	nearside_requests_total{cache, outcome}      reads: near, store, load, stale, negative, error
//	nearside_loads_total{cache, result}          calls of loaders: ok, notfound, error, timeout
//	nearside_load_duration_seconds{cache}        histogram
//	nearside_invalidations_total{cache, cause}   keys, by what removed them
//	nearside_deferred_invalidations              keys whose invalidation Redis does not have yet
//	nearside_store_up                            1 if the store answers
//
// docs/metrics.md has all of them, and queries.
//
// Two clients in one process have the same metrics: give them a label each, with prometheus.WrapRegistererWith.
package prom

import (
	"context"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/nearside/nearside"
)

// Source has the numbers. A *nearside.Client is one.
type Source interface {
	Stats(context.Context) nearside.Stats
}

// New returns a collector of what a client counts.
func New(s Source) prometheus.Collector { return collector{s} }

type collector struct{ source Source }

// Describe tells all that Collect may send.
func (collector) Describe(out chan<- *prometheus.Desc) {
	for _, f := range ofCaches {
		out <- f.desc
	}
	for _, f := range ofClient {
		out <- f.desc
	}
	for _, desc := range []*prometheus.Desc{loads, tiers, breakers} {
		out <- desc
	}
}

// Collect reads the numbers, and waits for the store to tell how full it is for up to 1 s.
func (c collector) Collect(out chan<- prometheus.Metric) {
	s := c.source.Stats(context.Background())
	for name, cache := range s.Caches {
		for _, f := range ofCaches {
			for _, r := range f.rows {
				labels := append([]string{name}, r.labels...)
				out <- prometheus.MustNewConstMetric(f.desc, f.kind, r.of(&cache), labels...)
			}
		}
		out <- histogram(loads, &cache.LoadLatency, usual, name)
		out <- histogram(tiers, &cache.StoreLatency, usual, name, "store")
		out <- histogram(tiers, &cache.NearLatency, short, name, "near")
	}
	for _, f := range ofClient {
		for _, r := range f.rows {
			if n, known := r.of(&s); known {
				out <- prometheus.MustNewConstMetric(f.desc, f.kind, n, r.labels...)
			}
		}
	}
	for _, b := range s.Breakers {
		out <- prometheus.MustNewConstMetric(breakers, prometheus.GaugeValue, states[b.State], b.Node)
	}
}

// states are the numbers for those of a breaker: the higher, the worse.
var states = map[string]float64{"closed": 0, "ramping": 1, "open": 2}
