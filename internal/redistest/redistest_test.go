package redistest_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/redistest"
)

func TestMain(m *testing.M) {
	status := redistest.Main(m)
	if err := goleak.Find(redistest.Delayed()...); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// text is what a command answers with.
func text(t *testing.T, m *rueidis.RedisMessage) string {
	t.Helper()
	s, err := m.ToString()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServer(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "s3cret")
	s.Do(t, "SET", "a", "1", "EX", "100")
	s.Invariants(t, "a")
	addr := s.Addr
	s.Restart(t)
	if s.Addr != addr {
		t.Fatalf("%s after a restart, before it %s", s.Addr, addr)
	}
	if n, _ := s.Do(t, "DBSIZE").AsInt64(); n != 0 {
		t.Fatalf("%d keys after a restart", n)
	}
	kept := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	kept.Do(t, "SET", "a", "1")
	kept.Kill()
	kept.Restart(t)
	if got := text(t, kept.Do(t, "GET", "a")); got != "1" {
		t.Fatalf("GET after a restart with an append-only file: %q", got)
	}
}

func TestCluster(t *testing.T) {
	c := redistest.StartCluster(t, 3, 1)
	if len(c.Nodes) != 6 || !strings.HasSuffix(c.URL(), "?cluster=true") || strings.Count(c.URL(), ",") != 2 {
		t.Fatalf("%d nodes, %s", len(c.Nodes), c.URL())
	}
	for i := range 100 {
		c.Do(t, "SET", fmt.Sprint("key:", i), fmt.Sprint(i), "EX", "100")
	}
	read := func() {
		t.Helper()
		for i := range 100 {
			if got := text(t, c.Do(t, "GET", fmt.Sprint("key:", i))); got != fmt.Sprint(i) {
				t.Fatalf("key:%d = %q", i, got)
			}
		}
	}
	read()
	c.Invariants(t, "key:")

	for range 2 { // there and back
		old := c.Master(t, "key:1")
		replica := c.Replica(t, old)
		c.Failover(t, replica)
		if now := c.Master(t, "key:1"); now != replica {
			t.Fatalf("the master is %s, not %s", now.Addr, replica.Addr)
		}
		if back := c.Replica(t, replica); back != old {
			t.Fatalf("the replica is %s, not %s", back.Addr, old.Addr)
		}
		read()
	}

	from := c.Master(t, "{a}")
	added := c.AddNode(t)
	c.Reshard(t, from, added, 100)
	if n := len(c.Masters(t)); n != 4 {
		t.Fatalf("%d masters", n)
	}
	read()
	c.FlushAll(t)
	for _, s := range c.Masters(t) {
		if n, _ := s.Do(t, "DBSIZE").AsInt64(); n != 0 {
			t.Fatalf("%d keys after FlushAll", n)
		}
	}
}

func TestClusterMasterDies(t *testing.T) {
	c := redistest.SharedCluster(t)
	for _, test := range []struct {
		name string
		hurt func(*redistest.Server)
		heal func(*redistest.Server)
	}{
		{"killed", (*redistest.Server).Kill, func(s *redistest.Server) { s.Restart(t) }},
		{"paused", (*redistest.Server).Pause, (*redistest.Server).Continue},
	} {
		t.Run(test.name, func(t *testing.T) {
			old := c.Master(t, "a")
			replica := c.Replica(t, old)
			old.Do(t, "SET", "a", test.name)
			if n, _ := old.Do(t, "WAIT", "1", "9000").AsInt64(); n != 1 { // on the connection of the SET
				t.Fatalf("%d replicas have it", n)
			}
			test.hurt(old)
			c.Wait(t)
			if now := c.Master(t, "a"); now != replica {
				t.Fatalf("the master is %s, not %s", now.Addr, replica.Addr)
			}
			if got := text(t, replica.Do(t, "GET", "a")); got != test.name {
				t.Fatalf("GET after the failover: %q", got)
			}
			test.heal(old)
			c.Wait(t)
			if got := c.Replica(t, replica); got != old {
				t.Fatalf("the replica is %s, not %s", got.Addr, old.Addr)
			}
			if got := text(t, c.Do(t, "GET", "a")); got != test.name {
				t.Fatalf("GET when all are back: %q", got)
			}
		})
	}
}

func TestClusterPassword(t *testing.T) {
	c := redistest.StartCluster(t, 3, 0, "--requirepass", "s3cret", "--masterauth", "s3cret", "--cluster-node-timeout", "5000")
	c.Do(t, "SET", "a", "1")
	c.Reshard(t, c.Nodes[0], c.Nodes[1], 10)
	if got, _ := c.Nodes[0].Do(t, "CONFIG", "GET", "cluster-node-timeout").AsStrMap(); got["cluster-node-timeout"] != "5000" {
		t.Fatal(got)
	}
}

func TestSentinels(t *testing.T) {
	g := redistest.SharedSentinels(t)
	var addrs []string
	for _, s := range g.Sentinels {
		addrs = append(addrs, s.Addr)
	}
	if want := "redis-sentinel://" + strings.Join(addrs, ",") + "/mymaster"; g.URL() != want {
		t.Fatalf("%s, want %s", g.URL(), want)
	}
	client, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: addrs, Sentinel: rueidis.SentinelOption{MasterSet: "mymaster"}, DisableCache: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	if err := client.Do(t.Context(), client.B().Set().Key("a").Value("1").ExSeconds(100).Build()).Error(); err != nil {
		t.Fatal(err)
	}
	g.Invariants(t, "a")
	old, replica := g.Master(t), g.Replica(t)
	old.Do(t, "SET", "a", "1", "EX", "100")
	if n, _ := old.Do(t, "WAIT", "1", "9000").AsInt64(); n != 1 { // on the connection of the SET
		t.Fatalf("%d replicas have it", n)
	}
	g.Failover(t)
	if g.Master(t) != replica || g.Replica(t) != old {
		t.Fatal("the failover changed nothing")
	}
	if got := text(t, g.Master(t).Do(t, "GET", "a")); got != "1" {
		t.Fatalf("GET after the failover: %q", got)
	}

	replica.Kill() // now the master
	g.Wait(t)
	if g.Master(t) != old {
		t.Fatal("the death of the master changed nothing")
	}
	replica.Restart(t)
	g.Wait(t)
	if got := text(t, replica.Do(t, "GET", "a")); got != "1" {
		t.Fatalf("GET from the restarted replica: %q", got)
	}
	g.FlushAll(t)
}

func TestSentinelsPassword(t *testing.T) {
	g := redistest.StartSentinels(t, "--requirepass", "s3cret", "--masterauth", "s3cret")
	g.Sentinels[0].Restart(t)
	g.Failover(t)
	g.Master(t).Do(t, "SET", "a", "1")
}

func TestTLS(t *testing.T) {
	s := redistest.StartTLS(t)
	if u, err := url.Parse(s.URL()); err != nil || u.Scheme != "rediss" || u.Query().Get("ca") != s.Certs.CA {
		t.Fatalf("%s: %v", s.URL(), err)
	}
	none := redistest.Pair{}
	for _, test := range []struct {
		name           string
		server, client redistest.Pair
		want           string // in the error; "" is success, and how a reset connection is told varies
	}{
		{"right", s.Certs.Server, s.Certs.Client, ""},
		{"no client certificate", s.Certs.Server, none, "any"},
		{"client of another CA", s.Certs.Server, s.Certs.ForeignClient, "any"},
		{"expired", s.Certs.Expired, s.Certs.Client, "expired"},
		{"another host", s.Certs.OtherHost, s.Certs.Client, "127.0.0.1"},
		{"another CA", s.Certs.Foreign, s.Certs.Client, "unknown authority"},
	} {
		t.Run(test.name, func(t *testing.T) {
			s.UseCert(t, test.server)
			err := set(s, s.Certs.Config(t, test.client), "", "")
			if (err == nil) != (test.want == "") || err != nil && test.want != "any" && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
	s.UseCert(t, s.Certs.Server)
	if err := set(s, nil, "", ""); err == nil {
		t.Fatal("the server takes a client without TLS")
	}
}

func TestTLSUsers(t *testing.T) {
	s := redistest.StartTLS(t, "--tls-auth-clients", "optional")
	config := s.Certs.Config(t, redistest.Pair{})
	s.ACLSetUser(t, "app", "on", ">s3cret", "~*", "+@all")
	s.ACLSetUser(t, "default", "off")
	for _, test := range []struct{ name, user, password, want string }{
		{"right", "app", "s3cret", ""},
		{"wrong password", "app", "other", "WRONGPASS"},
		{"nobody", "", "", "NOAUTH"},
	} {
		t.Run(test.name, func(t *testing.T) {
			err := set(s, config, test.user, test.password)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Fatalf("got %v, want %q", err, test.want)
			}
		})
	}
	s.Restart(t)
	s.ACLSetUser(t, "app", "on", ">s3cret", "~*", "+@all")
	if err := set(s, config, "app", "s3cret"); err != nil {
		t.Fatal(err)
	}
}

// set writes and reads a key as a client with the configuration.
func set(s *redistest.Server, config *tls.Config, user, password string) error {
	c, err := rueidis.NewClient(rueidis.ClientOption{
		InitAddress: []string{s.Addr}, TLSConfig: config, Username: user, Password: password,
		DisableCache: true, ForceSingleClient: true, DisableRetry: true,
	})
	if err != nil {
		return err
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := c.Do(ctx, c.B().Set().Key("a").Value("1").Build()).Error(); err != nil {
		return err
	}
	got, err := c.Do(ctx, c.B().Get().Key("a").Build()).ToString()
	if err == nil && got != "1" {
		err = fmt.Errorf("got %q", got)
	}
	return err
}

// Tests know which server they start.
func TestBinary(t *testing.T) {
	v := redistest.Binary(t)
	info, err := redistest.Start(t).Do(t, "INFO", "server").ToString()
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%s_version:%d.%d.", v.Name, v.Major, v.Minor); !strings.Contains(info, want) {
		t.Errorf("the server has no %q, but says:\n%s", want, info)
	}
}
