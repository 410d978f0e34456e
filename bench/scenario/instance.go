package scenario

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/internal/redistest"
)

// instance is one layer of a run, with a server of its own, so that none reads what another wrote.
type instance struct {
	layer.Kind
	layer.Layer
	server *redistest.Server
	loads  atomic.Int64 // calls of the loader
	err    error        // why it could not be made, or made ready
}

const ttl = time.Hour

// options are those of a layer whose rows are made from their ids.
func (in *instance) options(near int) layer.Options {
	o := layer.Options{Near: near, TTL: ttl}
	o.Load = func(_ context.Context, id int) (layer.Item, error) {
		in.loads.Add(1)
		return layer.Make(id, 0), nil
	}
	o.LoadMany = func(_ context.Context, ids []int) (map[int]layer.Item, error) {
		in.loads.Add(int64(len(ids)))
		out := make(map[int]layer.Item, len(ids))
		for _, id := range ids {
			out[id] = layer.Make(id, 0)
		}
		return out, nil
	}
	return o
}

// unbounded is a budget of nearside where loads, bytes or hits are counted and not timed: no stall of the machine has it go
// past Redis.
const unbounded = 5 * time.Second

// apart has the loader make rows that have nothing in common, as those of a database and of Redis: Make shares its strings,
// which is less for the heap to hold.
func apart(o *layer.Options) {
	load := o.Load
	o.Load = func(ctx context.Context, id int) (v layer.Item, err error) {
		if v, err = load(ctx, id); err != nil {
			return v, err
		}
		data, err := json.Marshal(v)
		if err != nil {
			return v, err
		}
		var own layer.Item
		err = json.Unmarshal(data, &own)
		return own, err
	}
	o.LoadMany = func(ctx context.Context, ids []int) (map[int]layer.Item, error) {
		out := make(map[int]layer.Item, len(ids))
		for _, id := range ids {
			v, err := o.Load(ctx, id)
			if err != nil {
				return nil, err
			}
			out[id] = v
		}
		return out, nil
	}
}

// open makes the layers. set, if it is not nil, has the last word on their options.
func (r *Run) open(kinds []layer.Kind, near int, set func(*instance, *layer.Options)) []*instance {
	ins := make([]*instance, len(kinds))
	for i, k := range kinds {
		in := &instance{Kind: k}
		ins[i] = in
		o := in.options(near)
		if !k.NoRedis {
			in.server = redistest.Start(r)
			o.Redis = []string{in.server.Addr}
		}
		if set != nil {
			set(in, &o)
		}
		r.Say("open %s", k.Name)
		in.err = bounded(patience, "open it", func() (err error) { in.Layer, err = k.New(o); return err })
		if in.err == nil {
			r.Cleanup(func() {
				if err := bounded(patience, "close it", func() error { in.Close(); return nil }); err != nil {
					r.Say("%s: %v", k.Name, err)
				}
			})
		}
	}
	return ins
}

// ready has the layers hold the ids below n, in the process as well where they have a tier there, or records why they do not.
func (r *Run) ready(ins []*instance, n int, places []string, metrics ...string) {
	for _, in := range ins {
		if in.err == nil {
			r.Say("seed %s", in.Name)
			in.err = bounded(4*patience, "seed it", func() error { return in.seed(n) })
		}
		if in.err != nil {
			for _, at := range places {
				r.Broken(in.Name, at, in.err, metrics...)
			}
		}
	}
}

