package redis

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

func reached(t *testing.T, url string) *Store {
	t.Helper()
	s, err := Open(t.Context(), url, Options{Require: true})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

func TestServer(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t, "--maxmemory", "50mb", "--maxmemory-policy", "allkeys-lfu")
	s := reached(t, srv.URL())
	for i := range 3 {
		srv.Do(t, "SET", fmt.Sprint("user:", i), "x", "EX", "100")
	}
	srv.Do(t, "SET", "other", "x")
	srv.Do(t, "GET", "user:1")
	srv.Do(t, "GET", "user:9")
	info := s.Server(t.Context())
	if len(info.Nodes) != 1 || info.ClusterState != "" {
		t.Fatalf("got %+v", info)
	}
	n := info.Nodes[0]
	if n.Err != nil || n.Address != srv.Addr || n.Software == "" || n.Version == "" || n.Role != "master" || n.Policy != "allkeys-lfu" ||
		n.Max != 50<<20 || n.Used <= 0 || n.Resident <= 0 || n.Fragmentation <= 0 || n.Keys != 4+1 || n.Expiring != 3+1 || // one is the marker of package history
		n.Hits < 1 || n.Misses < 1 || n.Clients < 1 || n.AppendOnly {
		t.Errorf("got %+v", n)
	}
	srv.Stop()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	if n := s.Server(ctx).Nodes[0]; n.Err == nil || n.Address != srv.Addr || n.Keys != 0 {
		t.Errorf("of a server that is gone: %+v", n)
	}
}

func TestServerOfACluster(t *testing.T) {
	t.Parallel()
	c := redistest.StartCluster(t, 3, 1)
	s := reached(t, c.URL())
	// A node names a replica as soon as it has heard of its offset, each node for itself.
	eventually.True(t, "all nodes name all replicas", func() bool {
		fewest := 3
		for _, n := range s.c.Nodes() {
			rows, _ := n.Do(t.Context(), n.B().ClusterSlots().Build()).ToArray()
			fewest = min(fewest, len(topology.Replicas(rows, "127.0.0.1")))
		}
		return fewest == 3
	})
	info := s.Server(t.Context())
	var roles []string
	followed := 0
	for _, n := range info.Nodes {
		if n.Err != nil {
			t.Errorf("%s: %v", n.Address, n.Err)
		}
		roles = append(roles, n.Role)
		if n.Role == "replica" && n.Link != "up" {
			t.Errorf("the replica %s: link %q", n.Address, n.Link)
		}
		followed += len(n.Replicas)
	}
	if want := []string{"master", "master", "master", "replica", "replica", "replica"}; !slices.Equal(roles, want) || followed != 3 {
		t.Errorf("got %v and %d replicas, want %v and 3", roles, followed, want)
	}
	if info.ClusterState != "ok" || info.SlotsAssigned != topology.Slots || info.SlotsFailing != 0 {
		t.Errorf("got %+v", info)
	}
	if probes := s.Probe(t.Context()); len(probes) != 6 || len(probes[0].Trips) != probeTrips || probes[0].Config["tracking-table-max-keys"] == "" {
		t.Errorf("got %d probes: %+v", len(probes), probes)
	}
}

func TestParseInfo(t *testing.T) {
	t.Parallel()
	n := parseInfo(strings.ReplaceAll(`# Server
redis_version:7.2.4
valkey_version:8.1.0
role:slave
master_link_status:down
master_link_down_since_seconds:7
master_repl_offset:1000
connected_slaves:1
slave0:ip=10.0.0.2,port=6379,state=online,offset=990,lag=3
rdb_last_bgsave_time_sec:-1
db0:keys=3,expires=1,avg_ttl=0
db12:keys=4,expires=4,avg_ttl=0
db_size_is_no_database:9
`, "\n", "\r\n"))
	want := store.ReplicaInfo{Address: "10.0.0.2:6379", State: "online", Lag: 3 * time.Second, Behind: 10}
	if n.Software != "valkey" || n.Version != "8.1.0" || n.Role != "replica" || n.Link != "down" || n.LinkDown != 7*time.Second ||
		n.Keys != 7 || n.Expiring != 5 || len(n.Replicas) != 1 || n.Replicas[0] != want {
		t.Errorf("got %+v", n)
	}
}

