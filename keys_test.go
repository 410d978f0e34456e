package nearside_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/codec"
	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/session"
	"github.com/nearside/nearside/shape"
)

// Keys of a cache with a Pattern are whole keys of Redis.
func TestPattern(t *testing.T) {
	server := redistest.Start(t)
	for _, url := range []string{"memory:", server.URL()} {
		c := connect(t, url)
		loads := 0
		cache := nearside.New(c, "account_by_email", nearside.Config[string, string]{
			Pattern: "email:*", Owns: func(key string) bool { return strings.Contains(key, "@") },
			Load: func(_ context.Context, key string) (string, error) { loads++; return "the account of " + key, nil },
		})
		for range 2 {
			if v, err := cache.Get(t.Context(), "email:a@b.c"); v != "the account of email:a@b.c" || err != nil {
				t.Errorf("%s: got %q, %v", url, v, err)
			}
			eventually.True(t, "the value is stored", func() bool { ok, err := cache.Cached(t.Context(), "email:a@b.c"); return ok && err == nil })
		}
		if key := cache.Key("email:a@b.c").String(); loads != 1 || key != "email:a@b.c" {
			t.Errorf("%s: %d loads, the key is %s", url, loads, key)
		}
		if n, err := c.InvalidateKeys(t.Context(), "account_by_email", "email:a@b.c"); n != 1 || err != nil {
			t.Errorf("%s: invalidated %d, %v", url, n, err)
		}
		if _, err := c.InvalidateKeys(t.Context(), "account_by_email", "email:nobody"); !errors.Is(err, nearside.ErrKey) {
			t.Errorf("%s: a key that the cache does not own: %v", url, err)
		}
	}
	if n, _ := server.Do(t, "EXISTS", "email:a@b.c").AsInt64(); n != 0 {
		t.Error("the key is in Redis after its invalidation")
	}
	type id struct{}
	defer func() {
		if text := fmt.Sprint(recover()); !strings.Contains(text, "Config.Key returns the whole key") {
			t.Errorf("a Pattern without Key for keys that are no strings: %s", text)
		}
	}()
	nearside.New(connect(t, "memory:"), "n", nearside.Config[id, int]{Pattern: "n:*", Load: func(context.Context, id) (int, error) { return 0, nil }})
}

// InvalidateKeys knows values and collections by name, and refuses what is not theirs.
func TestInvalidateKeys(t *testing.T) {
	c := connect(t, "memory:")
	row := 1
	values := nearside.New(c, "n", nearside.Config[int, int]{Load: func(_ context.Context, k int) (int, error) { return row, nil }})
	sets := shape.NewSet(c, "s", shape.SetConfig[int, int]{Load: func(context.Context, int) ([]int, error) { return []int{row}, nil }})
	session.New(c, session.Config{})
	read := func(want int) {
		t.Helper()
		v, err := values.Get(t.Context(), 7)
		s, errS := sets.Members(t.Context(), 7)
		if v != want || err != nil || !slices.Equal(s, []int{want}) || errS != nil {
			t.Errorf("got %d, %v and %d, %v, want %d", v, err, s, errS, want)
		}
	}
	read(1)
	row = 2
	read(1)
	for name, key := range map[string]string{"n": "n:7", "s": "s:7"} {
		if n, err := c.InvalidateKeys(t.Context(), name, key, name+":8"); n != 1 || err != nil {
			t.Errorf("%s: %d held a value, %v", name, n, err)
		}
	}
	read(2)
	for _, bad := range [][2]string{{"none", "none:1"}, {"session", "session:token"}, {"n", "m:1"}, {"n", "n"}, {"n", "n:7:~l"}, {"n", ""}} {
		if _, err := c.InvalidateKeys(t.Context(), bad[0], bad[1]); err == nil {
			t.Errorf("cache %q, key %q: no error", bad[0], bad[1])
		}
	}
}

// GetLocal answers from this process, and never asks Redis or the loader.
func TestGetLocal(t *testing.T) {
	server := redistest.Start(t)
	for _, url := range []string{"memory:", server.URL()} {
		c, loads := connect(t, url), 0
		cache := nearside.New(c, "n", nearside.Config[int, int]{NearSize: 100, NotFoundTTL: time.Hour, Load: func(_ context.Context, k int) (int, error) {
			if loads++; k == 0 {
				return 0, nearside.ErrNotFound
			}
			return k, nil
		}})
		if v, ok, err := cache.GetLocal(5); ok || err != nil {
			t.Errorf("%s: before a load: %d, %v, %v", url, v, ok, err)
		}
		eventually.True(t, "a copy", func() bool {
			cache.Get(t.Context(), 5)
			v, ok, err := cache.GetLocal(5)
			return ok && v == 5 && err == nil
		})
		eventually.True(t, "a remembered absence", func() bool {
			cache.Get(t.Context(), 0)
			_, ok, err := cache.GetLocal(0)
			return ok && errors.Is(err, nearside.ErrNotFound)
		})
		n := loads
		if _, ok, _ := cache.GetLocal(6); ok || loads != n {
			t.Errorf("%s: a key that was not read: %v, %d loads", url, ok, loads-n)
		}
	}
}

