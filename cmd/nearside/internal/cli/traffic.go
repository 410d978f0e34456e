package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/demo"
	"github.com/nearside/nearside/internal/engine"

	"github.com/nearside/nearside/cmd/nearside/internal/serve"
)

const (
	trafficWorkers = 64   // requests at once; more wait, and are then fewer than was asked for
	trafficWrites  = 0.05 // share of the reads
	trafficOrders  = 0.2  // share of the reads that ask for orders
	zipfExponent   = 1.1
)

// traffic asks for users and orders of the demo shop as its visitors would, some much more often than others, and says
// each second what the cache saved.
type traffic struct {
	users, orders *serve.Cache
	rate          int // reads per second
	out           io.Writer

	mu   sync.Mutex
	hits []time.Duration
	load []time.Duration
	errs int
	last error

	reads, writes int
}

func newTraffic(s *serve.Service, rate int, out io.Writer) (*traffic, error) {
	t := &traffic{users: s.Named("user"), orders: s.Named("orders"), rate: rate, out: out}
	for name, c := range map[string]*serve.Cache{"user": t.users, "orders": t.orders} {
		if c == nil || len(c.Key.Params()) != 1 {
			return nil, fmt.Errorf("--traffic asks the caches of the demo shop, and there is no cache %q whose key has one parameter: leave out --config", name)
		}
	}
	return t, nil
}

// run asks until ctx ends.
func (t *traffic) run(ctx context.Context) {
	work := make(chan func(), t.rate)
	var workers sync.WaitGroup
	for range trafficWorkers {
		workers.Go(func() {
			for f := range work {
				f()
			}
		})
	}
	defer workers.Wait()
	defer close(work)
	who := rand.NewZipf(rand.New(rand.NewPCG(1, 2)), zipfExponent, 1, demo.Users-1)
	const step = 10 * time.Millisecond
	tick := time.NewTicker(step)
	defer tick.Stop()
	begin, sent, shown := time.Now(), 0, time.Now()
	before := t.queries()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(time.Since(begin).Seconds() * float64(t.rate)); sent < due; sent++ {
			id := int(who.Uint64()*7919%demo.Users) + 1 // the popular ones are spread over the table
			f := t.request(ctx, id)
			select {
			case work <- f:
			case <-ctx.Done():
				return
			}
		}
		if now := time.Now(); now.Sub(shown) >= time.Second {
			after := t.queries()
			t.show(now.Sub(begin), now.Sub(shown), after-before)
			shown, before = now, after
		}
	}
}

// request draws one read, and perhaps a write before it.
func (t *traffic) request(ctx context.Context, id int) func() {
	write := rand.Float64() < trafficWrites && t.users.Store != nil
	cache := t.users
	if rand.Float64() < trafficOrders {
		cache = t.orders
	}
	return func() {
		if write {
			key, _ := t.users.Key.Key(fmt.Sprint(id))
			row := fmt.Appendf(nil, `{"name":"Visitor %d","email":"visitor%d@example.com","city":"Lima"}`, id, id)
			_, err := t.users.Set(ctx, key, row)
			t.done(ctx, func() { t.writes++ }, err)
		}
		key, _ := cache.Key.Key(fmt.Sprint(id))
		begin := time.Now()
		e, err := cache.Entry(ctx, key)
		took := time.Since(begin)
		if errors.Is(err, engine.ErrNotFound) {
			err = nil
		}
		t.done(ctx, func() {
			t.reads++
			if e.Source == engine.Load {
				t.load = append(t.load, took)
			} else {
				t.hits = append(t.hits, took)
			}
		}, err)
	}
}

func (t *traffic) done(ctx context.Context, count func(), err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	switch {
	case err == nil:
		count()
	case ctx.Err() == nil:
		t.errs++
		t.last = err
	}
}

// queries is how many statements the two caches have sent to the database. A write is two: the statement, and the row.
func (t *traffic) queries() (n uint64) {
	for _, c := range []*serve.Cache{t.users, t.orders} {
		s := c.Stats()
		n += s.Loads + s.LoadsAbsent + s.LoadErrors + 2*s.Written
	}
	return n
}

// show prints the line of one second, and begins the next.
func (t *traffic) show(since, span time.Duration, queries uint64) {
	t.mu.Lock()
	hits, load, reads, writes, errs, last := t.hits, t.load, t.reads, t.writes, t.errs, t.last
	t.hits, t.load, t.reads, t.writes, t.errs = nil, nil, 0, 0, 0
	t.mu.Unlock()
	per := func(n float64) float64 { return n / span.Seconds() }
	fmt.Fprintf(t.out, "%4.0f s  %6.0f reads/s  %5.1f %% hits  database %5.0f queries/s in place of %6.0f  hits p50 %s p99 %s  loads p50 %s p99 %s\n",
		since.Seconds(), per(float64(reads)), 100*float64(len(hits))/max(float64(reads), 1),
		per(float64(queries)), per(float64(reads+2*writes)), quantile(hits, .5), quantile(hits, .99), quantile(load, .5), quantile(load, .99))
	if errs > 0 {
		fmt.Fprintf(t.out, "        %d errors, the latest: %v\n", errs, last)
	}
}

// quantile is a duration of the sample as a person reads it; "-" if there is none.
func quantile(sample []time.Duration, q float64) string {
	if len(sample) == 0 {
		return "-"
	}
	slices.Sort(sample)
	d := sample[int(q*float64(len(sample)-1))]
	if d < time.Millisecond {
		return fmt.Sprintf("%d µs", d.Microseconds())
	}
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
