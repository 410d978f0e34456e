package scenario

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/result"
	"github.com/nearside/nearside/codec"
	"github.com/nearside/nearside/internal/redistest"
)

// byPlace is a table with a row for each place and a column for each layer.
func byPlace(title, metric, floor string, format func(float64) string, layers ...string) result.Table {
	t := result.Table{Title: title, ByPlace: true}
	for _, l := range layers {
		t.Columns = append(t.Columns, result.Column{Head: l, Layer: l, Metric: metric, Floor: floor, Format: format})
	}
	return t
}

var goroutineLayers = []string{layer.Rueidis, layer.Tuned, layer.Nearside, "go-redis", "go-redis, AutoPipeline"}

var byGoroutines = Scenario{
	Name: "by-goroutines", Title: "By goroutines",
	Text: "Redis hits as above. In brackets the ratio to rueidis with its default settings.",
	Tables: []result.Table{
		byPlace("Per second:", perSecond, layer.Rueidis, result.Count, goroutineLayers...),
		byPlace("The 99th percentile:", p99, layer.Rueidis, result.Seconds, goroutineLayers...),
	},
	Plots: []result.Plot{
		{Name: "goroutines-throughput", Title: "Redis hits per second", X: "goroutines", Y: "per second", Metric: perSecond, LogX: true},
		{Name: "goroutines-p99", Title: "Redis hits, 99th percentile", X: "goroutines", Y: "seconds", Metric: p99, LogX: true, LogY: true},
	},
	Run: func(r *Run) {
		ins := r.open(layer.Find(goroutineLayers...), 0, nil)
		places := texts(r.Goroutines)
		r.ready(ins, r.Keys, places, perSecond)
		ids := zipf(r.Keys)
		r.rounds(ins, places, func(in *instance, at string) {
			r.measure(in, at, drive{callers: number(at), each: r.Each, ids: ids}, in.get)
		})
	},
}

// The ways to store a large value. They are nearside with different codecs.
const (
	s2Layer   = "nearside, s2"
	zstdLayer = "nearside, zstd"
	stored    = "bytes stored"
)

var sizeLayers = []string{layer.Tuned, layer.Nearside, s2Layer, zstdLayer}

var bySize = Scenario{
	Name: "by-size", Title: "By value size, with and without compression",
	Text: "Redis hits by 16 goroutines of values whose text has about so many bytes: words in random order, which compress like prose. " +
		"`codec.Compressed` leaves values up to 1 KiB as they are. In brackets the ratio to rueidis with the same settings of its connection.",
	Tables: []result.Table{
		byPlace("Per second:", perSecond, layer.Tuned, result.Count, sizeLayers...),
		byPlace("The 99th percentile:", p99, layer.Tuned, result.Seconds, sizeLayers...),
		byPlace("Bytes in Redis:", stored, layer.Tuned, result.Count, sizeLayers...),
	},
	Plots: []result.Plot{
		{Name: "size-throughput", Title: "Redis hits per second", X: "bytes of a value", Y: "per second", Metric: perSecond, LogX: true, LogY: true},
		{Name: "size-p99", Title: "Redis hits, 99th percentile", X: "bytes of a value", Y: "seconds", Metric: p99, LogX: true, LogY: true},
		{Name: "size-stored", Title: "What stands in Redis", X: "bytes of a value", Y: "bytes", Metric: stored, LogX: true, LogY: true},
	},
	Run: runBySize,
}

