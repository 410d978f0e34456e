package engine

import (
	"context"
	"time"

	"github.com/nearside/nearside/internal/flight"
	"github.com/nearside/nearside/internal/store"
)

// The way of a key from a miss to the answer: claim.go asks the store for the lease, load.go calls the loader, fill.go sends what
// was read to the store, and deliver.go gives it to the callers. Many keys go this way together.

// phase says how far a job is on its way.
type phase int

const (
	claiming   phase = iota // its lease is asked for, or is to be asked for again
	waiting                 // another process has the lease
	loading                 // this process loads it, with the lease or without one
	filling                 // what was read goes to the store, under the lease
	releasing               // nothing is stored, and the lease is given back
	delivering              // there is no lease to end: the callers are answered
	done
)

// job is a key that is being claimed, read and filled by this process.
type job struct {
	key     string
	of      any             // what the application calls the key: Key.Of
	ctx     context.Context // of the caller that started it; only its values are used
	call    *flight.Call[result]
	ttl     bool          // the caller asks how long the value lives
	early   time.Duration // a value with less TTL than this is to be loaded anew, although it is fresh
	keepAll bool          // of a collection: the result has all of it, however large

	batch *batch   // nil: the job is not part of a large batch
	by    *attempt // whose loader asks for many; nil: the application
	led   bool     // the caller of the job began the call. The caller reads led, since the worker replaces call

	phase phase
	miss  // what a read of the store found before

	token      string    // of the claim
	leased     bool      // the token is a lease; otherwise the load fills nothing
	unresolved bool      // the answer to a claim is not known: its token must be released
	claimMark  int       // of the latest claim
	holder     string    // the other process that has the lease
	holders    int       // how many of them were seen
	waits      time.Time // since when this holder is waited for; zero: no lease of another process was seen
	held       held      // the lease, while it is renewed

	loadMark int           // of the load
	fillMark int           // of the command that ends the lease
	outcome  store.Outcome // of that command

	scratch *scratch // nil until it is read by itself
}

// k returns the key of a job.
func (j *job) k() Key { return Key{j.key, j.of} }

// leaseOf returns what the token of a job's claim stands for in the store.
func (c *Cache) leaseOf(j *job) store.Lease {
	return store.Lease{Key: j.key, Token: j.token, Kind: c.kind}
}

// scratch is what a job needs to be read by itself, in one piece: four allocations less for each load.
type scratch struct {
	attempt attempt
	jobs    [1]*job
	loaded  [1]Loaded
	results [1]result
}

// jobWithScratch is a job that will be read by itself, all of it in one piece.
type jobWithScratch struct {
	job     job
	scratch scratch
}

func newJob(j job) *job {
	both := &jobWithScratch{job: j}
	both.job.scratch = &both.scratch
	return &both.job
}

func (j *job) ensureScratch() *scratch {
	if j.scratch == nil {
		j.scratch = new(scratch)
	}
	return j.scratch
}

type jobs []*job

// setOutcomes gives the jobs of a phase the outcomes of their command, in order.
func (js jobs) setOutcomes(p phase, outcomes []store.Outcome) {
	for _, j := range js {
		if j.phase == p {
			j.outcome, outcomes = outcomes[0], outcomes[1:]
		}
	}
}

// lead runs new jobs in the background.
func (c *Cache) lead(js jobs) {
	if len(js) == 1 {
		c.leadOne(js[0])
	} else if len(js) > 0 && !c.spawn(func() { c.run(js) }) {
		c.failClosed(js...)
	}
}

func (c *Cache) leadOne(j *job) {
	j.ensureScratch().attempt.c = c
	if !c.workers.Run(j) {
		c.failClosed(j)
	}
}

// Do is what leadOne has a worker do.
func (j *job) Do() {
	c := j.scratch.attempt.c
	if j.bypass {
		c.loadOne(j) // the store is unavailable: nothing is claimed, and nothing filled
	} else {
		c.run(jobs{j})
	}
}

// run takes jobs the first half of their way, to the call of the loader. What is granted is read before anything is waited for:
// otherwise two batches that hold what the other one wants would wait for each other.
func (c *Cache) run(js jobs) {
	w := waiter{c: c}
	for {
		mine, others := c.claim(js)
		if len(others) == 0 {
			w.stop()
			c.load(mine)
			return
		}
		if len(mine) > 0 && !c.spawn(func() { c.load(mine) }) {
			c.failClosed(mine...)
		}
		if js = others; !w.wait(js) {
			for _, j := range js {
				c.finish(j, &result{err: ErrClosed}, flight.Everyone)
			}
			return
		}
	}
}

// complete takes jobs the second half of their way, from what the loader returned to the answer. Of each attempt to read it is
// called once: when the loader has returned, or when its time is over (load.go).
func (c *Cache) complete(js jobs, out []Loaded) {
	var results []result
	if one := js[0].scratch; one != nil && len(js) == 1 {
		results = one.results[:]
	} else {
		results = make([]result, len(js))
	}
	fills, releases := c.interpretAll(js, out, results)
	c.deliverEarly(js, results)
	c.fill(js, fills, releases)
	c.deliver(js, out, results)
}

// failClosed ends jobs that no worker will run, and gives back their leases, for which other processes would wait.
func (c *Cache) failClosed(js ...*job) {
	var held []store.Lease
	c.letGo(js)
	for _, j := range js {
		j.call.Finish(&result{err: ErrClosed}, flight.Everyone)
		if j.leased || j.unresolved {
			held = append(held, c.leaseOf(j))
		}
	}
	if len(held) > 0 {
		c.Store.Release(c.step(), held)
	}
}
