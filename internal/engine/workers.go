package engine

import "sync"

// maxIdle is how many goroutines wait for their next task.
const maxIdle = 64

// task is what a worker does.
type task interface{ do() }

// taskFunc is a function as a task.
type taskFunc func()

func (f taskFunc) do() { f() }

// workers runs tasks in goroutines that are used again. A fresh one has a small stack, which grows in several steps on
// its way into the Redis client: a seventh of the cost of a miss. The zero value is ready.
type workers struct {
	tasks sync.WaitGroup // under way

	mu     sync.Mutex // guards all below, and tasks' Add against its Wait
	closed bool
	idle   []chan task // one for each goroutine that waits; who came last goes first, since his stack is in the CPU's cache
}

// run runs t at once. t may call runtime.Goexit. False: the workers are closed.
func (w *workers) run(t task) bool {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.tasks.Add(1)
	var idle chan task
	if last := len(w.idle) - 1; last >= 0 {
		idle, w.idle = w.idle[last], w.idle[:last]
	}
	w.mu.Unlock()
	if idle != nil {
		idle <- t
	} else {
		go w.work(t)
	}
	return true
}

// close lets no more tasks begin. False: it was called before.
func (w *workers) close() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return false
	}
	w.closed = true
	for _, idle := range w.idle {
		close(idle)
	}
	w.idle = nil
	return true
}

func (w *workers) work(t task) {
	next := make(chan task, 1)
	for more := true; more; t, more = <-next {
		w.do(t)
		if !w.wait(next) {
			return
		}
	}
}

func (w *workers) do(t task) {
	defer w.tasks.Done()
	t.do()
}

// wait announces who waits for his next task. False: he is not needed.
func (w *workers) wait(next chan task) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.idle) == maxIdle {
		return false
	}
	w.idle = append(w.idle, next)
	return true
}
