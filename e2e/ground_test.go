package e2e

import (
	"context"
	"crypto/tls"
	"net"
	"slices"
	"strings"
	"testing"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/dbtest"
	"github.com/nearside/nearside/internal/faultproxy"
	"github.com/nearside/nearside/internal/redistest"
)

// ground is where faults happen: a Redis and a PostgreSQL, each behind proxies.
type ground struct {
	redistest.Backend
	url     string
	options nearside.Options
	hot     []string                     // keys of the server that the faults are about
	keys    []string                     // all
	proxies map[string]*faultproxy.Proxy // by the address of a Redis
	truth   *postgres
	db      *dbtest.Server
	dbProxy *faultproxy.Proxy
	dbURL   string // by the proxy
}

// single is a ground with one Redis, whose clients are the user app.
func single(t testing.TB) *ground {
	args := slices.Concat([]string{"--enable-debug-command", "local", "--user", "app", "on", ">s3cret"}, redistest.Rights)
	s := redistest.Start(t, args...)
	g := &ground{Backend: s, hot: spread(64), proxies: make(map[string]*faultproxy.Proxy)}
	g.url = "redis://app:s3cret@" + g.proxy(t, s.Addr).Addr
	return g.prepared(t)
}

// cluster is a ground with three masters and their replicas. They announce their own ports, so the proxies come in by the
// dialer: nothing but the layer's own traffic is harmed.
func cluster(t testing.TB) *ground {
	c := redistest.SharedCluster(t)
	c.FlushAll(t)
	g := &ground{Backend: c, url: c.URL(), hot: keysOf(tagIn(0, 5000, 0), 32), proxies: make(map[string]*faultproxy.Proxy)}
	for _, node := range c.Nodes {
		g.proxy(t, node.Addr)
	}
	g.options.Redis = through(g.addresses())
	g.keys = spread(32)
	return g.prepared(t)
}

// through has the client connect to the proxies of some addresses.
func through(proxies map[string]string) func(*rueidis.ClientOption) {
	return func(o *rueidis.ClientOption) {
		dial := o.DialCtxFn
		o.DialCtxFn = func(ctx context.Context, address string, d *net.Dialer, secure *tls.Config) (net.Conn, error) {
			if proxy := proxies[address]; proxy != "" {
				address = proxy
			}
			return dial(ctx, address, d, secure)
		}
	}
}

// addresses are those of the proxies, by what they stand before.
func (g *ground) addresses() map[string]string {
	out := make(map[string]string)
	for address, p := range g.proxies {
		out[address] = p.Addr
	}
	return out
}

// proxy returns the proxy of an address.
func (g *ground) proxy(t testing.TB, address string) *faultproxy.Proxy {
	t.Helper()
	if g.proxies[address] == nil {
		g.proxies[address] = startProxy(t, address)
	}
	return g.proxies[address]
}

func startProxy(t testing.TB, address string) *faultproxy.Proxy {
	t.Helper()
	p, err := faultproxy.Start(address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.Close)
	return p
}

// prepared adds the database.
func (g *ground) prepared(t testing.TB) *ground {
	t.Helper()
	g.keys = slices.Concat(g.hot, g.keys)
	g.db = dbtest.Postgres(t)
	g.dbProxy = startProxy(t, g.db.Addr)
	g.dbURL = strings.Replace(g.db.URL, g.db.Addr, g.dbProxy.Addr, 1)
	var err error
	if g.truth, err = openPostgres(g.dbURL, newDatabase()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.truth.Close() })
	g.truth.prepare(t, g.keys)
	return g
}

// node returns the server that the faults are about, and its proxy.
func (g *ground) node(t testing.TB) (*redistest.Server, *faultproxy.Proxy) {
	t.Helper()
	s := g.Node(t, "row:"+g.hot[0])
	return s, g.proxy(t, s.Addr)
}

// about reports whether a key is one of the server that the faults are about.
func (g *ground) about(key string) bool { return slices.Contains(g.hot, key) }

func (g *ground) settle(t testing.TB) {
	t.Helper()
	if c, ok := g.Backend.(*redistest.Cluster); ok {
		c.Wait(t)
	}
}
