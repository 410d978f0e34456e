package ops

import (
	"cmp"
	"context"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/check"
	"github.com/nearside/nearside/internal/store"
)

// Report is what Doctor found, the worst first.
type Report struct {
	Source   string          `json:"source"`
	Findings []check.Finding `json:"findings"`
}

// Healthy reports whether there is nothing to mend.
func (r Report) Healthy() bool {
	return !slices.ContainsFunc(r.Findings, check.Finding.Bad)
}

const (
	examineLimit = 10 * time.Second
	sampleFor    = 2 * time.Second // of the keys of each cache
	samplesFor   = time.Minute     // of all of them
	sampleKeys   = 1000            // of each cache
)

// facts is all that the checks look at.
type facts struct {
	servers  check.Servers // looked at some seconds apart
	probes   []store.Probe
	problems []string
	samples  []sample
	declared bool // the samples are those of declared caches
	user     string
	fleet    *fleet.View // nil, with fleetErr: it could not be read
	fleetErr error
}

// Doctor gathers the facts, and checks them.
func (d *Direct) Doctor(ctx context.Context, caches []string) (Report, error) {
	names, err := d.examined(caches)
	if err != nil {
		return Report{}, err
	}
	r := Report{Source: d.Source}
	short, cancel := context.WithTimeout(ctx, examineLimit)
	defer cancel()
	began := time.Now()
	f := facts{servers: check.Servers{Before: d.Store.Server(short)}, declared: d.Declared != nil, user: cmp.Or(d.User, "default")}
	if n := f.servers.Before.Nodes; len(n) == 1 && n[0].Err != nil && d.Store.Ping(short) != nil {
		return r, d.failed(n[0].Err)
	}
	f.probes = d.Store.Probe(short)
	for _, name := range names {
		s, err := d.sample(ctx, name, min(sampleFor, samplesFor/time.Duration(len(names))))
		if err != nil {
			return r, err
		}
		f.samples = append(f.samples, s)
	}
	if rest := time.Second - time.Since(began); rest > 0 && len(f.probes) > 0 { // what goes on shows in the difference
		select {
		case <-time.After(rest):
		case <-ctx.Done():
			return r, ctx.Err()
		}
	}
	again, cancel := context.WithTimeout(ctx, examineLimit)
	defer cancel()
	f.servers.After, f.servers.Apart = d.Store.Server(again), time.Since(began)
	f.problems = d.Store.Problems()
	if d.Reader != nil {
		f.fleet, f.fleetErr = d.Fleet(ctx, fleet.Query{Back: time.Minute})
	}
	r.Findings = findings(&f)
	rank := map[check.Level]int{check.Fail: 0, check.Warn: 1, check.Skipped: 2, check.OK: 3}
	slices.SortStableFunc(r.Findings, func(a, b check.Finding) int { return rank[a.Level] - rank[b.Level] })
	return r, nil
}

// examined are the caches whose keys are sampled.
func (d *Direct) examined(names []string) ([]string, error) {
	for _, name := range names {
		if _, err := d.cache(name); err != nil {
			return nil, err
		}
	}
	if len(names) == 0 {
		for _, c := range d.Declared {
			names = append(names, c.Name)
		}
	}
	return names, nil
}

// sample is some keys of a cache.
type sample struct {
	cache   string
	err     error // the keys cannot be looked at
	all     bool
	keys    int // how many
	endless int // of those, without a TTL
	unsized int // whose size the server does not tell
	sizes   []int64
	largest Key
	example string // a key without a TTL
}

func (d *Direct) sample(ctx context.Context, name string, span time.Duration) (s sample, err error) {
	c, err := d.cache(name)
	if err != nil {
		return s, err
	}
	d.Store.CheckKeys(ctx, c.Glob)
	s.cache = name
	keys, err := d.Keys(ctx, name, Query{Limit: sampleKeys, For: span})
	if err != nil {
		s.err = err
		return s, ctx.Err()
	}
	s.all, s.keys = keys.All, len(keys.Keys)
	for _, k := range keys.Keys {
		if k.TTL == never {
			s.endless++
			s.example = k.Key
		}
		size := k.size()
		if size < 0 {
			s.unsized++
			continue
		}
		if s.sizes = append(s.sizes, size); size > s.largest.size() || len(s.sizes) == 1 {
			s.largest = k
		}
	}
	slices.Sort(s.sizes)
	return s, nil
}

// size is what a key weighs: the memory, or at least the length of a value.
func (k Key) size() int64 {
	if k.Bytes < 0 && k.Type == "string" {
		return k.Length
	}
	return k.Bytes
}

// quantile is of sorted numbers; zero of none.
func quantile[T int64 | time.Duration](sorted []T, q float64) (v T) {
	if len(sorted) > 0 {
		v = sorted[int(q*float64(len(sorted)-1))]
	}
	return v
}

// Denied is the report about a user who may not even connect as the layer does; see conn.ErrDenied.
func Denied(err error) Report {
	text, fix, _ := strings.Cut(err.Error(), "; grant it: ")
	return Report{Source: "redis", Findings: check.One("rights", check.Fail, text, "nothing can be stored, so the library and serve refuse to start", fix)}
}
