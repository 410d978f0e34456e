package nearside_test

import (
	"context"
	"encoding/json"
	"strconv"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside"
)

// GetMany of 100 keys of which nobody has asked for every other one, beside MGET and a pipeline of SETs with the same codec.
func BenchmarkGetManyHalfCold(b *testing.B) {
	var next atomic.Int64
	next.Store(1 << 40)
	batch := func() []int64 {
		ids := make([]int64, 100)
		for i := range ids {
			if ids[i] = int64(i * 7); i%2 == 0 {
				ids[i] = next.Add(1)
			}
		}
		return ids
	}
	server, _, c := seeded(b, 0)
	cache := nearside.New(connectWith(b, server.URL(), nearside.Options{}), "user", nearside.Config[int64, profile]{
		LoadMany: func(_ context.Context, ids []int64) (map[int64]profile, error) {
			out := make(map[int64]profile, len(ids))
			for _, id := range ids {
				out[id] = profileOf(id)
			}
			return out, nil
		},
	})
	b.Run("rueidis MGET, SETs", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ids := batch()
			keys := make([]string, len(ids))
			for i, id := range ids {
				keys[i] = "user:" + strconv.FormatInt(id, 10)
			}
			values, err := c.Do(b.Context(), c.B().Mget().Key(keys...).Build()).ToArray()
			if err != nil {
				b.Fatal(err)
			}
			out := make(map[int64]profile, len(ids))
			var sets rueidis.Commands
			for i := range values {
				data, err := values[i].AsBytes()
				var p profile
				if err == nil {
					err = json.Unmarshal(data, &p)
				} else if p = profileOf(ids[i]); rueidis.IsRedisNil(err) {
					data, err = json.Marshal(p)
					sets = append(sets, c.B().Set().Key(keys[i]).Value(rueidis.BinaryString(data)).Px(time.Hour).Build())
				}
				if err != nil {
					b.Fatal(err)
				}
				out[ids[i]] = p
			}
			for _, r := range c.DoMulti(b.Context(), sets...) {
				if err := r.Error(); err != nil {
					b.Fatal(err)
				}
			}
		}
	})
	b.Run("nearside", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if out, err := cache.GetMany(b.Context(), batch()); len(out) != 100 || err != nil {
				b.Fatal(len(out), err)
			}
		}
	})
}
