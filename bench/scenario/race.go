package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/result"
	"github.com/nearside/nearside/internal/redistest"
)

const staleLeft = "stale values left"

var writeRace = Scenario{
	Name: "race", Title: "The write race",
	Text: "Each of {trials} rows is written twice, 0 to 5 ms apart, each time with the layer's invalidation after the commit, while four goroutines of each client read it, and loads of 0 to 3 ms are in flight. " +
		"A tenth of a second after the last of them, which is long after any push, the row is read again by each client: the share of the rows of which one then had an old value. " +
		"With two clients the second write is the other one's.",
	Tables: []result.Table{{Columns: []result.Column{
		{Head: "one client", At: "1", Metric: staleLeft, Format: result.Percent},
		{Head: "two clients", At: "2", Metric: staleLeft, Format: result.Percent},
	}}},
	Run: func(r *Run) {
		for _, k := range layer.Where(onRedis) {
			for clients := range 2 {
				r.Say("%d of 2 clients, %s", clients+1, k.Name)
				at := fmt.Sprint(clients + 1)
				var stale int
				err := bounded(4*patience+time.Duration(r.Trials)*20*time.Millisecond, "the race", func() (err error) {
					stale, err = r.race(k, clients+1)
					return err
				})
				if err != nil {
					r.Broken(k.Name, at, err, staleLeft)
					continue
				}
				r.Record(k.Name, at, staleLeft, float64(stale)/float64(r.Trials))
			}
		}
	},
}

// race returns how many rows were stale.
func (r *Run) race(k layer.Kind, n int) (int, error) {
	server, err := startServer(r)
	if err != nil {
		return 0, err
	}
	defer server.Stop()
	rows := make([]atomic.Int64, r.Trials) // the database: the version of each row
	clients := make([]layer.Layer, n)
	for i := range clients {
		in := &instance{Kind: k}
		o := in.options(2 * r.Trials)
		o.Redis = []string{server.Addr}
		o.Load = func(_ context.Context, id int) (layer.Item, error) {
			v := rows[id].Load()
			time.Sleep(rand.N(3 * time.Millisecond)) // the answer is on its way
			return layer.Make(id, int(v)), nil
		}
		if clients[i], err = k.New(o); err != nil {
			return 0, err
		}
		defer clients[i].Close()
	}
	const atOnce = 16
	var (
		stale, next atomic.Int64
		failed      atomic.Pointer[error]
		wg          sync.WaitGroup
	)
	for range atOnce {
		wg.Go(func() {
			for id := int(next.Add(1)) - 1; id < r.Trials && failed.Load() == nil; id = int(next.Add(1)) - 1 {
				err := caught(func() error {
					old, err := trial(clients, rows, id)
					if old {
						stale.Add(1)
					}
					return err
				})
				if err != nil {
					failed.CompareAndSwap(nil, &err)
				}
			}
		})
	}
	wg.Wait()
	if err := failed.Load(); err != nil {
		return 0, *err
	}
	return int(stale.Load()), nil
}

// startServer starts a server from a goroutine that must not end.
func startServer(r *Run) (server *redistest.Server, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		server = redistest.Start(r)
	}()
	<-done
	if server == nil {
		err = fmt.Errorf("no server")
	}
	return server, err
}

// trial is the race for one row. It reports whether somebody reads an old version when all is over.
func trial(clients []layer.Layer, rows []atomic.Int64, id int) (old bool, err error) {
	ctx := context.Background()
	var (
		stop    atomic.Bool
		readers sync.WaitGroup
		writers sync.WaitGroup
		failed  atomic.Pointer[error]
	)
	fail := func(err error) {
		if err != nil {
			failed.CompareAndSwap(nil, &err)
		}
	}
	for _, c := range clients {
		for range 4 {
			readers.Go(func() {
				fail(caught(func() error {
					for !stop.Load() {
						if _, err := c.Get(ctx, id); err != nil {
							return err
						}
						time.Sleep(rand.N(200 * time.Microsecond))
					}
					return nil
				}))
			})
		}
	}
	apart := rand.N(5 * time.Millisecond)
	time.Sleep(rand.N(3 * time.Millisecond))
	for i := range 2 {
		writers.Go(func() {
			fail(caught(func() error {
				time.Sleep(time.Duration(i) * apart)
				rows[id].Add(1) // the commit
				return clients[i%len(clients)].Changed(ctx, id)
			}))
		})
	}
	writers.Wait()
	stop.Store(true)
	readers.Wait()
	if err := failed.Load(); err != nil {
		return false, *err
	}
	time.Sleep(100 * time.Millisecond)
	for _, c := range clients {
		v, err := c.Get(ctx, id)
		if err != nil {
			return false, err
		}
		old = old || v.Version < int(rows[id].Load())
	}
	return old, nil
}
