package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/demo"
	"github.com/nearside/nearside/internal/human"
	"github.com/nearside/nearside/internal/store"

	"github.com/nearside/nearside/cmd/nearside/internal/serve"
)

const (
	trafficWorkers = 64   // requests at once; more wait, and are then fewer than was asked for
	trafficWrites  = 0.05 // share of the reads
	trafficOther   = 0.1  // share of the reads of each other cache
	zipfExponent   = 1.1
)

// traffic asks for what the demo shop has as its visitors would, some of it much more often than other, and says each second
// what the cache saved.
type traffic struct {
	users  *serve.Cache
	others []question
	rate   int // reads per second
	out    io.Writer

	mu   sync.Mutex
	hits []time.Duration
	load []time.Duration
	errs int
	last error

	reads, writes int
}

// question is what is asked of a cache: a value, or a part of a collection.
type question struct {
	cache *serve.Cache
	query store.Query
	param func(id int) string
}

// pages are what visitors ask for besides users, and of which shape it must be.
var pages = []struct {
	name  string
	shape store.Kind
	query store.Query
	param func(id int) string
}{
	{name: "orders", param: strconv.Itoa},
	{"product", store.Hash, store.Query{Part: store.All}, func(id int) string { return strconv.Itoa(1 + id%demo.Products) }},
	{"friends", store.Set, store.Query{Part: store.All}, strconv.Itoa},
	{"actions", store.List, store.Query{Part: store.ByRank, To: 9}, strconv.Itoa},
	{"leaderboard", store.SortedSet, store.Query{Part: store.ByRank, To: 9, Reverse: true}, func(id int) string { return demo.Games[id%len(demo.Games)] }},
}

// newTraffic asks the caches that are declared as those of the demo shop are: user, and any of the others.
func newTraffic(s *serve.Service, rate int, out io.Writer) (*traffic, error) {
	t := &traffic{users: s.Named("user"), rate: rate, out: out}
	if t.users == nil || t.users.Shape != "" || len(t.users.Key.Params()) != 1 {
		return nil, errors.New("--traffic asks the caches of the demo shop, and there is no cache \"user\" whose key has one parameter: leave out --config")
	}
	for _, p := range pages {
		if c := s.Named(p.name); c != nil && c.Shape == p.shape && len(c.Key.Params()) == 1 {
			t.others = append(t.others, question{c, p.query, p.param})
		}
	}
	return t, nil
}

// ask asks, and says where the answer came from.
func (q question) ask(ctx context.Context, id int) (nearside.Source, error) {
	key, err := q.cache.Key.Key(q.param(id))
	if err != nil {
		return "", err
	}
	if q.cache.Shape != "" {
		v, err := q.cache.Query(ctx, key, q.query)
		return nearside.Source(v.Source), err
	}
	e, err := q.cache.Values.GetEntry(ctx, key)
	if errors.Is(err, nearside.ErrNotFound) {
		err = nil
	}
	return e.Source, err
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
	what := question{cache: t.users, param: strconv.Itoa}
	if n := int(rand.Float64() / trafficOther); n < len(t.others) {
		what = t.others[n]
	}
	return func() {
		if write {
			key, _ := t.users.Key.Key(fmt.Sprint(id))
			row := fmt.Appendf(nil, `{"name":"Visitor %d","email":"visitor%d@example.com","city":"Lima"}`, id, id)
			_, err := t.users.Set(ctx, key, row)
			t.done(ctx, func() { t.writes++ }, err)
		}
		begin := time.Now()
		source, err := what.ask(ctx, id)
		took := time.Since(begin)
		t.done(ctx, func() {
			t.reads++
			if source == nearside.SourceLoad {
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

// queries is how many statements the caches have sent to the database. A write is two: the statement, and the row.
func (t *traffic) queries() (n uint64) {
	of := func(c *serve.Cache) uint64 {
		s := c.Stats()
		return s.Loads + s.LoadsAbsent + s.LoadErrors + 2*s.Written
	}
	n = of(t.users)
	for _, q := range t.others {
		n += of(q.cache)
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
	return human.Duration(sample[int(q*float64(len(sample)-1))])
}
