package engine

import "context"

// maxIdle is how many goroutines wait for their next task.
const maxIdle = 64

// workers runs tasks in goroutines that are used again. A fresh one has a small stack, which grows in several steps on
// its way into the Redis client: a seventh of the cost of a miss.
type workers struct {
	tasks chan func()   // received by those that are idle
	slots chan struct{} // one for each that is idle
	done  <-chan struct{}
}

func newWorkers(ctx context.Context) *workers {
	return &workers{tasks: make(chan func()), slots: make(chan struct{}, maxIdle), done: ctx.Done()}
}

// run starts f at once. f may call runtime.Goexit.
func (w *workers) run(f func()) {
	select {
	case w.tasks <- f:
	default:
		go w.work(f)
	}
}

func (w *workers) work(f func()) {
	for {
		f()
		select {
		case w.slots <- struct{}{}:
		default:
			return
		}
		select {
		case f = <-w.tasks:
			<-w.slots
		case <-w.done:
			return
		}
	}
}
