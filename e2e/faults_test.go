package e2e

import (
	"context"
	"net"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/faultproxy"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
)

// fault is something that goes wrong while traffic runs.
type fault struct {
	name   string
	loses  bool // what was acknowledged may be lost, and is mended by repetition
	breaks bool // the database: reads that are not cached fail with it
	hangs  bool // Redis takes what it is told and does not answer
	passes bool // it is over when begin returns: a replica has taken over
	begin  func(t testing.TB, g *ground) (end func())
}

// both are the faults of a Redis of any kind.
func both() []fault {
	return []fault{
		{name: "refused", begin: func(t testing.TB, g *ground) func() {
			_, p := g.node(t)
			p.Refuse()
			return func() {
				if err := p.Accept(); err != nil {
					t.Error(err)
				}
			}
		}},
		hanging(proxied("blackholed", faultproxy.Fault{Silent: true})),
		proxied("slow, 5 ms", faultproxy.Fault{Latency: 5 * time.Millisecond}),
		proxied("slow, 50 ms", faultproxy.Fault{Latency: 50 * time.Millisecond}),
		proxied("slow, 200 ms", faultproxy.Fault{Latency: 200 * time.Millisecond}),
		proxied("slow, 16 KB/s", faultproxy.Fault{Rate: 16 << 10}),
		{name: "reset in mid-frame", begin: func(t testing.TB, g *ground) func() {
			cuts := seed.Locked(seed.Rand(t))
			return proxied("", faultproxy.Fault{Cut: func() int { return 1 + cuts.IntN(4000) }}).begin(t, g)
		}},
		{name: "FLUSHALL, SCRIPT FLUSH", begin: func(t testing.TB, g *ground) func() {
			s, _ := g.node(t)
			return every(20*time.Millisecond, func() {
				s.Do(t, "FLUSHALL")
				s.Do(t, "SCRIPT", "FLUSH")
			})
		}},
		{name: "OOM, noeviction", begin: func(t testing.TB, g *ground) func() {
			s, _ := g.node(t)
			s.Do(t, "CONFIG", "SET", "maxmemory-policy", "noeviction", "maxmemory", "1")
			return func() { s.Do(t, "CONFIG", "SET", "maxmemory", "0") }
		}},
	}
}

// proxied is a fault of the network.
func proxied(name string, f faultproxy.Fault) fault {
	return fault{name: name, begin: func(t testing.TB, g *ground) func() {
		_, p := g.node(t)
		p.Set(f)
		return func() { p.Set(faultproxy.Fault{}) }
	}}
}

func hanging(f fault) fault {
	f.hangs = true
	return f
}

