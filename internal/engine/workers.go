package engine

import "sync"

// maxIdle is how many goroutines wait for their next task.
const maxIdle = 64

// workers runs tasks in goroutines that are used again. A fresh one has a small stack, which grows in several steps on
// its way into the Redis client: a seventh of the cost of a miss. The zero value is ready.
type workers struct {
	tasks sync.WaitGroup // under way

	mu     sync.Mutex // guards all below, and tasks' Add against its Wait
	closed bool
	idle   []chan func() // one for each goroutine that waits; who came last goes first, since his stack is in the CPU's cache
}

// run runs f at once. f may call runtime.Goexit. False: the workers are closed.
func (w *workers) run(f func()) bool {
	w.mu.Lock()
	if w.closed {
		w.mu.Unlock()
		return false
	}
	w.tasks.Add(1)
	var idle chan func()
	if last := len(w.idle) - 1; last >= 0 {
		idle, w.idle = w.idle[last], w.idle[:last]
	}
	w.mu.Unlock()
	if idle != nil {
		idle <- f
	} else {
		go w.work(f)
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

func (w *workers) work(f func()) {
	next := make(chan func(), 1)
	for more := true; more; f, more = <-next {
		w.do(f)
		if !w.wait(next) {
			return
		}
	}
}

func (w *workers) do(f func()) {
	defer w.tasks.Done()
	f()
}

// wait announces who waits for his next task. False: he is not needed.
func (w *workers) wait(next chan func()) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed || len(w.idle) == maxIdle {
		return false
	}
	w.idle = append(w.idle, next)
	return true
}