func runBySize(r *Run) {
	ours := layer.Find(layer.Nearside)[0]
	s2, zstd := ours, ours
	s2.Name, zstd.Name = s2Layer, zstdLayer
	kinds := append(layer.Find(layer.Tuned, layer.Nearside), s2, zstd)
	for _, size := range r.Values {
		keys := min(max(50_000_000/size, 20), r.Keys)
		ins := r.open(kinds, 0, func(in *instance, o *layer.Options) {
			o.Budget = 5 * time.Second // else the loader answers where values are large
			switch in.Name {
			case s2Layer:
				o.Codec = codec.Compressed(codec.JSON[layer.Item](), codec.Compression{Algorithm: codec.S2})
			case zstdLayer:
				o.Codec = codec.Compressed(codec.JSON[layer.Item](), codec.Compression{Algorithm: codec.Zstd})
			}
			o.Load = func(_ context.Context, id int) (layer.Item, error) { return large(id, size), nil }
			o.LoadMany = func(_ context.Context, ids []int) (map[int]layer.Item, error) {
				out := make(map[int]layer.Item, len(ids))
				for _, id := range ids {
					out[id] = large(id, size)
				}
				return out, nil
			}
		})
		places := texts([]int{size})
		r.ready(ins, keys, places, perSecond)
		for _, in := range ins {
			if in.err == nil {
				length, _ := in.server.Do(r, "STRLEN", layer.Key(0)).AsInt64()
				r.Record(in.Name, places[0], stored, float64(length))
			}
		}
		ids := zipf(keys)
		r.rounds(ins, places, func(in *instance, at string) {
			r.measure(in, at, drive{callers: 16, each: r.Each, ids: ids}, in.get)
		})
		for _, in := range ins {
			in.server.FlushAll(r) // its memory is for the next
		}
	}
}

var words = strings.Fields("the layer answers where a database would be asked again and again for what it has told before so a value is near in the process " +
	"or at hand behind one trip or loaded once by one process for everybody who waits while writers say what has changed and nobody is given what was true before")

// large returns a row whose text has so many bytes.
func large(id, size int) layer.Item {
	rng := rand.New(rand.NewPCG(uint64(id), 1))
	var b strings.Builder
	for b.Grow(size + 10); b.Len() < size; b.WriteByte(' ') {
		b.WriteString(words[rng.IntN(len(words))])
		if rng.IntN(4) == 0 {
			b.WriteString(strconv.Itoa(rng.IntN(1000)))
		}
	}
	v := layer.Make(id, 0)
	v.Bio = b.String()[:size]
	return v
}

const (
	withGarbage = "operations per second beside garbage"
	collector   = "share of the collector"
	collection  = "seconds of one collection"
)

// garbage has the compiler leave an allocation in.
var garbage atomic.Pointer[[]byte]

var (
	keyLayers  = []string{layer.Rueidis, layer.Nearside, layer.Otter, layer.NearsideNear}
	nearLayers = []string{layer.Otter, layer.NearsideNear}
)

var byKeys = Scenario{
	Name: "by-keys", Title: "By keys",
	Text: "Zipf over so many keys, hits on Redis by 64 goroutines, near hits by as many as there are cores. One layer after the other, since the heap of one is work for the collector of all. " +
		"Near hits allocate nothing, so nothing is collected; beside garbage means that each operation makes 1 KiB of it, as a request does, and the share is that of the collector in all processor time then.",
	Tables: []result.Table{
		byPlace("Per second (ratio to rueidis):", perSecond, layer.Rueidis, result.Count, layer.Rueidis, layer.Nearside),
		byPlace("The 99th percentile:", p99, layer.Rueidis, result.Seconds, layer.Rueidis, layer.Nearside),
		byPlace("Near, per second (ratio to otter):", perSecond, layer.Otter, result.Count, nearLayers...),
		byPlace("Near, beside garbage:", withGarbage, layer.Otter, result.Count, nearLayers...),
		byPlace("The collector's share then:", collector, "", result.Percent, nearLayers...),
		byPlace("One collection:", collection, "", result.Seconds, nearLayers...),
	},
	Plots: []result.Plot{
		{Name: "keys-throughput", Title: "Hits per second", X: "keys", Y: "per second", Metric: perSecond, LogX: true, LogY: true},
		{Name: "keys-collector", Title: "The collector's share, 1 KiB of garbage with each near hit", X: "near entries", Y: "share", Metric: collector, LogX: true},
	},
	Run: func(r *Run) {
		for _, n := range r.KeyCounts {
			for _, k := range layer.Find(keyLayers...) {
				r.Say("%d keys, %s", n, k.Name)
				if err := r.keys(k, n); err != nil {
					r.Broken(k.Name, strconv.Itoa(n), err, perSecond)
				}
			}
		}
	},
}

