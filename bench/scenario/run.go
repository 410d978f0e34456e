package scenario

import (
	"fmt"
	"maps"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/result"
)

// Run is one run of a scenario. Its TB starts servers and stops them at the end.
type Run struct {
	testing.TB
	Size
	Trace string // the file of a trace; empty: none
	Say   func(format string, args ...any)

	mu  sync.Mutex // guards out
	out *result.Outcome
}

// Do runs a scenario, and returns what it measured up to its end or its failure.
func (s Scenario) Do(t testing.TB, size Size, trace string, say func(string, ...any)) *result.Outcome {
	began := time.Now()
	r := &Run{TB: t, Size: size, Trace: trace, Say: say, out: &result.Outcome{
		Name: s.Name, Text: size.words(s.Text), Machine: result.Here(), Rounds: size.Rounds, Versions: map[string]string{},
	}}
	s.Run(r)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.out.Took = time.Since(began).Round(time.Second).String()
	for _, name := range r.out.Layers() {
		for _, k := range layer.Find(name) {
			r.out.Versions[k.Module] = k.Version()
		}
	}
	maps.DeleteFunc(r.out.Versions, func(_, v string) bool { return v == "" })
	out := *r.out // a layer that was given up may go on recording
	out.Points = slices.Clone(out.Points)
	return &out
}

// Record adds the figure of one round.
func (r *Run) Record(layer, at, metric string, v float64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.point(layer, at, metric)
	p.Values = append(p.Values, v)
}

// Broken says why there is no figure.
func (r *Run) Broken(layer, at string, err error, metrics ...string) {
	r.Say("%s: %v", layer, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, metric := range metrics {
		r.point(layer, at, metric).Err = err.Error()
	}
}

func (r *Run) point(layer, at, metric string) *result.Point {
	if p := r.out.Point(layer, at, metric); p != nil {
		return p
	}
	r.out.Points = append(r.out.Points, result.Point{Layer: layer, At: at, Metric: metric})
	return &r.out.Points[len(r.out.Points)-1]
}

// rounds takes the layers in turns: A B C at the first place, A B C at the next, and all again. What is about to be
// measured begins with an empty garbage heap.
func (r *Run) rounds(ins []*instance, places []string, measure func(in *instance, at string)) {
	for round := range r.Rounds {
		for _, at := range places {
			for _, in := range ins {
				if in.err != nil {
					continue
				}
				r.Say("round %d of %d, %s, %s", round+1, r.Rounds, at, in.Name)
				runtime.GC()
				measure(in, at)
			}
		}
	}
}

// bounded calls f, and gives it up after a while. A panic of f is an error.
func bounded(limit time.Duration, what string, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- caught(f) }()
	select {
	case err := <-done:
		return err
	case <-time.After(limit):
		return fmt.Errorf("%s: no end within %v", what, limit)
	}
}

func caught(f func() error) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("panic: %v", v)
		}
	}()
	return f()
}

// patience is how long a layer may take for what should be done in a moment.
const patience = 30 * time.Second
