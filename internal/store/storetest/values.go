package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
)

// The place itself: values, lives, keys, batches.
var valueRules = []rule{
	{"NothingIsThere", func(k kit) {
		k.holds("a", "")
		if i := k.Inspect(k.ctx, []string{"a"})[0]; i.Type != "none" || i.Err != nil {
			k.Errorf("inspect: %+v", i)
		}
		k.is("invalidate", k.invalidate("a", 0), false)
	}},
	{"PutGetInvalidate", func(k kit) {
		k.put("a", "1", long)
		it := k.Get(k.ctx, "a", true)
		if string(it.Value) != "1" || it.TTL <= long-5*time.Second || it.TTL > long {
			k.Errorf("got %+v", it)
		}
		i := k.Inspect(k.ctx, []string{"a"})[0]
		if i.Type != "string" || i.TTL <= long-5*time.Second || i.TTL > long {
			k.Errorf("inspect: %+v", i)
		}
		k.is("held a value", k.invalidate("a", 0), true)
		k.holds("a", "")
	}},
	{"TTLOnlyWhereAskedFor", func(k kit) {
		k.put("a", "1", long)
		if ttl := k.Get(k.ctx, "a", false).TTL; ttl != 0 {
			k.Errorf("get: TTL %v", ttl)
		}
		if ttl := k.GetMany(k.ctx, []string{"a"}, false)[0].TTL; ttl != 0 {
			k.Errorf("get many: TTL %v", ttl)
		}
	}},
	{"EverythingExpires", func(k kit) {
		k.put("a", "1", 30*time.Millisecond)
		k.put("b", "1", 0) // at least a millisecond, never for ever
		eventually.True(k, "the values are gone", func() bool {
			return !k.Get(k.ctx, "a", false).Found && !k.Get(k.ctx, "b", false).Found
		})
	}},
	{"PutReplacesTheLife", func(k kit) {
		k.put("a", "1", long)
		k.put("a", "2", 20*time.Millisecond)
		eventually.True(k, "the value is gone", func() bool { return !k.Get(k.ctx, "a", false).Found })
		k.put("b", "1", 20*time.Millisecond)
		k.put("b", "2", long)
		k.pass(30 * time.Millisecond)
		k.holds("b", "2")
	}},
	{"EmptyValueIsAValue", func(k kit) {
		k.one("put", k.Put(k.ctx, []store.Put{{Key: "a", TTL: long}}, 0))
		if it := k.Get(k.ctx, "a", false); !it.Found || len(it.Value) != 0 {
			k.Errorf("got %+v", it)
		}
		if it := k.GetMany(k.ctx, []string{"a"}, false)[0]; !it.Found || len(it.Value) != 0 {
			k.Errorf("many: got %+v", it)
		}
	}},
	{"BinaryValue", func(k kit) {
		var v []byte
		for i := range 512 {
			v = append(v, byte(i))
		}
		k.put("a", string(v), long)
		k.holds("a", string(v))
	}},
	{"LargeValue", func(k kit) {
		v := strings.Repeat("x", 1<<20)
		k.put("a", v, long)
		k.holds("a", v)
	}},
	{"ValuesAreNotMixed", func(k kit) {
		k.put("a", "1", long)
		first := k.Get(k.ctx, "a", false).Value
		k.put("a", "2", long)
		if !bytes.Equal(first, []byte("1")) {
			k.Errorf("a value that was handed out became %q", first)
		}
	}},
	{"OddKeys", func(k kit) {
		for _, key := range []string{"", "a b", "{x}y", "a}b", "a{}b", "}{", "{", "a{b", "\x00\r\n\xff", strings.Repeat("k", store.MaxKey)} {
			k.state(key, k.acquire(key, "t1"), store.Granted)
			k.is(key, k.fill(key, "t1", "v"+key), true)
			k.holds(key, "v"+key)
			k.begin(key, "w1")
			k.is(key, k.end(key, "w1", "w"), true)
			k.is(key, k.invalidate(key, 0), true)
		}
	}},
	{"KeysAreIndependent", func(k kit) {
		k.put("a", "1", long)
		k.acquire("b", "t1")
		k.begin("c", "w1")
		k.invalidate("d", long)
		k.holds("a", "1")
		k.is("the lease stands", k.fill("b", "t1", "2"), true)
		k.is("the intent is clean", k.end("c", "w1", "3"), true)
		k.state("the hold stands", k.acquire("d", "t1"), store.Barrier)
	}},
	{"Batches", func(k kit) {
		k.put("b", "2", long)
		gs := k.Acquire(k.ctx, []store.Claim{{Key: "a", Token: "ta", Lease: long}, {Key: "b", Token: "tb", Lease: long}, {Key: "c", Token: "tc", Lease: long}})
		k.state("a", gs[0], store.Granted)
		k.state("b", gs[1], store.Hit)
		k.state("c", gs[2], store.Granted)
		out := k.Fill(k.ctx, []store.Fill{{Key: "a", Token: "ta", Value: []byte("1"), TTL: long}, {Key: "b", Token: "tb", Value: []byte("x"), TTL: long}, {Key: "c", Token: "tc", Absent: true, TTL: long}})
		if !out[0].OK || out[1].OK || !out[2].OK {
			k.Errorf("fill: %+v", out)
		}
		for _, ttl := range []bool{false, true} {
			its := k.GetMany(k.ctx, []string{"b", "c", "a", "b"}, ttl)
			if string(its[0].Value) != "2" || its[1].Found || string(its[2].Value) != "1" || string(its[3].Value) != "2" {
				k.Errorf("get many: %+v", its)
			}
			if ttl && (its[0].TTL <= 0 || its[0].TTL > long) {
				k.Errorf("TTL %v", its[0].TTL)
			}
		}
		out = k.Invalidate(k.ctx, []string{"a", "c", "b", "b"}, 0)
		if !out[0].OK || out[1].OK || !out[2].OK || out[3].OK {
			k.Errorf("invalidate: %+v", out)
		}
	}},
	{"ManyKeysInOneBatch", func(k kit) {
		const n = 2000
		puts, keys := make([]store.Put, n), make([]string, n)
		for i := range n {
			keys[i] = fmt.Sprintf("many:%d", i)
			puts[i] = store.Put{Key: keys[i], Value: []byte(keys[i]), TTL: long}
		}
		for i, o := range k.Put(k.ctx, puts, 0) {
			k.is(keys[i], o.Err == nil && o.OK, true)
		}
		slices.Reverse(keys)
		for i, it := range k.GetMany(k.ctx, keys, false) {
			k.is(keys[i], string(it.Value) == keys[i], true)
		}
		for i, o := range k.Invalidate(k.ctx, keys, 0) {
			k.is(keys[i], o.Err == nil && o.OK, true)
		}
	}},
	{"OneKeyTwiceInOneBatch", func(k kit) {
		k.Put(k.ctx, []store.Put{{Key: "a", Value: []byte("1"), TTL: long}, {Key: "a", Value: []byte("2"), TTL: long}}, 0)
		k.holds("a", "2")
		gs := k.Acquire(k.ctx, []store.Claim{{Key: "b", Token: "t1", Lease: long}, {Key: "b", Token: "t2", Lease: long}})
		k.state("first", gs[0], store.Granted)
		k.state("second", gs[1], store.Waiting)
	}},
	{"EmptyBatches", func(k kit) {
		n := len(k.GetMany(k.ctx, nil, true)) + len(k.Inspect(k.ctx, nil)) + len(k.Acquire(k.ctx, nil)) +
			len(k.Fill(k.ctx, nil)) + len(k.Release(k.ctx, nil)) + len(k.Invalidate(k.ctx, nil, 0)) +
			len(k.Put(k.ctx, nil, 0)) + len(k.Begin(k.ctx, nil)) + len(k.End(k.ctx, nil))
		if n != 0 {
			k.Errorf("%d answers to nothing", n)
		}
	}},
	{"Usage", func(k kit) {
		before, err := k.Usage(k.ctx)
		k.put("a", strings.Repeat("x", 1000), long)
		after, err2 := k.Usage(k.ctx)
		if err != nil || err2 != nil || after.Keys != before.Keys+1 || after.Bytes <= 0 {
			k.Errorf("before %+v %v, after %+v %v", before, err, after, err2)
		}
	}},
	{"CancelledContext", func(k kit) {
		k.put("a", "1", long)
		ctx, cancel := context.WithCancel(k.ctx)
		cancel()
		for verb, err := range k.errs(ctx) {
			if !errors.Is(err, context.Canceled) {
				k.Errorf("%s: %v, want %v", verb, err, context.Canceled)
			}
		}
		k.holds("a", "1")
	}},
	{"Closed", func(k kit) {
		k.put("a", "1", long)
		k.Close()
		for verb, err := range k.errs(k.ctx) {
			if !errors.Is(err, store.ErrClosed) {
				k.Errorf("%s: %v, want %v", verb, err, store.ErrClosed)
			}
		}
	}},
}
