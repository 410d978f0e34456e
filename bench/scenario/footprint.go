package scenario

import (
	"context"
	"encoding/json"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/result"
	"github.com/nearside/nearside/internal/redistest"
)

const (
	heapBytes  = "bytes of the heap per near entry"
	redisBytes = "bytes of Redis per entry"
)

var footprint = Scenario{
	Name: "footprint", Title: "Memory per entry",
	Text: "{entries} entries in a process of its own: what the heap and Redis (used_memory) have grown by, after a collection, divided by the entries. A value is 530 bytes as JSON. " +
		"What is not kept near costs no heap. Tracking, which near tiers that are told of changes need, is memory of Redis too. In brackets the ratio to otter and to SET.",
	Tables: []result.Table{{Columns: []result.Column{
		{Head: "heap", At: "entry", Metric: heapBytes, Floor: layer.Otter, Format: result.Whole},
		{Head: "Redis", At: "entry", Metric: redisBytes, Floor: layer.Rueidis, Format: result.Whole},
	}}},
	Run: func(r *Run) {
		for range min(r.Rounds, 3) {
			for _, k := range layer.Kinds {
				r.Say("%s", k.Name)
				if err := r.footprint(k); err != nil {
					r.Broken(k.Name, "entry", err, heapBytes)
				}
			}
		}
	},
}

func (r *Run) footprint(k layer.Kind) error {
	j := job{What: "footprint", Kind: k.Name, Near: 2 * r.Entries, Keys: r.Entries}
	var server *redistest.Server
	if !k.NoRedis {
		server = redistest.Start(r)
		defer server.Stop()
		j.Redis = []string{server.Addr}
	}
	c, err := r.spawn(j)
	if err != nil {
		return err
	}
	defer c.end()
	before := 0
	if server != nil {
		before = infoNumber(server, "memory", "used_memory:")
	}
	if err := c.tell(true); err != nil {
		return err
	}
	var heap float64
	if err := c.hear(4*patience, &heap); err != nil {
		return err
	}
	if k.Near {
		r.Record(k.Name, "entry", heapBytes, heap)
	}
	if server != nil {
		if err := holds(server, r.Entries); err != nil {
			return err
		}
		r.Record(k.Name, "entry", redisBytes, float64(infoNumber(server, "memory", "used_memory:")-before)/float64(r.Entries))
	}
	return nil
}

func footprintChild(j job, in *json.Decoder, out *json.Encoder) error {
	l, err := j.open(apart)
	if err != nil {
		return err
	}
	if len(j.Redis) > 0 { // the buffers of its connections are no entries
		if _, err := l.Get(context.Background(), freshFrom); err != nil {
			return err
		}
		time.Sleep(500 * time.Millisecond) // neither are those of connections that are made behind it, as for pushes
	}
	before := heap()
	if err := out.Encode(true); err != nil {
		return err
	}
	var begin bool
	if err := in.Decode(&begin); err != nil {
		return err
	}
	passes := 1
	if l.Near {
		passes = 3
	}
	for pass := range passes {
		if err := l.read(j.Keys, pass == 0 && l.Batch); err != nil {
			return err
		}
		time.Sleep(200 * time.Millisecond) // some fill behind the answer
	}
	time.Sleep(l.Settles)
	if err := out.Encode(float64(heap()-before) / float64(j.Keys)); err != nil {
		return err
	}
	err = in.Decode(&begin)
	runtime.KeepAlive(l)
	return err
}

// heap is what is alive on the heap.
func heap() int64 {
	runtime.GC()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
