package scenario

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/result"
	"github.com/nearside/nearside/internal/redistest"
)

const (
	pushMedian  = "a write was seen by the last process after"
	pushLongest = "at most"
	writeTakes  = "an invalidation took"
	writes      = "writes per second"
	fleetWrites = 200 // per second
)

var fleetLayers = []string{layer.NearsideNear, layer.RueidisNear}

var byProcesses = Scenario{
	Name: "by-processes", Title: "By processes",
	Text: "Processes that keep 1,000 keys near and read them, Zipf, with one goroutine each that pauses for 50 µs after 64 reads, while this one writes 200 rows per second and invalidates them; one row of twenty is watched by all. " +
		"The rows are in a Redis of their own. All processes share the machine.",
	Tables: []result.Table{
		byPlace("Reads per second of all processes:", perSecond, "", result.Count, fleetLayers...),
		byPlace("The last process sees a write after its invalidation has returned, median:", pushMedian, "", result.Seconds, fleetLayers...),
		byPlace("The same, longest:", pushLongest, "", result.Seconds, fleetLayers...),
		byPlace("An invalidation takes, median:", writeTakes, "", result.Seconds, fleetLayers...),
		byPlace("Redis commands per second:", commands, "", result.Count, fleetLayers...),
	},
	Plots: []result.Plot{
		{Name: "processes-push", Title: "The last process sees a write", X: "processes", Y: "seconds after it has returned", Metric: pushMedian, LogX: true, LogY: true},
		{Name: "processes-reads", Title: "Near reads per second of all processes", X: "processes", Y: "per second", Metric: perSecond, LogX: true},
	},
	Run: func(r *Run) {
		for _, n := range r.Processes {
			for _, k := range layer.Find(fleetLayers...) {
				r.Say("%d processes, %s", n, k.Name)
				err := r.fleetOf(k, n)
				if err != nil { // a stall of the machine, as a rule: a write has no longer than a second
					r.Say("again, since %v", err)
					err = r.fleetOf(k, n)
				}
				if err != nil {
					r.Broken(k.Name, strconv.Itoa(n), err, perSecond)
				}
			}
		}
	},
}

const fleetKeys = 1000

// watched is the row whose writes all processes wait for.
const watched = 0

// truth is a table of versions, in a Redis that stands for the database.
type truth struct{ c rueidis.Client }

func openTruth(addr string) (truth, error) {
	c, err := rueidis.NewClient(rueidis.ClientOption{InitAddress: []string{addr}, DisableCache: true})
	return truth{c}, err
}

func (t truth) read(ctx context.Context, id int) (layer.Item, error) {
	v, err := t.c.Do(ctx, t.c.B().Get().Key(strconv.Itoa(id)).Build()).AsInt64()
	if rueidis.IsRedisNil(err) {
		v, err = 0, nil
	}
	return layer.Make(id, int(v)), err
}

