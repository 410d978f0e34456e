package scenario

import (
	"context"
	"fmt"
	"os"
	"runtime"
	"slices"
	"sync"
	"testing"
)

// Outside calls f with what starts servers in tests, outside of a test, and returns why it failed. What is to be cleaned up
// is, before it returns.
func Outside(f func(testing.TB)) error {
	ctx, cancel := context.WithCancel(context.Background())
	t := &outside{ctx: ctx}
	done := make(chan struct{})
	go func() { // Fatal ends it
		defer close(done)
		f(t)
	}()
	<-done
	cancel()
	for _, clean := range slices.Backward(t.cleanups) {
		clean()
	}
	return t.err
}

// outside has the methods of a testing.TB that our packages for tests call.
type outside struct {
	testing.TB // nil: it only makes this one
	ctx        context.Context
	mu         sync.Mutex // guards the rest
	cleanups   []func()
	err        error
}

func (t *outside) Helper()                  {}
func (t *outside) Context() context.Context { return t.ctx }
func (t *outside) Name() string             { return "bench" }

func (t *outside) Cleanup(f func()) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.cleanups = append(t.cleanups, f)
}

func (t *outside) Errorf(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.err = fmt.Errorf(format, args...)
}

func (t *outside) Error(args ...any) { t.Errorf("%s", fmt.Sprint(args...)) }

func (t *outside) Fatal(args ...any) {
	t.Error(args...)
	runtime.Goexit()
}

func (t *outside) Fatalf(format string, args ...any) {
	t.Errorf(format, args...)
	runtime.Goexit()
}

func (t *outside) Log(args ...any)                 { fmt.Fprintln(os.Stderr, args...) }
func (t *outside) Logf(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
