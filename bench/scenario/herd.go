package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/result"
	"github.com/nearside/nearside/internal/redistest"
)

const (
	loadsPerKey = "loads per cold key"
	slowest     = "the slowest process was done after"
)

var herd = Scenario{
	Name: "herd", Title: "Loads of a cold key",
	Text: "{processes} processes of {callers} goroutines each ask for a key that nobody holds, at once; the load takes {load}. {cold} keys, one after the other. One load is what is needed; a bare client has one for each caller. The time is the " +
		"median and the longest over the keys, until the last caller of all is served.",
	Tables: []result.Table{{Columns: []result.Column{
		{Head: "loads per key", At: "fleet", Metric: loadsPerKey, Format: result.Exact},
		{Head: "the last caller was served after", At: "median", Metric: slowest, Format: result.Seconds},
		{Head: "at most", At: "longest", Metric: slowest, Format: result.Seconds},
	}}},
	Run: func(r *Run) {
		for _, k := range layer.Where(onRedis) {
			r.Say("%s", k.Name)
			loads, took, err := r.herd(k)
			if err != nil {
				r.Broken(k.Name, "fleet", err, loadsPerKey)
				continue
			}
			r.Record(k.Name, "fleet", loadsPerKey, loads)
			r.Record(k.Name, "median", slowest, took.Median())
			longest := 0.0
			for _, v := range took.Values {
				longest = max(longest, v)
			}
			r.Record(k.Name, "longest", slowest, longest)
		}
	},
}

// answer is what a process says of one key.
type answer struct {
	Loads int
	Ended int64 // when its last caller was served, in ns since 1970: the processes share a clock
	Err   string
}

func (r *Run) herd(k layer.Kind) (loads float64, took result.Point, err error) {
	server := redistest.Start(r)
	defer server.Stop()
	children, err := r.fleet(r.Herd.Processes, job{
		What: "herd", Kind: k.Name, Redis: []string{server.Addr}, Near: 1000, Callers: r.Herd.Callers, Load: r.Herd.Load,
	})
	if err != nil {
		return 0, took, err
	}
	defer disband(children)
	all := 0
	for i := range r.Herd.Keys {
		id := freshFrom + i
		began := time.Now()
		for _, c := range children {
			if err := c.tell(id); err != nil {
				return 0, took, err
			}
		}
		var last int64
		for _, c := range children {
			var a answer
			if err := c.hear(patience, &a); err != nil {
				return 0, took, err
			}
			if a.Err != "" {
				return 0, took, fmt.Errorf("%s", a.Err)
			}
			all += a.Loads
			last = max(last, a.Ended)
		}
		took.Values = append(took.Values, time.Unix(0, last).Sub(began).Seconds())
	}
	return float64(all) / float64(r.Herd.Keys), took, nil
}

func herdChild(j job, in *json.Decoder, out *json.Encoder) error {
	var l *instance
	l, err := j.open(func(o *layer.Options) {
		o.Load = func(_ context.Context, id int) (layer.Item, error) {
			l.loads.Add(1)
			time.Sleep(j.Load)
			return layer.Make(id, 0), nil
		}
	})
	if err != nil {
		return err
	}
	if _, err := l.Get(context.Background(), freshFrom-1); err != nil { // its connections are made
		return err
	}
	if err := out.Encode(true); err != nil {
		return err
	}
	for {
		var id int
		if err := in.Decode(&id); err != nil {
			return err
		}
		before := l.loads.Load()
		var wg sync.WaitGroup
		errs := make(chan error, j.Callers)
		for range j.Callers {
			wg.Go(func() {
				if _, err := l.Get(context.Background(), id); err != nil {
					errs <- err
				}
			})
		}
		wg.Wait()
		a := answer{Loads: int(l.loads.Load() - before), Ended: time.Now().UnixNano()}
		if len(errs) > 0 {
			a.Err = (<-errs).Error()
		}
		if err := out.Encode(a); err != nil {
			return err
		}
	}
}
