package scenario

import (
	"context"
	"fmt"
	"runtime"
	"strconv"
	"sync/atomic"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/result"
)

func onRedis(k layer.Kind) bool   { return !k.NoRedis }
func inProcess(k layer.Kind) bool { return k.Near }

var nearHit = Scenario{
	Name: "near-hit", Title: "Near hit",
	Text: "Values that the process holds, Zipf over {keys} keys, as many goroutines as cores. In brackets the ratio to otter.",
	Tables: []result.Table{{Columns: []result.Column{
		{Head: "per second", At: "all", Metric: perSecond, Floor: layer.Otter, Format: result.Count},
		{Head: "allocations", At: "all", Metric: allocations, Format: result.Exact},
		{Head: "Redis commands", At: "all", Metric: commands, Format: result.Exact},
	}}},
	Run: func(r *Run) {
		ins := r.open(layer.Where(inProcess), 2*r.Keys, func(_ *instance, o *layer.Options) {
			apart(o)
			o.Budget = unbounded // no hit is a matter of it
		})
		places := []string{"all"}
		r.ready(ins, r.Keys, places, perSecond)
		ids := zipf(r.Keys)
		r.rounds(ins, places, func(in *instance, at string) {
			r.measure(in, at, drive{callers: runtime.GOMAXPROCS(0), each: r.Each, ids: ids, silent: true}, in.get)
		})
	},
}

func columns(places []string, metric, unit, floor string, format func(float64) string) (cs []result.Column) {
	for _, at := range places {
		cs = append(cs, result.Column{Head: at + unit, At: at, Metric: metric, Floor: floor, Format: format})
	}
	return cs
}

const oldJSON = "The peers decode by encoding/json of this Go; nearside by that of Go 1.27, and once more by theirs."

// withOldJSON adds nearside with the decoder of the peers.
func withOldJSON(kinds []layer.Kind) (all []layer.Kind) {
	for _, k := range kinds {
		if all = append(all, k); k.Name == layer.Nearside {
			all = append(all, layer.OwnWithOldJSON)
		}
	}
	return all
}

var hitCallers = []string{"1", "16", "128", "512"}

var redisHit = Scenario{
	Name: "redis-hit", Title: "Redis hit",
	Text: "Values that Redis holds, decoded, Zipf over {keys} keys, by goroutines. In brackets the ratio to rueidis with its default settings. " + oldJSON,
	Tables: []result.Table{
		{Title: "Per second:", Columns: append(columns(hitCallers, perSecond, "", layer.Rueidis, result.Count),
			result.Column{Head: "allocations (at 128)", At: "128", Metric: allocations, Format: result.Exact},
			result.Column{Head: "Redis commands (at 128)", At: "128", Metric: commands, Format: result.Exact})},
		{Title: "The 99th percentile:", Columns: columns(hitCallers, p99, "", layer.Rueidis, result.Seconds)},
	},
	Run: func(r *Run) {
		ins := r.open(withOldJSON(layer.Where(func(k layer.Kind) bool { return !k.Near })), 0, nil)
		r.ready(ins, r.Keys, hitCallers, perSecond, p99)
		ids := zipf(r.Keys)
		r.rounds(ins, hitCallers, func(in *instance, at string) {
			r.measure(in, at, drive{callers: number(at), each: r.Each, ids: ids}, in.get)
		})
	},
}

// fresh hands out ids that nobody has asked for.
var fresh atomic.Int64

const freshFrom = 1_000_000_000

func freshID() int { return freshFrom + int(fresh.Add(1)) }

var missAndFill = Scenario{
	Name: "miss", Title: "Miss and fill",
	Text: "Keys that nobody has asked for, by 64 goroutines, with a loader that answers at once: what the layer costs beside a database. " +
		"Commands of scripts count as well. gocache and sturdyc answer before they have filled. In brackets the ratio to a GET and a SET by rueidis.",
	Tables: []result.Table{{Columns: []result.Column{
		{Head: "per second", At: "64", Metric: perSecond, Floor: layer.Rueidis, Format: result.Count},
		{Head: "p99", At: "64", Metric: p99, Floor: layer.Rueidis, Format: result.Seconds},
		{Head: "allocations", At: "64", Metric: allocations, Format: result.Exact},
		{Head: "Redis commands", At: "64", Metric: commands, Format: result.Exact},
	}}},
	Run: func(r *Run) {
		ins := r.open(layer.Where(onRedis), r.Keys, nil)
		places := []string{"64"}
		r.ready(ins, min(r.Keys, 300), places, perSecond)
		r.rounds(ins, places, func(in *instance, at string) {
			r.measure(in, at, drive{callers: 64, each: r.Each}, func(ctx context.Context, _ *caller) error {
				_, err := in.Get(ctx, freshID())
				return err
			})
			in.forget(r)
		})
	},
}

const batch = 100

var getMany = Scenario{
	Name: "get-many", Title: "GetMany of 100",
	Text: "By one goroutine, batches per second: all in Redis, all in the process, and half of them asked for by nobody before. Layers that read many keys one by one are left out. " +
		"In brackets the ratio to the floor: rueidis with MGET and a pipeline of SETs, and otter in the process. " + oldJSON,
	Tables: []result.Table{{Columns: []result.Column{
		{Head: "in Redis", At: "redis", Metric: perSecond, Floor: layer.Rueidis, Format: result.Count},
		{Head: "near", At: "near", Metric: perSecond, Floor: layer.Otter, Format: result.Count},
		{Head: "half cold", At: "half", Metric: perSecond, Floor: layer.Rueidis, Format: result.Count},
		{Head: "allocations in Redis", At: "redis", Metric: allocations, Format: result.Whole},
		{Head: "near", At: "near", Metric: allocations, Format: result.Whole},
		{Head: "half cold", At: "half", Metric: allocations, Format: result.Whole},
		{Head: "Redis commands, half cold", At: "half", Metric: commands, Format: result.Whole},
	}}},
	Run: func(r *Run) {
		ins := r.open(withOldJSON(layer.Where(func(k layer.Kind) bool { return k.Batch })), 2*r.Keys, nil)
		places := []string{"redis", "near", "half"}
		r.ready(ins, r.Keys, nil)
		r.rounds(ins, places, func(in *instance, at string) {
			if at == "redis" && in.Near || at == "near" && !in.Near || at == "half" && in.NoRedis {
				return
			}
			r.measure(in, at, drive{callers: 1, each: r.Each}, func(ctx context.Context, c *caller) error {
				ids := make([]int, batch)
				for i := range ids {
					if c.at++; at == "half" && i%2 == 0 {
						ids[i] = freshID()
					} else {
						ids[i] = c.at * 7 % r.Keys
					}
				}
				found, err := in.GetMany(ctx, ids)
				if err == nil && len(found) != batch {
					err = fmt.Errorf("%d of %d", len(found), batch)
				}
				return err
			})
		})
		for _, in := range ins {
			if in.err != nil {
				r.Broken(in.Name, strconv.Itoa(batch), in.err, perSecond)
			}
		}
	},
}
