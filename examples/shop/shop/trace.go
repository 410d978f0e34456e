package shop

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Step is one thing that a page asked for.
type Step struct {
	What string // a key, or what the database was asked
	From string // near, store, load, stale or negative, as nearside.Source has it; load is the database
	Took time.Duration
}

// Trace collects the steps of a page.
type Trace struct {
	mu    sync.Mutex
	steps []Step
}

// WithTrace returns a context that has the stores note what they do.
func WithTrace(ctx context.Context) (context.Context, *Trace) {
	t := &Trace{}
	return context.WithValue(ctx, traceKey{}, t), t
}

// Steps returns what was noted until now.
func (t *Trace) Steps() []Step {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]Step(nil), t.steps...)
}

type (
	traceKey struct{}
	stepKey  struct{}
)

func note(ctx context.Context, s Step) {
	if t, ok := ctx.Value(traceKey{}).(*Trace); ok {
		t.mu.Lock()
		t.steps = append(t.steps, s)
		t.mu.Unlock()
	}
}

// step notes a read through a cache. Where read does not say where its answer came from, it is the database if that was asked
// meanwhile, by this read, and else the store: a loader has the values of its caller's context.
func step[V any](ctx context.Context, key string, read func(context.Context) (v V, from string, err error)) (V, error) {
	begin, loaded := time.Now(), new(atomic.Bool)
	v, from, err := read(context.WithValue(ctx, stepKey{}, loaded))
	if from == "" {
		if from = "store"; loaded.Load() {
			from = "load"
		}
	}
	note(ctx, Step{key, from, time.Since(begin)})
	return v, err
}

// query notes that the database is asked: for the read of a cache, or else as a step of its own.
func query(ctx context.Context, what ...any) (done func()) {
	if loaded, ok := ctx.Value(stepKey{}).(*atomic.Bool); ok {
		loaded.Store(true)
		return func() {}
	}
	begin := time.Now()
	return func() {
		note(ctx, Step{strings.TrimSuffix(fmt.Sprintln(what...), "\n"), "load", time.Since(begin)})
	}
}

// several is the key of a step that reads more than one.
func several(name string, n int) string { return fmt.Sprintf("%s, %d of them", name, n) }
