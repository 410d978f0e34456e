package redis_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
)

// A session is found, prolonged up to its end and saved wherever its two keys stand while its slot is on its way.
func TestSessionsOnTheirWay(t *testing.T) {
	c := redistest.SharedCluster(t)
	ctx, sl, s := t.Context(), newSlot(t, c, "{k}"), open(t, c.URL())
	for i, gone := range [][]bool{{false, false}, {false, true}, {true, false}, {true, true}} {
		key := fmt.Sprintf("{k}session%d", i)
		sl.stable()
		s.Save(ctx, store.Record{Key: key, Value: []byte("1"), TTL: 5 * time.Second, End: time.Now().Add(20 * time.Second)})
		sl.migrating()
		for n, name := range []string{key, key + ":~l"} {
			if gone[n] {
				sl.move(name)
			}
		}
		lives := func(least, most time.Duration) {
			t.Helper()
			for _, name := range []string{key, key + ":~l"} {
				if ms, err := c.Do(t, "PTTL", name).AsInt64(); err != nil || ms < least.Milliseconds() || ms > most.Milliseconds() {
					t.Errorf("gone %v: %s lives for %d ms, %v", gone, name, ms, err)
				}
			}
		}
		if it := s.Touch(ctx, key, time.Minute); string(it.Value) != "1" || it.Err != nil {
			t.Errorf("gone %v: touch: %+v", gone, it)
		}
		lives(15*time.Second, 20*time.Second)
		if o := s.Save(ctx, store.Record{Key: key, Value: []byte("2"), TTL: time.Minute, End: time.Now().Add(time.Hour)}); o.Err != nil {
			t.Errorf("gone %v: save: %v", gone, o.Err)
		}
		lives(50*time.Second, time.Minute)
		if it := s.Touch(ctx, key, 0); string(it.Value) != "2" || it.Err != nil {
			t.Errorf("gone %v: touch: %+v", gone, it)
		}
	}
}

// A Redis that is full refuses to save, and what was saved before is still there.
func TestSaveInAFullRedis(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	save := func(v string) error {
		return s.Save(t.Context(), store.Record{Key: "a", Value: []byte(v), TTL: time.Minute, End: time.Now().Add(time.Hour)}).Err
	}
	if err := save("1"); err != nil {
		t.Fatal(err)
	}
	server.Do(t, "CONFIG", "SET", "maxmemory", "1")
	if err := save("2"); err == nil || !strings.Contains(err.Error(), "OOM") {
		t.Errorf("got %v, want OOM", err)
	}
	if it := s.Touch(t.Context(), "a", 2*time.Minute); string(it.Value) != "1" || it.Err != nil {
		t.Errorf("got %+v", it)
	}
	if ms, _ := server.Do(t, "PTTL", "a").AsInt64(); ms < 90_000 {
		t.Errorf("it was not prolonged: %d ms", ms)
	}
}

// Without +pexpire the error says what to grant, and nothing is found that is not prolonged. Errors do not name the key.
func TestSessionRights(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, "ACL", "SETUSER", "app", "on", ">s3cret", "+@all", "-pexpire", "~*")
	s := open(t, strings.Replace(server.URL(), "://", "://app:s3cret@", 1))
	if err := s.Save(t.Context(), store.Record{Key: "session:secret", TTL: time.Minute, End: time.Now().Add(time.Hour)}).Err; err != nil {
		t.Fatal(err)
	}
	it := s.Touch(t.Context(), "session:secret", time.Minute)
	if it.Err == nil || strings.Contains(it.Err.Error(), "secret") {
		t.Errorf("got %+v", it)
	}
	if p := fmt.Sprint(s.Problems()); !strings.Contains(p, "ACL SETUSER app") || !strings.Contains(p, "+pexpire") {
		t.Errorf("problems: %s", p)
	}
}

// Somebody's list under the key of a session is no session.
func TestSessionOfAnotherType(t *testing.T) {
	server := redistest.Shared(t)
	server.Do(t, "FLUSHALL")
	s := open(t, server.URL())
	server.Do(t, "RPUSH", "a", "1")
	for _, life := range []time.Duration{0, time.Minute} {
		if it := s.Touch(t.Context(), "a", life); it.Found || it.Err != nil {
			t.Errorf("got %+v", it)
		}
	}
	server.Do(t, "DEL", "a")
}