func (in *instance) seed(n int) error {
	passes := 1
	if in.Near {
		passes = 3 // some keep a value near when they read it again
	}
	for pass := range passes {
		// A batch that was read is kept by some as one, so that the keys are then read one by one.
		err := in.read(n, pass == 0 && in.Batch)
		for try := 1; err == nil && in.server != nil; try++ {
			if err = holds(in.server, n); err == nil || try == 3 {
				break
			}
			err = in.read(n, in.Batch) // a stall of the machine had some go past Redis
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holds waits until a server holds n keys, since some layers fill behind the answer.
func holds(s *redistest.Server, n int) error {
	for until := time.Now().Add(patience / 3); ; time.Sleep(10 * time.Millisecond) {
		held := infoNumber(s, "keyspace", "db0:keys=")
		if held >= n {
			return nil
		}
		if time.Now().After(until) {
			return fmt.Errorf("of %d keys it has put %d into Redis", n, held)
		}
	}
}

// read reads all ids below n once, many at once or one by one.
func (in *instance) read(n int, batches bool) error {
	const at, callers = 100, 8
	var wg sync.WaitGroup
	var next atomic.Int64
	errs := make([]error, callers)
	for i := range callers {
		wg.Go(func() {
			for {
				from := int(next.Add(at)) - at
				if from >= n {
					return
				}
				ids := make([]int, 0, at)
				for id := from; id < min(from+at, n); id++ {
					ids = append(ids, id)
				}
				var err error
				if batches {
					_, err = in.GetMany(context.Background(), ids)
				} else {
					for _, id := range ids {
						if _, err = in.Get(context.Background(), id); err != nil {
							break
						}
					}
				}
				if err != nil {
					errs[i] = err
					return
				}
			}
		})
	}
	wg.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// info returns a number from INFO: what stands behind a word.
func (in *instance) info(section, word string) int {
	return infoNumber(in.server, section, word)
}

func infoNumber(s *redistest.Server, section, word string) int {
	_, rest, ok := strings.Cut(info(s, section), word)
	if !ok {
		return 0
	}
	end := strings.IndexFunc(rest, func(c rune) bool { return c < '0' || c > '9' })
	if end < 0 {
		end = len(rest)
	}
	n, _ := strconv.Atoi(rest[:end])
	return n
}

// info is empty if the server does not answer: what is told from it is then missing, and the layer's own error says why.
func info(s *redistest.Server, section string) (text string) {
	_ = Outside(func(t testing.TB) {
		text, _ = s.Do(t, "INFO", section).ToString()
	})
	return strings.TrimPrefix(text, "txt:")
}

// calls returns how many commands the server has run, those of scripts included, but for those that belong to connections.
func (in *instance) calls() (n int) {
	if in.server == nil {
		return 0
	}
	for line := range strings.Lines(info(in.server, "commandstats")) {
		name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
		switch command, _, _ := strings.Cut(name, "|"); command {
		case "info", "ping", "client", "hello", "config", "command", "dbsize", "select", "auth", "scan", "unlink":
			continue
		}
		count, _, _ := strings.Cut(rest, ",")
		k, _ := strconv.Atoi(count)
		n += k
	}
	return n
}

// measure drives a layer and records what came of it.
func (r *Run) measure(in *instance, at string, d drive, op func(ctx context.Context, c *caller) error) {
	metrics := []string{perSecond, allocations, commands}
	if !d.silent {
		metrics = append(metrics, p50, p99)
	}
	var out driven
	var calls int
	err := unshed(in.Layer, func() (n int, err error) {
		before := in.calls()
		out, err = d.run(op)
		calls = in.calls() - before
		return out.n, err
	})
	if err != nil {
		r.Broken(in.Name, at, err, metrics...)
		return
	}
	values := []float64{out.perSecond, out.allocations, float64(calls) / float64(out.n), out.p50.Seconds(), out.p99.Seconds()}
	for i, metric := range metrics {
		r.Record(in.Name, at, metric, values[i])
	}
}

// unshed repeats what measured reads that went past Redis, up to a few times. f returns how many reads there were.
func unshed(l layer.Layer, f func() (n int, err error)) error {
	sheds, ok := l.(layer.Sheds)
	for try := 1; ; try++ {
		var before uint64
		if ok {
			before = sheds.PastRedis()
		}
		n, err := f()
		if err != nil || !ok {
			return err
		}
		past := float64(sheds.PastRedis()-before) / float64(n)
		if past < 0.001 {
			return nil
		}
		if try == 5 {
			return fmt.Errorf("%.1f %% of the reads went past Redis, which was too slow, also when measured again", 100*past)
		}
		time.Sleep(time.Second) // it asks Redis again
	}
}

// get reads what the caller asks for next.
func (in *instance) get(ctx context.Context, c *caller) error {
	id := c.next()
	v, err := in.Get(ctx, id)
	if err == nil && v.ID != id {
		err = fmt.Errorf("asked for %d, was given %d", id, v.ID)
	}
	return err
}

func texts(ns []int) []string {
	out := make([]string, len(ns))
	for i, n := range ns {
		out[i] = strconv.Itoa(n)
	}
	return out
}

func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}

// forget removes what was made of fresh ids, key by key: FLUSHALL is no event of every day, and not all layers survive it.
func (in *instance) forget(r *Run) {
	ctx := context.Background()
	c := in.server.Client(r)
	for cursor := uint64(0); ; {
		e, err := c.Do(ctx, c.B().Scan().Cursor(cursor).Match(layer.Key(freshFrom)[:6]+"?????????").Count(5000).Build()).AsScanEntry()
		if err != nil {
			r.Fatal(err)
		}
		if len(e.Elements) > 0 {
			if err := c.Do(ctx, c.B().Unlink().Key(e.Elements...).Build()).Error(); err != nil {
				r.Fatal(err)
			}
		}
		if cursor = e.Cursor; cursor == 0 {
			return
		}
	}
}