// A walk finds each key of the cache and nothing that stands beside one, and never looks at more than 2,000 keys in a second.
func TestWalk(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := reached(t, srv.URL())
	srv.Do(t, "EVAL", `for i = 1, 4000 do redis.call('SET', 'user:' .. i, 'x', 'EX', 100) end`, "0")
	srv.Do(t, "SET", "{user:1}:~l", "t1", "EX", "100")
	srv.Do(t, "SET", "user:{1}:~l", "t1", "EX", "100") // of user:{1}, and it matches the glob too
	srv.Do(t, "SET", "other", "x")
	found := make(map[string]bool)
	began := time.Now()
	w, err := s.Keys(t.Context(), "user:*", func(key string) bool { return key != "user:7" }, func(key string) bool { found[key] = true; return true })
	took := time.Since(began)
	if err != nil || !w.All || len(found) != 3999 || found["user:7"] || found["user:{1}:~l"] {
		t.Errorf("got %d keys, %+v, %v", len(found), w, err)
	}
	if rate := 4000 / took.Seconds(); rate > 2000 {
		t.Errorf("%.0f keys per second, at most 2000 are allowed", rate)
	}
	n := 0
	if w, err = s.Keys(t.Context(), "user:*", nil, func(string) bool { n++; return n < 5 }); err != nil || w.All || n != 5 {
		t.Errorf("stopped after 5: %d, %+v, %v", n, w, err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if w, err = s.Keys(ctx, "nobody:*", nil, nil); !errors.Is(err, context.DeadlineExceeded) || w.Looked == 0 || w.Looked > 400 || w.Total < 4000 {
		t.Errorf("ended early: %+v, %v", w, err)
	}
}

func TestDescribe(t *testing.T) {
	t.Parallel()
	srv := redistest.Start(t)
	s := reached(t, srv.URL())
	srv.Do(t, "SET", "a", "hello", "EX", "100")
	srv.Do(t, "RPUSH", "l", "1", "2")
	srv.Do(t, "SET", "empty", "")
	ds := s.Describe(t.Context(), []string{"a", "l", "none"})
	if d := ds[0]; d.Err != nil || d.Type != "string" || d.Length != 5 || d.Bytes < 5 || d.TTL <= 90*time.Second {
		t.Errorf("a: %+v", d)
	}
	if d := ds[1]; d.Type != "list" || d.Length != 2 || d.TTL != store.NoTTL {
		t.Errorf("l: %+v", d)
	}
	if d := ds[2]; d.Type != "none" || d.Length != store.Unknown || d.Bytes != store.Unknown {
		t.Errorf("none: %+v", d)
	}
	for key, want := range map[string]string{"a": "hel", "empty": "", "l": "-", "none": "-"} {
		it := s.Head(t.Context(), key, 3)
		if it.Err != nil || it.Found != (want != "-") || it.Found && string(it.Value) != want {
			t.Errorf("the head of %s: %+v, want %q", key, it, want)
		}
	}
	for side, want := range map[string]string{"": "", "-": "absent", "!": "hold", "!c,t1,": "write", "t1": "load"} {
		if srv.Do(t, "DEL", "{a}:~l"); side != "" {
			srv.Do(t, "SET", "{a}:~l", side, "EX", "100")
		}
		if g, err := s.Beside(t.Context(), "a"); err != nil || g.State != want || want != "" && g.Left <= 0 {
			t.Errorf("beside %q: %+v, %v, want %q", side, g, err, want)
		}
	}
}
