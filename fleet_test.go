package nearside_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	together "github.com/nearside/nearside/fleet" // recovery_test.go has a fleet of its own
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

// Two clients see each other's numbers, and what one reported stays when it is closed.
func TestFleet(t *testing.T) {
	server := redistest.Shared(t)
	server.Do(t, "FLUSHALL")
	open := func(ttl time.Duration) (*nearside.Client, *nearside.Cache[int, string]) {
		c := connectWith(t, server.URL(), nearside.Options{Fleet: true, Budget: 10 * time.Second, WriteBudget: 30 * time.Second})
		return c, nearside.New(c, "user", nearside.Config[int, string]{Load: func(context.Context, int) (string, error) { return "Ada", nil }, TTL: ttl})
	}
	a, users := open(time.Hour)
	b, others := open(time.Minute)
	for range 10 {
		if _, err := users.Get(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := others.Get(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if err := a.Close(); err != nil {
		t.Fatal(err)
	}
	var c together.Cache
	eventually.True(t, "two members and 11 reads", func() bool { // b reports by itself
		v, err := b.Fleet().Read(t.Context(), together.Query{})
		if err != nil {
			t.Fatal(err)
		}
		if len(v.Caches) != 1 || len(v.Members) != 2 || v.Caches[0].Hour.Reads() != 11 {
			return false
		}
		c = v.Caches[0]
		return true
	})
	if n := c.Hour.Counts; n.Load != 1 || n.Store != 10 || n.LoadsOK != 1 {
		t.Errorf("the fleet counted %+v", n)
	}
	if len(c.Configs) != 1 || c.Drifts() {
		t.Errorf("one member is alive, and has the settings %v", c.Configs)
	}
	server.Invariants(t, "user:")
}

func TestFleetInMemory(t *testing.T) {
	c := connectWith(t, "memory:", nearside.Options{Fleet: true})
	users := nearside.New(c, "user", nearside.Config[int, string]{Load: func(context.Context, int) (string, error) { return "Ada", nil }, NearSize: 10})
	reads := uint64(0)
	for from := nearside.Source(""); from != nearside.SourceNear; reads++ { // load, store, and near from some moment on
		e, err := users.GetEntry(t.Context(), 1)
		if from = e.Source; err != nil || reads > 1e6 {
			t.Fatal(err, "nothing is kept near")
		}
	}
	v, err := c.Fleet().Read(t.Context(), together.Query{})
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Caches) != 1 || v.Now.Reads() != reads || v.Now.Load != 1 || !v.Members[0].Alive(v.At) || v.Caches[0].NearEntries != 1 {
		t.Errorf("found %+v of %+v", v.Now.Counts, v.Members)
	}
	if connect(t, "memory:").Fleet() != nil {
		t.Error("a client without Options.Fleet has a reader")
	}
}

func TestTheNameOfTheLayersOwnKeys(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("a cache may be called nearside")
		}
	}()
	nearside.New(connect(t, "memory:"), "nearside", nearside.Config[int, string]{Load: func(context.Context, int) (string, error) { return "", nil }})
}

// A cluster of one master, which does not know its own address, is cached in as any other.
func TestClusterOfOneMaster(t *testing.T) {
	t.Parallel()
	cluster := redistest.StartCluster(t, 1, 0)
	var loads atomic.Int64
	client := connectWith(t, cluster.URL(), nearside.Options{Budget: time.Second})
	users := nearside.New(client, "user", nearside.Config[int64, User]{Load: func(_ context.Context, id int64) (User, error) {
		loads.Add(1)
		return User{id, "Ada"}, nil
	}})
	eventually.True(t, "no loads", func() bool { // the first reads come before the first look at the servers
		before := loads.Load()
		for id := range int64(100) {
			if u, err := users.Get(t.Context(), id); err != nil || u.ID != id {
				t.Fatal(u, err)
			}
		}
		return loads.Load() == before
	})
}
