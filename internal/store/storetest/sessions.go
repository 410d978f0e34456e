package storetest

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
)

// Values of which there is no other copy.
var sessionRules = []rule{
	{"SaveTouchInvalidate", func(k kit) {
		k.touches("a", long, "")
		k.save("a", "1", long, time.Time{})
		k.touches("a", long, "1")
		k.touches("a", 0, "1")
		k.holds("a", "1")
		k.is("held a value", k.invalidate("a", 0), true)
		k.touches("a", long, "")
	}},
	{"TouchProlongs", func(k kit) {
		k.save("a", "1", 5*time.Second, time.Now().Add(time.Hour))
		k.touches("a", long, "1")
		k.lives("a", long-5*time.Second, long)
		k.touches("a", 10*time.Second, "1") // the last call says it
		k.lives("a", 5*time.Second, 10*time.Second)
	}},
	{"TouchOfZeroLeavesTheLife", func(k kit) {
		k.save("a", "1", long, time.Now().Add(time.Hour))
		k.touches("a", 0, "1")
		k.lives("a", long-5*time.Second, long)
	}},
	{"TouchProlongsNoFurtherThanTheEnd", func(k kit) {
		k.save("a", "1", 5*time.Second, time.Now().Add(20*time.Second))
		k.touches("a", long, "1")
		k.lives("a", 15*time.Second, 20*time.Second)
		k.save("b", "1", long, time.Now().Add(-time.Second))
		k.touches("b", long, "")
		k.holds("b", "")
		k.save("c", "1", long, time.Now().Add(30*time.Millisecond))
		k.pass(40 * time.Millisecond)
		k.touches("c", long, "")
	}},
	{"TouchLeavesAloneWhatHasNoEnd", func(k kit) {
		k.save("a", "1", 20*time.Second, time.Time{})
		k.put("b", "1", 20*time.Second)
		for _, key := range []string{"a", "b"} {
			k.touches(key, long, "1")
			k.lives(key, 10*time.Second, 20*time.Second)
		}
	}},
	{"SaveReplacesLifeAndEnd", func(k kit) {
		k.save("a", "1", long, time.Now().Add(time.Hour))
		k.save("a", "2", 20*time.Second, time.Time{})
		k.touches("a", long, "2")
		k.lives("a", 10*time.Second, 20*time.Second)
		k.save("a", "3", 20*time.Second, time.Now().Add(100*365*24*time.Hour))
		k.touches("a", long, "3")
		k.lives("a", 30*time.Second, long)
	}},
	{"AnEndIsGoneWithItsValue", func(k kit) {
		k.save("a", "1", long, time.Now().Add(time.Hour))
		k.invalidate("a", 0)
		k.put("a", "2", 20*time.Second)
		k.touches("a", long, "2")
		k.lives("a", 10*time.Second, 20*time.Second)
	}},
	// Whoever reads must not bring back what was there before, whatever comes between.
	{"TouchTakesNothingFromASave", func(k kit) {
		end := time.Now().Add(time.Hour)
		k.save("a", "0", long, end)
		var readers sync.WaitGroup
		stop := make(chan struct{})
		for range 4 {
			readers.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
						k.Touch(k.ctx, "a", long)
					}
				}
			})
		}
		for i := range 200 {
			v := fmt.Sprint(i)
			k.save("a", v, long, end)
			k.holds("a", v)
		}
		k.invalidate("a", 0)
		k.holds("a", "")
		close(stop)
		readers.Wait()
		k.holds("a", "")
	}},
	{"SaveOfOddValues", func(k kit) {
		for _, v := range []string{"\x00\r\n\xff", strings.Repeat("x", 1<<20), "e1", "!"} {
			k.save("a", v, long, time.Now().Add(time.Hour))
			k.touches("a", long, v)
		}
		k.one("save", []store.Outcome{k.Save(k.ctx, store.Record{Key: "a", TTL: long})})
		if it := k.Touch(k.ctx, "a", long); !it.Found || len(it.Value) != 0 {
			k.Errorf("got %+v", it)
		}
		k.save("short", "1", 0, time.Time{}) // at least a millisecond, never for ever
		eventually.True(k, "it is gone", func() bool { return !k.Touch(k.ctx, "short", 0).Found })
	}},
	{"ScanNamesValues", func(k kit) {
		var want []string
		for i := range 700 { // more than a page
			key := fmt.Sprintf("session:%d", i)
			k.save(key, "1", long, time.Now().Add(time.Hour))
			want = append(want, key)
		}
		k.put("sessions:1", "1", long)
		k.acquire("session:lease", "t1")
		var got []string
		err := k.Scan(k.ctx, "session:*", func(keys []string) error { got = append(got, keys...); return nil })
		slices.Sort(got)
		slices.Sort(want)
		if got = slices.Compact(got); err != nil || !slices.Equal(got, want) {
			k.Errorf("%d keys, %v, want %d", len(got), err, len(want))
		}
		stop := errors.New("enough")
		if err := k.Scan(k.ctx, "session:*", func([]string) error { return stop }); !errors.Is(err, stop) {
			k.Errorf("got %v, want %v", err, stop)
		}
		if k.Scan(k.ctx, "a[bc]*", nil) == nil {
			k.Error("a class of characters was taken")
		}
	}},
}

func (k kit) save(key, value string, ttl time.Duration, end time.Time) {
	k.Helper()
	k.one("save", []store.Outcome{k.Save(k.ctx, store.Record{Key: key, Value: []byte(value), TTL: ttl, End: end})})
}

// touches checks the value that Touch returns; "" stands for none.
func (k kit) touches(key string, life time.Duration, want string) {
	k.Helper()
	it := k.Touch(k.ctx, key, life)
	if it.Err != nil || string(it.Value) != want || it.Found != (want != "") {
		k.Errorf("touch %q: %.100q (found %v), %v, want %.100q", key, it.Value, it.Found, it.Err, want)
	}
}

// lives checks what is left of a value's life.
func (k kit) lives(key string, least, most time.Duration) {
	k.Helper()
	if i := k.Inspect(k.ctx, []string{key})[0]; i.Err != nil || i.TTL < least || i.TTL > most {
		k.Errorf("%q lives for %v, %v, want %v to %v", key, i.TTL, i.Err, least, most)
	}
}
