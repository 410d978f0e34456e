package redis_test

import (
	"bytes"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
)

// bare is rueidis with the settings that count, to be compared with.
func bare(b *testing.B, server *redistest.Server) rueidis.Client {
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{server.Addr}, ForceSingleClient: true, PipelineMultiplex: -1, AlwaysPipelining: true,
		MaxFlushDelay: 20 * time.Microsecond, DisableCache: true, RingScaleEachConn: 12,
		ReadBufferEachConn: 64 << 10, WriteBufferEachConn: 64 << 10,
	})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(c.Close)
	return c
}

// busy is how long the server's processor has worked: of use where other programs share the machine.
func busy(b *testing.B, server *redistest.Server) (d time.Duration) {
	info, err := server.Do(b, "INFO", "cpu").ToString()
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.SplitSeq(info, "\r\n") {
		if name, v, _ := strings.Cut(line, ":"); name == "used_cpu_sys_main_thread" || name == "used_cpu_user_main_thread" {
			seconds, err := strconv.ParseFloat(v, 64)
			if err != nil {
				b.Fatal(err)
			}
			d += time.Duration(seconds * float64(time.Second))
		}
	}
	return d
}

// with runs f in n goroutines (a multiple of GOMAXPROCS at least).
func with(b *testing.B, name string, n int, f func()) { busyWith(b, nil, name, n, f) }

// busyWith is with, and says how long the server's processor has worked for each call.
func busyWith(b *testing.B, server *redistest.Server, name string, n int, f func()) {
	b.Run(name+"/"+strconv.Itoa(n), func(b *testing.B) {
		b.ReportAllocs()
		if server != nil {
			before := busy(b, server)
			defer func() { b.ReportMetric(float64(busy(b, server)-before)/float64(b.N), "server-ns/op") }()
		}
		if n == 1 {
			for b.Loop() {
				f()
			}
			return
		}
		b.SetParallelism(max(1, n/runtime.GOMAXPROCS(0)))
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				f()
			}
		})
	})
}

func BenchmarkHit(b *testing.B) {
	server := redistest.Start(b)
	s, c, ctx := open(b, server.URL()), bare(b, server), b.Context()
	s.Put(ctx, []store.Put{{Key: "k", Value: bytes.Repeat([]byte("v"), 500), TTL: time.Hour}}, 0)
	for _, n := range []int{1, 64} {
		with(b, "rueidis", n, func() {
			if _, err := c.Do(ctx, c.B().Get().Key("k").Build()).AsBytes(); err != nil {
				b.Error(err)
			}
		})
		with(b, "get", n, func() {
			if !s.Get(ctx, "k", false).Found {
				b.Error("not found")
			}
		})
		with(b, "get with ttl", n, func() {
			if !s.Get(ctx, "k", true).Found {
				b.Error("not found")
			}
		})
	}
}

func BenchmarkMiss(b *testing.B) {
	server := redistest.Start(b)
	s, c, ctx := open(b, server.URL()), bare(b, server), b.Context()
	value, n := bytes.Repeat([]byte("v"), 500), atomic.Int64{}
	next := func(prefix string) string { return prefix + strconv.FormatInt(n.Add(1), 10) }
	with(b, "rueidis GET, SET", 64, func() {
		key := next("a")
		c.Do(ctx, c.B().Get().Key(key).Build())
		if err := c.Do(ctx, c.B().Set().Key(key).Value(rueidis.BinaryString(value)).PxMilliseconds(5000).Build()).Error(); err != nil {
			b.Error(err)
		}
	})
	with(b, "acquire, fill", 64, func() {
		key, token := next("b"), store.NewToken()
		s.Acquire(ctx, []store.Claim{{Key: key, Token: token, Lease: time.Second}})
		if o := s.Fill(ctx, []store.Fill{{Key: key, Token: token, Value: value, TTL: 5 * time.Second}})[0]; !o.OK {
			b.Error(o)
		}
	})
}

