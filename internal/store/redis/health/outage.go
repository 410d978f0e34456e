package health

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Operators are told of an outage once it has lasted for a second, and of its end. Shorter ones are counted, and told of in one
// line a minute: a server that is slow now and then would fill the log otherwise.

const (
	shortOutage    = time.Second
	summariseEvery = time.Minute
)

// outages tells the log what becomes of one node.
type outages struct {
	logger *slog.Logger
	where  func() string // the node's address

	mu      sync.Mutex  // guards the rest
	lasting *time.Timer // of the outage under way; nil: there is none
	told    bool        // the log knows of the outage under way
	cause   error       // of the last outage
	short   int         // outages since the last summary
	longest time.Duration
	summary *time.Timer // nil: none is due
	ended   bool
}

// began notes that the node is not asked any more.
func (o *outages) began(cause error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended || o.lasting != nil {
		return
	}
	since := time.Now()
	o.cause, o.told = cause, false
	o.lasting = time.AfterFunc(shortOutage, func() {
		o.mu.Lock()
		defer o.mu.Unlock()
		if o.lasting == nil || o.ended {
			return
		}
		o.told = true
		o.logger.Warn("redis unavailable: serving from the loader", "address", o.where(), "since", since.Format(time.TimeOnly), "cause", cause)
	})
}

// over notes that the node is asked again, after how many invalidations were repeated.
func (o *outages) over(down time.Duration, repeats int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.ended {
		return
	}
	if o.lasting != nil {
		o.lasting.Stop()
		o.lasting = nil
	}
	if o.told {
		o.told = false
		o.logger.Info(fmt.Sprintf("redis back after %.1fs%s", down.Seconds(), repeated(repeats)), "address", o.where())
		return
	}
	o.short++
	o.longest = max(o.longest, down)
	if o.summary == nil {
		o.summary = time.AfterFunc(summariseEvery, func() {
			o.mu.Lock()
			defer o.mu.Unlock()
			if !o.ended {
				o.summarise()
			}
		})
	}
}

// summarise tells of the outages that were too short to be told of one by one. It is called under the lock.
func (o *outages) summarise() {
	o.summary = nil
	if o.short == 0 {
		return
	}
	o.logger.Warn("redis: outages shorter than a second, served from the loader", "address", o.where(), "count", o.short,
		"longest", o.longest.Round(time.Millisecond), "cause", o.cause)
	o.short, o.longest = 0, 0
}

// end tells what is left to tell. Nothing is logged afterwards.
func (o *outages) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.lasting != nil {
		o.lasting.Stop()
	}
	if o.summary != nil {
		o.summary.Stop()
		o.summarise()
	}
	o.ended = true
}
