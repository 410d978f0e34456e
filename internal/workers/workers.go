// Package workers runs tasks in goroutines that are used again, and hands out deadlines that many tasks share. Both make a load
// cheaper.
package workers

import "sync"

// maxIdle is how many goroutines wait for their next Task.
const maxIdle = 64

// Task is what a worker does. It may call runtime.Goexit.
type Task interface{ Do() }

// Func is a function as a task.
type Func func()

// Do calls the function.
func (f Func) Do() { f() }

// Pool runs tasks in goroutines that are used again. A fresh one has a small stack, which grows in several steps on its way into
// the Redis client: a seventh of the cost of a miss. The zero value is ready.
type Pool struct {
	tasks sync.WaitGroup // under way

	mu     sync.Mutex // guards all below, and tasks' Add against its Wait
	closed bool
	idle   []chan Task // one for each goroutine that waits. LIFO: the most recently idle worker has the warmest stack
}

// Run runs t at once. It returns false if the pool is closed.
func (p *Pool) Run(t Task) bool {
	p.mu.Lock()
	if p.closed {
		p.mu.Unlock()
		return false
	}
	p.tasks.Add(1)
	var idle chan Task
	if last := len(p.idle) - 1; last >= 0 {
		idle, p.idle = p.idle[last], p.idle[:last]
	}
	p.mu.Unlock()
	if idle != nil {
		idle <- t
	} else {
		go p.work(t)
	}
	return true
}

// Close lets no more tasks begin. It returns false if it was called before.
func (p *Pool) Close() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return false
	}
	p.closed = true
	for _, idle := range p.idle {
		close(idle)
	}
	p.idle = nil
	return true
}

// Wait waits for the tasks under way. It is to be called after Close.
func (p *Pool) Wait() { p.tasks.Wait() }

func (p *Pool) work(t Task) {
	next := make(chan Task, 1)
	for more := true; more; t, more = <-next {
		p.do(t)
		if !p.wait(next) {
			return
		}
	}
}

func (p *Pool) do(t Task) {
	defer p.tasks.Done()
	t.Do()
}

// wait has the next Task sent to next. It returns false if the goroutine is not needed.
func (p *Pool) wait(next chan Task) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || len(p.idle) == maxIdle {
		return false
	}
	p.idle = append(p.idle, next)
	return true
}