// GetMany and GetManyEntries name each key that failed, and return the others.
func TestKeyErrors(t *testing.T) {
	broken := errors.New("broken")
	cache := nearside.New(connect(t, "memory:"), "n", nearside.Config[int, int]{Load: func(_ context.Context, k int) (int, error) {
		switch {
		case k < 0:
			return 0, broken
		case k == 0:
			return 0, nearside.ErrNotFound
		}
		return k, nil
	}})
	keys := []int{-2, -1, 0, 1, 2}
	check := func(what string, found map[int]int, err error) {
		t.Helper()
		var failed nearside.KeyErrors[int]
		if !errors.As(err, &failed) || len(failed) != 2 || !errors.Is(failed[-1], broken) || !errors.Is(failed[-2], broken) || !errors.Is(err, broken) {
			t.Errorf("%s: got the error %v", what, err)
		}
		if len(found) != 2 || found[1] != 1 || found[2] != 2 {
			t.Errorf("%s: found %v", what, found)
		}
	}
	found, err := cache.GetMany(t.Context(), keys)
	check("GetMany", found, err)
	entries, err := cache.GetManyEntries(t.Context(), keys)
	found = map[int]int{}
	for k, e := range entries {
		if found[k] = e.Value; e.TTL <= 0 && e.Source != nearside.SourceLoad {
			t.Errorf("an entry without a TTL: %+v", e)
		}
	}
	check("GetManyEntries", found, err)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	found, err = cache.GetMany(ctx, []int{7, 8})
	var failed nearside.KeyErrors[int]
	if err != nil && (!errors.As(err, &failed) || !errors.Is(err, context.Canceled)) || len(failed)+len(found) != 2 {
		t.Errorf("a context that has ended: found %v, got %v", found, err)
	}
}

// Zero is the default, a negative setting is an error, and Off switches off what has a default.
func TestNegativeSettings(t *testing.T) {
	c := connect(t, "memory:")
	load := func(context.Context, int) (int, error) { return 0, nil }
	many := func(context.Context, int) ([]int, error) { return nil, nil }
	for name, make := range map[string]func(){
		"TTL":             func() { nearside.New(c, "a", nearside.Config[int, int]{Load: load, TTL: -time.Second}) },
		"Stale":           func() { nearside.New(c, "a", nearside.Config[int, int]{Load: load, Stale: -1}) },
		"Jitter":          func() { nearside.New(c, "a", nearside.Config[int, int]{Load: load, Jitter: -0.5}) },
		"Jitter ":         func() { nearside.New(c, "a", nearside.Config[int, int]{Load: load, Jitter: 1.5}) },
		"NearBytes":       func() { nearside.New(c, "a", nearside.Config[int, int]{Load: load, NearBytes: -1}) },
		"MaxValue":        func() { nearside.New(c, "a", nearside.Config[int, int]{Load: load, MaxValue: -1}) },
		"InDoubt":         func() { nearside.New(c, "a", nearside.Config[int, int]{Load: load, InDoubt: -1}) },
		"TTL of a set":    func() { shape.NewSet(c, "a", shape.SetConfig[int, int]{Load: many, TTL: -time.Second}) },
		"Cap":             func() { shape.NewList(c, "a", shape.ListConfig[int, int]{Load: many, Cap: -1}) },
		"NotFoundTTL":     func() { shape.NewSet(c, "a", shape.SetConfig[int, int]{Load: many, NotFoundTTL: -time.Second}) },
		"Above":           func() { codec.Compressed(codec.Bytes(), codec.Compression{Above: -1}) },
		"MaxDecoded":      func() { codec.Compressed(codec.Bytes(), codec.Compression{MaxDecoded: -1}) },
		"TTL of sessions": func() { session.New(c, session.Config{TTL: -time.Second}) },
	} {
		func() {
			defer func() {
				field, _, _ := strings.Cut(name, " ")
				if text := fmt.Sprint(recover()); !strings.Contains(text, field) || !strings.Contains(text, "expected") {
					t.Errorf("%s: got %s", name, text)
				}
			}()
			make()
		}()
	}
	nearside.New(c, "off", nearside.Config[int, int]{Load: load, Jitter: nearside.Off})
	shape.NewSet(c, "set", shape.SetConfig[int, int]{Load: many, Jitter: nearside.Off, NotFoundTTL: nearside.Off})
	for _, o := range []nearside.Options{{Budget: -1}, {WriteBudget: -1}, {MemoryBytes: -1}, {NearBytes: -1}, {Replicas: -1}} {
		if _, err := nearside.Open(t.Context(), "memory:", o); err == nil || !strings.Contains(err.Error(), "Options.") {
			t.Errorf("%+v: got %v", o, err)
		}
	}
}

// The sources have the words of the engine.
func TestSources(t *testing.T) {
	for want, s := range map[engine.Source]nearside.Source{
		engine.Near: nearside.SourceNear, engine.Store: nearside.SourceStore, engine.Load: nearside.SourceLoad,
		engine.Stale: nearside.SourceStale, engine.Negative: nearside.SourceNegative,
	} {
		if string(s) != string(want) {
			t.Errorf("got %q, want %q", s, want)
		}
	}
}
