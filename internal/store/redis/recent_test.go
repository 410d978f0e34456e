package redis_test

import (
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
)

// Another process answers, with what a replica may not have heard of: an old value, and a lease whose load is over.
func TestWhatAFailoverBringsBack(t *testing.T) {
	server := redistest.Start(t)
	s, log := logged(t, server.URL())
	s.Invalidate(t.Context(), []string{"old"}, 0)
	s.Acquire(t.Context(), []store.Claim{{Key: "leased", Token: "t1", Lease: time.Minute}})
	s.Fill(t.Context(), []store.Fill{{Key: "leased", Token: "t1", Value: []byte("v"), TTL: time.Minute}})
	server.Restart(t)
	server.Do(t, "SET", "old", "v", "PX", "60000")
	server.Do(t, "SET", "{leased}:~l", "t1", "PX", "60000")
	server.Do(t, "SET", "{other}:~l", "t2", "PX", "60000")
	eventually.True(t, "the value and the lease are gone", func() bool {
		n, _ := server.Do(t, "EXISTS", "old", "{leased}:~l").AsInt64()
		return n == 0
	})
	if n, _ := server.Do(t, "EXISTS", "{other}:~l").AsInt64(); n != 1 {
		t.Error("a lease of somebody else has gone")
	}
	eventually.True(t, "a line about it in", func() bool { return log.count("recent invalidations are repeated") == 1 }, log)
	if log.count("error=") > 0 {
		t.Errorf("an error is logged where there was none:\n%s", log)
	}
}

// The same of a collection: one whose member's write the replica has not heard of, and a load whose end it has not.
func TestWhatAFailoverBringsBackOfCollections(t *testing.T) {
	server := redistest.Start(t)
	s := open(t, server.URL())
	b := &board{t, s, server, store.SortedSet, "ended"}
	b.load(b.el("a", 1))
	b.begin("w1", "a", store.Alone)
	b.end("w1", store.Add, b.el("a", 2))
	s.Write(t.Context(), []store.Change{{Key: "written", Kind: store.SortedSet, Op: store.Add, Element: b.el("a", 2)}})
	server.Restart(t)
	for _, key := range []string{"ended", "written"} {
		server.Do(t, "ZADD", key, "1", "a")
		server.Do(t, "PEXPIRE", key, "60000")
	}
	server.Do(t, "SET", b.name("l"), "t1", "PX", "60000")
	server.Do(t, "ZADD", b.name("t"), "0", "t1")
	eventually.True(t, "the collections and the load are gone", func() bool {
		return b.exists("ended", "written", b.name("l"), b.name("t")) == 0
	})
}