// What is refused, since the server is away.
func BenchmarkAway(b *testing.B) {
	server := redistest.Start(b)
	s, ctx := open(b, server.URL()), b.Context()
	server.Kill()
	for !errors.Is(s.Get(ctx, "k", false).Err, store.ErrAway) {
	}
	with(b, "get", 1, func() { s.Get(ctx, "k", false) })
	claims := []store.Claim{{Key: "k", Token: "t", Lease: time.Second}}
	with(b, "acquire", 1, func() { s.Acquire(ctx, claims) })
}

// An invalidation of a value, beside the two commands that it comes to.
func BenchmarkInvalidate(b *testing.B) {
	server := redistest.Start(b)
	s, c, ctx := open(b, server.URL()), bare(b, server), b.Context()
	keys := []string{"user:42"}
	for _, n := range []int{1, 64} {
		busyWith(b, server, "rueidis DEL", n, func() { c.Do(ctx, c.B().Del().Key("user:42", "{user:42}:~l").Build()) })
		busyWith(b, server, "invalidate", n, func() {
			if o := s.Invalidate(ctx, keys, 0)[0]; o.Err != nil {
				b.Error(o)
			}
		})
	}
}

// A session is found by a script that prolongs it, and saved by another one; the bare commands do not see to its end.
func BenchmarkSession(b *testing.B) {
	server := redistest.Start(b)
	s, c, ctx := open(b, server.URL()), bare(b, server), b.Context()
	value := bytes.Repeat([]byte("v"), 500)
	r := store.Record{Key: "k", Value: value, TTL: time.Hour, End: time.Now().Add(24 * time.Hour)}
	s.Save(ctx, r)
	for _, n := range []int{1, 64} {
		with(b, "rueidis GETEX", n, func() {
			if err := c.Do(ctx, c.B().Getex().Key("k").PxMilliseconds(3600_000).Build()).Error(); err != nil {
				b.Error(err)
			}
		})
		with(b, "touch", n, func() {
			if !s.Touch(ctx, "k", time.Hour).Found {
				b.Error("not found")
			}
		})
		with(b, "rueidis SET", n, func() {
			if err := c.Do(ctx, c.B().Set().Key("k").Value(rueidis.BinaryString(value)).PxMilliseconds(3600_000).Build()).Error(); err != nil {
				b.Error(err)
			}
		})
		with(b, "save", n, func() {
			if o := s.Save(ctx, r); o.Err != nil {
				b.Error(o.Err)
			}
		})
	}
}

// The time from the moment a write has returned to the moment another client has been told of it, as which it drops what it
// keeps near: with some clients that have all read the key.
func BenchmarkPush(b *testing.B) {
	server := redistest.Start(b)
	writer := open(b, server.URL())
	for _, clients := range []int{2, 8, 32} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			told := make(chan time.Time, 2*clients)
			var readers []store.Tracking
			for range clients - 1 {
				t, err := open(b, server.URL()).Track(b.Context(), func(key string) {
					if key == "k" {
						told <- time.Now()
					}
				}, func() {})
				if err != nil {
					b.Fatal(err)
				}
				readers = append(readers, t)
			}
			var delays []time.Duration
			for b.Loop() {
				for _, t := range readers {
					if item := t.Get(b.Context(), "k", false); item.Err != nil {
						b.Fatal(item.Err)
					}
				}
				if o := writer.Put(b.Context(), []store.Put{{Key: "k", Value: []byte("v"), TTL: time.Hour}}, 0)[0]; o.Err != nil {
					b.Fatal(o.Err)
				}
				written := time.Now()
				for range readers {
					delays = append(delays, max((<-told).Sub(written), 0))
				}
			}
			for _, t := range readers {
				t.Close()
			}
			slices.Sort(delays)
			b.ReportMetric(float64(delays[len(delays)/2].Microseconds()), "µs-p50")
			b.ReportMetric(float64(delays[len(delays)*99/100].Microseconds()), "µs-p99")
			b.ReportMetric(float64(delays[len(delays)-1].Microseconds()), "µs-max")
		})
	}
}