func (r *Run) keys(k layer.Kind, n int) error {
	at := strconv.Itoa(n)
	in := &instance{Kind: k}
	o := in.options(n + n/4)
	apart(&o)
	if k.Near {
		o.Budget = unbounded // no hit is a matter of it
	}
	if !k.NoRedis {
		in.server = redistest.Start(r)
		defer in.server.Stop()
		o.Redis = []string{in.server.Addr}
	}
	if in.Layer, in.err = k.New(o); in.err != nil {
		return in.err
	}
	defer in.Close()
	if err := bounded(20*patience, "seed it", func() error { return in.seed(n) }); err != nil {
		return err
	}
	ids := zipf(n)
	for range min(r.Rounds, 3) {
		if !k.Near {
			r.measure(in, at, drive{callers: 64, each: r.Each, ids: ids}, in.get)
			continue
		}
		near := drive{callers: runtime.GOMAXPROCS(0), each: r.Each, ids: ids, silent: true}
		r.measure(in, at, near, in.get)
		var out driven
		share, err := collectorShare(func() (err error) {
			out, err = near.run(func(ctx context.Context, c *caller) error {
				b := make([]byte, 1<<10)
				garbage.Store(&b)
				return in.get(ctx, c)
			})
			return err
		})
		if err != nil {
			return err
		}
		r.Record(k.Name, at, withGarbage, out.perSecond)
		r.Record(k.Name, at, collector, share)
		began := time.Now()
		runtime.GC()
		r.Record(k.Name, at, collection, time.Since(began).Seconds())
	}
	return nil
}

var masterLayers = []string{layer.Tuned, layer.Nearside}

var byMasters = Scenario{
	Name: "by-masters", Title: "By masters",
	Text: "Redis hits by 128 goroutines on a cluster. All masters and the client share the machine, so this is what spreading costs, and not what it gains. " +
		"In brackets the ratio to rueidis with the same settings.",
	Tables: []result.Table{
		byPlace("Per second:", perSecond, layer.Tuned, result.Count, masterLayers...),
		byPlace("The 99th percentile:", p99, layer.Tuned, result.Seconds, masterLayers...),
	},
	Plots: []result.Plot{{Name: "masters-throughput", Title: "Redis hits per second", X: "masters", Y: "per second", Metric: perSecond}},
	Run: func(r *Run) {
		for _, masters := range r.Masters {
			r.Say("%d masters", masters)
			cluster := redistest.StartCluster(r, masters, 0)
			var addrs []string
			for _, s := range cluster.Nodes {
				addrs = append(addrs, s.Addr)
			}
			at := fmt.Sprint(masters)
			var ins []*instance
			for _, k := range layer.Find(masterLayers...) {
				in := &instance{Kind: k}
				o := in.options(0)
				o.Redis, o.Cluster = addrs, true
				in.err = bounded(patience, "open it", func() (err error) { in.Layer, err = k.New(o); return err })
				if in.err == nil {
					defer in.Close()
					// The other one finds what the first has filled: their bytes are the same.
					in.err = bounded(4*patience, "seed it", func() error { return in.read(r.Keys, true) })
				}
				if in.err != nil {
					r.Broken(k.Name, at, in.err, perSecond, p99)
				}
				ins = append(ins, in)
			}
			ids := zipf(r.Keys)
			r.rounds(ins, []string{at}, func(in *instance, at string) {
				var out driven
				err := unshed(in.Layer, func() (n int, err error) {
					out, err = drive{callers: 128, each: r.Each, ids: ids}.run(in.get)
					return out.n, err
				})
				if err != nil {
					r.Broken(in.Name, at, err, perSecond, p99)
					return
				}
				r.Record(in.Name, at, perSecond, out.perSecond)
				r.Record(in.Name, at, p99, out.p99.Seconds())
			})
		}
	},
}
