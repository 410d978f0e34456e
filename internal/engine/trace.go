package engine

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Trace is a set of callbacks that report the steps of one call: see nearside.Trace, which has the same.
type Trace struct {
	Near       func(key string, found bool)
	Store      func(key string, found bool, took time.Duration, err error)
	Joined     func(key string)
	Claimed    func(key, state string, err error)
	LoadBegan  func(key string)
	LoadEnded  func(key string, took time.Duration, err error)
	Filled     func(key string, err error)
	WriteBegan func(key string, err error)
	WriteEnded func(key string, took time.Duration, err error)
	Answered   func(key string, source Source, err error)
}

// traced is set when the first call is traced: until then nobody looks for a trace.
var traced atomic.Bool

type traceKey struct{}

// WithTrace returns a context whose calls tell t their story; nil: nobody.
func WithTrace(ctx context.Context, t *Trace) context.Context {
	traced.Store(true)
	return context.WithValue(ctx, traceKey{}, t)
}

// traceOf returns the trace of a call; nil, whose methods do nothing: there is none.
func traceOf(ctx context.Context) *Trace {
	if !traced.Load() {
		return nil
	}
	return lookForTrace(ctx)
}

func lookForTrace(ctx context.Context) *Trace {
	t, _ := ctx.Value(traceKey{}).(*Trace)
	return t
}

// untraced is for what goes on in the name of a call, and is no part of its story.
func untraced(ctx context.Context) context.Context {
	if traceOf(ctx) == nil {
		return ctx
	}
	return WithTrace(ctx, nil)
}

// Why something was not filled. What the store or the codec say is told in their words.
var (
	errNotAsked    = errors.New("the store was not asked: it is away, or an invalidation is pending")
	errNoLease     = errors.New("there is no lease: see what was claimed")
	errInvalidated = errors.New("it was invalidated meanwhile")
	errAbsence     = errors.New("absences are not remembered: NotFoundTTL is off")
	errOthers      = errors.New("others wrote it too: it is loaded when it is next asked for")
	errNoValue     = errors.New("it was invalidated: the write has put no value")
)

func (t *Trace) near(key string, found bool) {
	if t != nil && t.Near != nil {
		t.Near(key, found)
	}
}

func (t *Trace) store(key string, found bool, took time.Duration, err error) {
	if t != nil && t.Store != nil {
		t.Store(key, found, took, err)
	}
}

func (t *Trace) joined(key string) {
	if t != nil && t.Joined != nil {
		t.Joined(key)
	}
}

func (t *Trace) claimed(key string, g store.Grant) {
	if t != nil && t.Claimed != nil {
		state := g.State.String()
		if g.Err != nil {
			state = ""
		}
		t.Claimed(key, state, g.Err)
	}
}

func (t *Trace) loadBegan(key string) {
	if t != nil && t.LoadBegan != nil {
		t.LoadBegan(key)
	}
}

func (t *Trace) loadEnded(key string, took time.Duration, err error) {
	if t != nil && t.LoadEnded != nil {
		t.LoadEnded(key, took, err)
	}
}

func (t *Trace) filled(key string, err error) {
	if t != nil && t.Filled != nil {
		t.Filled(key, err)
	}
}

// ended tells what became of the value that the end of a write put.
func (t *Trace) ended(e store.End, put bool) {
	switch {
	case !e.Put:
		t.filled(e.Key, errNoValue)
	case !put:
		t.filled(e.Key, errOthers)
	default:
		t.filled(e.Key, nil)
	}
}

func (t *Trace) writeBegan(key string, err error) {
	if t != nil && t.WriteBegan != nil {
		t.WriteBegan(key, err)
	}
}

func (t *Trace) writeEnded(key string, took time.Duration, err error) {
	if t != nil && t.WriteEnded != nil {
		t.WriteEnded(key, took, err)
	}
}

func (t *Trace) answered(key string, source Source, err error) {
	if t != nil && t.Answered != nil {
		t.Answered(key, source, err)
	}
}

// Traced reports whether any call may be traced. Until then contexts are not searched for a trace.
func Traced() bool { return traced.Load() }

// TellNear tells a trace whether a key is kept in this process, or its absence, which is the answer then.
func (c *Cache) TellNear(ctx context.Context, key string, found, absent bool) {
	t := traceOf(ctx)
	if t == nil {
		return
	}
	t.near(key, found)
	if found && absent {
		t.answered(key, Near, c.Absent(key))
	} else if found {
		t.answered(key, Near, nil)
	}
}

// tellAnswers tells a trace how a read of many ended.
func (c *Cache) tellAnswers(ctx context.Context, ks []Key, out []Answer) {
	for i, a := range out {
		c.tellAnswer(ctx, ks[i].Text, a.Entry.Source, a.Err)
	}
}

// tellAnswer tells a trace how a read of a key ended.
func (c *Cache) tellAnswer(ctx context.Context, key string, source Source, err error) {
	if t := traceOf(ctx); t != nil {
		t.answered(key, source, err)
	}
}