// every does something again and again, until it is told to end.
func every(pause time.Duration, do func()) (end func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() {
		for rest(ctx, pause/2) {
			do()
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// ofSingle are the faults of one Redis, and of the database.
func ofSingle() []fault {
	server := func(g *ground) *redistest.Server { return g.Backend.(*redistest.Server) }
	return append(both(),
		fault{name: "SIGKILL, restart", begin: func(t testing.TB, g *ground) func() {
			server(g).Kill()
			return func() { server(g).Restart(t) }
		}},
		fault{name: "SIGSTOP, SIGCONT", hangs: true, begin: func(t testing.TB, g *ground) func() {
			server(g).Pause()
			return server(g).Continue
		}},
		fault{name: "READONLY", begin: func(t testing.TB, g *ground) func() {
			s := server(g)
			nowhere := startProxy(t, "127.0.0.1:1") // a master that takes connections and ends them
			_, port, err := net.SplitHostPort(nowhere.Addr)
			if err != nil {
				t.Fatal(err)
			}
			s.Do(t, "REPLICAOF", "127.0.0.1", port)
			return func() { s.Do(t, "REPLICAOF", "NO", "ONE") }
		}},
		fault{name: "LOADING", begin: func(t testing.TB, g *ground) func() {
			s := server(g)
			populate(t, s)
			s.Do(t, "CONFIG", "SET", "key-load-delay", "50")
			var loading sync.WaitGroup
			loading.Go(func() { s.Do(t, "DEBUG", "RELOAD") })
			return func() {
				loading.Wait()
				s.Do(t, "CONFIG", "SET", "key-load-delay", "0")
				s.Do(t, "FLUSHALL")
				s.Forget(t)
			}
		}},
		fault{name: "restart from an old RDB", loses: true, begin: func(t testing.TB, g *ground) func() {
			s := server(g)
			s.Do(t, "SAVE")
			<-time.After(300 * time.Millisecond) // what is acknowledged now is not in it
			s.Kill()
			return func() {
				s.Restart(t)
				s.Forget(t)
			}
		}},
		fault{name: "rights taken away", begin: func(t testing.TB, g *ground) func() {
			s := server(g)
			s.Do(t, "ACL", "SETUSER", "app", "-@all")
			return func() { s.Do(t, append([]string{"ACL", "SETUSER", "app"}, redistest.Rights...)...) }
		}},
		fault{name: "right to scripts taken away", begin: func(t testing.TB, g *ground) func() {
			s := server(g)
			s.Do(t, "ACL", "SETUSER", "app", "-eval", "-evalsha")
			return func() { s.Do(t, append([]string{"ACL", "SETUSER", "app"}, redistest.Rights...)...) }
		}},
		fault{name: "database down", breaks: true, begin: func(t testing.TB, g *ground) func() {
			g.db.Kill()
			return func() { g.db.Restart(t) }
		}},
		fault{name: "database restarted", breaks: true, begin: func(t testing.TB, g *ground) func() {
			g.db.Stop()
			g.db.Restart(t)
			return func() {}
		}},
		fault{name: "database slow, 100 ms", begin: func(t testing.TB, g *ground) func() {
			g.dbProxy.Set(faultproxy.Fault{Latency: 100 * time.Millisecond})
			return func() { g.dbProxy.Set(faultproxy.Fault{}) }
		}},
		fault{name: "database blackholed", breaks: true, begin: func(t testing.TB, g *ground) func() {
			g.dbProxy.Set(faultproxy.Fault{Silent: true})
			return func() { g.dbProxy.Set(faultproxy.Fault{}) }
		}},
	)
}

// populate gives a server what takes a second to load.
func populate(t testing.TB, s *redistest.Server) {
	t.Helper()
	s.Do(t, "EVAL", "for i = 1, 20000 do redis.call('set', 'row:fill' .. i, 'x', 'EX', 600) end", "0")
}

// ofCluster are the faults of a cluster.
func ofCluster() []fault {
	nodes := func(g *ground) *redistest.Cluster { return g.Backend.(*redistest.Cluster) }
	return append(both(),
		fault{name: "SIGKILL, failover", loses: true, passes: true, begin: func(t testing.TB, g *ground) func() {
			s, _ := g.node(t)
			s.Kill()
			nodes(g).Wait(t)
			return func() {
				s.Restart(t)
				nodes(g).Wait(t)
			}
		}},
		fault{name: "SIGSTOP, failover", loses: true, passes: true, begin: func(t testing.TB, g *ground) func() {
			s, _ := g.node(t)
			s.Pause()
			g.node(t) // another than this one, which is not asked
			nodes(g).Wait(t)
			return func() {
				s.Continue()
				nodes(g).Wait(t)
			}
		}},
		fault{name: "failover in agreement", passes: true, begin: func(t testing.TB, g *ground) func() {
			s, _ := g.node(t)
			nodes(g).Failover(t, nodes(g).Replica(t, s))
			return func() {}
		}},
		fault{name: "CLUSTERDOWN", loses: true, begin: func(t testing.TB, g *ground) func() {
			s, _ := g.node(t)
			masters := nodes(g).Masters(t)
			other := masters[(slices.Index(masters, s)+1)%len(masters)]
			var killing sync.WaitGroup // at once, else the second has seen the first go and voted
			for _, m := range []*redistest.Server{s, other} {
				killing.Go(m.Kill)
			}
			killing.Wait()
			<-time.After(2 * time.Second) // the node timeout: only then the others call it down
			return func() {
				s.Restart(t)
				other.Restart(t)
				nodes(g).Wait(t)
			}
		}},
	)
}