func (t truth) readMany(ctx context.Context, ids []int) (map[int]layer.Item, error) {
	out := make(map[int]layer.Item, len(ids))
	var err error
	for _, id := range ids {
		if out[id], err = t.read(ctx, id); err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (t truth) write(ctx context.Context, id int) (int64, error) {
	return t.c.Do(ctx, t.c.B().Incr().Key(strconv.Itoa(id)).Build()).AsInt64()
}

// seen is what a process says when it is told to end.
type seen struct {
	Reads   float64         // per second
	Version map[int64]int64 // of the watched row: when it was first read, in ns since 1970
	Err     string
}

func (r *Run) fleetOf(k layer.Kind, n int) error {
	ctx := context.Background()
	at := strconv.Itoa(n)
	server, database := redistest.Start(r), redistest.Start(r)
	defer server.Stop()
	defer database.Stop()
	rows, err := openTruth(database.Addr)
	if err != nil {
		return err
	}
	defer rows.c.Close()
	in := &instance{Kind: k, server: server}
	o := in.options(2 * fleetKeys)
	o.Redis, o.Load, o.LoadMany = []string{server.Addr}, rows.read, rows.readMany
	if in.Layer, err = k.New(o); err != nil {
		return err
	}
	defer in.Close()
	children, err := r.fleet(n, job{What: "fleet", Kind: k.Name, Redis: []string{server.Addr, database.Addr}, Near: 2 * fleetKeys, Keys: fleetKeys})
	if err != nil {
		return err
	}
	defer disband(children)
	returned := map[int64]int64{} // versions of the watched row, and when their invalidation had returned
	var took []float64
	before, began := in.calls(), time.Now()
	for i := 0; time.Since(began) < max(4*r.Each, 200*time.Millisecond); i++ {
		time.Sleep(time.Until(began.Add(time.Duration(i) * time.Second / fleetWrites)))
		id := 1 + rand.IntN(fleetKeys-1)
		if i%20 == 0 {
			id = watched
		}
		version, err := rows.write(ctx, id)
		if err != nil {
			return err
		}
		invalidated := time.Now()
		if err := in.Changed(ctx, id); err != nil {
			return err
		}
		took = append(took, time.Since(invalidated).Seconds())
		if id == watched {
			returned[version] = time.Now().UnixNano()
		}
	}
	elapsed := time.Since(began)
	calls := in.calls() - before
	time.Sleep(100 * time.Millisecond) // the last push
	var reads float64
	delays := map[int64]float64{} // of each version, until the last process had it
	for _, c := range children {
		if err := c.tell(true); err != nil {
			return err
		}
		var s seen
		if err := c.hear(patience, &s); err != nil {
			return err
		}
		if s.Err != "" {
			return errors.New(s.Err)
		}
		reads += s.Reads
		for version, written := range returned {
			first := int64(0)
			for v, when := range s.Version { // it may have skipped one
				if v >= version && (first == 0 || when < first) {
					first = when
				}
			}
			if first == 0 {
				return fmt.Errorf("a process never saw version %d of the watched row", version)
			}
			delays[version] = max(delays[version], float64(first-written)/1e9) // below zero: before the call had returned
		}
	}
	var all result.Point
	longest := 0.0
	for _, d := range delays {
		all.Values = append(all.Values, max(d, 1e-6))
		longest = max(longest, d)
	}
	r.Record(k.Name, at, perSecond, reads)
	r.Record(k.Name, at, pushMedian, all.Median())
	r.Record(k.Name, at, pushLongest, longest)
	invalidations := result.Point{Values: took}
	r.Record(k.Name, at, writeTakes, invalidations.Median())
	r.Record(k.Name, at, writes, float64(len(took))/elapsed.Seconds())
	r.Record(k.Name, at, commands, float64(calls)/elapsed.Seconds())
	return nil
}

func fleetChild(j job, in *json.Decoder, out *json.Encoder) error {
	rows, err := openTruth(j.Redis[1])
	if err != nil {
		return err
	}
	defer rows.c.Close()
	j.Redis = j.Redis[:1]
	l, err := j.open(func(o *layer.Options) { o.Load, o.LoadMany = rows.read, rows.readMany })
	if err != nil {
		return err
	}
	defer l.Close()
	for range 3 {
		if err := l.read(j.Keys, false); err != nil {
			return err
		}
	}
	if err := out.Encode(true); err != nil {
		return err
	}
	var stop atomic.Bool
	end := make(chan error, 1)
	go func() {
		var v bool
		end <- in.Decode(&v)
		stop.Store(true)
	}()
	s := seen{Version: map[int64]int64{}}
	ctx, began, n := context.Background(), time.Now(), 0
	ids := zipf(j.Keys)
	c := &caller{ids: ids, at: rand.IntN(len(ids))}
	var known int64
	for !stop.Load() {
		id := c.next()
		if n%8 == 0 {
			id = watched
		}
		v, err := l.Get(ctx, id)
		if err != nil {
			s.Err = err.Error()
			break
		}
		n++
		if id == watched && int64(v.Version) > known {
			known = int64(v.Version)
			s.Version[known] = time.Now().UnixNano()
		}
		if n%64 == 0 {
			time.Sleep(50 * time.Microsecond) // so that 16 of them leave the machine to the others
		}
	}
	s.Reads = float64(n) / time.Since(began).Seconds()
	if err := <-end; err != nil {
		return err
	}
	return out.Encode(s)
}
