package redis_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/rueidis"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
)

// refused opens a URL that must fail, and checks what the one line says.
func refused(t *testing.T, url string, want ...string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	s, err := redis.Open(ctx, url, redis.Options{Require: true})
	if err == nil {
		s.Close()
		t.Errorf("%s: no error, want %q", url, want)
		return
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("%s:\n got %s\nwant %s", url, err, w)
		}
	}
	if text := err.Error(); strings.Contains(text, "s3cret") || strings.Contains(text, "wr0ng") || strings.Contains(text, "\n") {
		t.Errorf("a password, or more than one line: %q", text)
	}
}

func TestOpenCertificates(t *testing.T) {
	server := redistest.StartTLS(t)
	with := func(query url.Values) string { return "rediss://" + server.Addr + "?" + query.Encode() }
	c := server.Certs
	open(t, server.URL())
	refused(t, with(url.Values{"cert": {c.Client.Cert}, "key": {c.Client.Key}}), "unknown authority", "?ca=FILE")
	refused(t, with(url.Values{"ca": {c.OtherCA}, "cert": {c.Client.Cert}, "key": {c.Client.Key}}), "unknown authority", "?ca=FILE")
	refused(t, with(url.Values{"ca": {c.CA}}), "?cert=FILE&key=FILE")
	refused(t, with(url.Values{"ca": {c.CA}, "cert": {c.ForeignClient.Cert}, "key": {c.ForeignClient.Key}}), "?cert=FILE&key=FILE")
	refused(t, with(url.Values{"ca": {c.CA}, "cert": {c.Client.Cert}}), "cert and key: expected both or neither")
	refused(t, with(url.Values{"ca": {c.Client.Key}}), "holds no PEM certificate")
	refused(t, with(url.Values{"ca": {"/nowhere/ca.pem"}}), "the parameter ca: open /nowhere/ca.pem")
	refused(t, strings.Replace(server.URL(), "rediss", "redis", 1), `unexpected parameter "ca"`, "it belongs to TLS, which rediss:// speaks")
	refused(t, "redis://"+server.Addr, "the server speaks TLS there; use rediss://")

	server.UseCert(t, c.OtherHost)
	refused(t, server.URL(), "127.0.0.1", "?server_name=NAME")
	open(t, server.URL()+"&server_name=other.example")
	server.UseCert(t, c.Expired)
	refused(t, server.URL(), "certificate has expired", "renew the server's certificate")
}

func TestOpenUsers(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, append([]string{"ACL", "SETUSER", "app", "on", ">s3cret", "-@all"}, redistest.Rights...)...)
	as := func(user string) string { return "redis://" + user + "@" + server.Addr }
	open(t, as("app:s3cret"))
	refused(t, as("app:wr0ng"), "check the user and the password")
	refused(t, as("nobody:s3cret"), "check the user and the password")
	server.Do(t, "ACL", "SETUSER", "app", "-unlink", "-set")
	refused(t, as("app:s3cret"), "the user app may not run set, unlink", "ACL SETUSER app +set +unlink")
	server.Do(t, "ACL", "SETUSER", "app", "+set", "+unlink", "-@scripting")
	refused(t, as("app:s3cret"), "the user app may not run evalsha, eval", "ACL SETUSER app +evalsha +eval")
}

// What one can do without is a problem, said once.
func TestProblems(t *testing.T) {
	server := redistest.Start(t)
	server.Do(t, append([]string{"ACL", "SETUSER", "app", "on", ">s3cret", "-@all"}, redistest.Rights...)...)
	server.Do(t, "ACL", "SETUSER", "app", "-info", "-client|tracking", "resetkeys", "~user:*")
	var log buffer
	s := openWith(t, "redis://app:s3cret@"+server.Addr, redis.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	for range 2 {
		s.CheckKeys(t.Context(), "user:*")
		s.CheckKeys(t.Context(), "order:*")
	}
	want := []string{
		"may not run info, client tracking", "ACL SETUSER app +info +client|tracking",
		"ACL SETUSER app ~{user:*}:~?", "ACL SETUSER app ~order:* ~{order:*}:~?", "ACL SETUSER app ~nearside:*",
	}
	all := strings.Join(s.Problems(), "\n")
	if len(s.Problems()) != 4 {
		t.Errorf("%d problems, want 4", len(s.Problems()))
	}
	for _, w := range want {
		if !strings.Contains(all, w) || strings.Count(log.String(), w) != 1 {
			t.Errorf("want %q once in\n%s\nand in the log\n%s", w, all, log.String())
		}
	}
	server.Do(t, "ACL", "SETUSER", "app", "~{user:*}:~?", "~nearside:*")
	again := openWith(t, "redis://app:s3cret@"+server.Addr, redis.Options{})
	if again.CheckKeys(t.Context(), "user:*"); len(again.Problems()) != 1 {
		t.Errorf("the command that grants it does not help: %q", again.Problems())
	}
}

func TestOpenCluster(t *testing.T) {
	cluster := redistest.SharedCluster(t)
	node := cluster.Nodes[0].Addr
	refused(t, "redis://"+node, "is a node of a cluster", "add ?cluster=true")
	refused(t, "redis://"+node+"/3?cluster=true", "a cluster has database 0 alone")
	refused(t, "redis://"+node+","+node, "several hosts: add ?cluster=true")
	refused(t, "redis://"+node+"?cluster=maybe", "expected true or false")
	refused(t, redistest.Shared(t).URL()+"?cluster=true", "is no cluster: leave out ?cluster=true")
	refused(t, "redis://127.0.0.1:1,127.0.0.1:2?cluster=true", "is the server running there?")

	// Seeds that are down among others only warn.
	var log buffer
	s := openWith(t, "redis://127.0.0.1:1,"+node+",no-such-host.invalid:6379?cluster=true", redis.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if o := s.Put(t.Context(), []store.Put{{Key: "a", Value: []byte("1"), TTL: time.Minute}}, 0)[0]; o.Err != nil {
		t.Error(o.Err)
	}
	eventually.True(t, "a warning for each", func() bool {
		return strings.Count(log.String(), "127.0.0.1:1") >= 1 && strings.Contains(log.String(), "no-such-host.invalid")
	}, &log)

	lonely := redistest.Start(t, "--cluster-enabled", "yes")
	refused(t, lonely.URL()+"?cluster=true", "the cluster is not whole")
	lonely.Do(t, "CLUSTER", "ADDSLOTSRANGE", "0", "16000")
	eventually.True(t, "an error about the missing slots", func() bool { // a node that has just started does not call its cluster well
		_, err := redis.Open(t.Context(), lonely.URL()+"?cluster=true", redis.Options{Require: true})
		return err != nil && strings.Contains(err.Error(), "383 of 16384 slots are served by no node")
	})
}

func TestOpenSentinels(t *testing.T) {
	sentinels := redistest.SharedSentinels(t)
	hosts := strings.TrimSuffix(sentinels.URL(), "/mymaster")
	s := open(t, strings.Replace(sentinels.URL(), "://", "://127.0.0.1:1,", 1)+"/2")
	s.Put(t.Context(), []store.Put{{Key: "in database 2", Value: []byte("1"), TTL: time.Minute}}, 0)
	if n, _ := sentinels.Master(t).Do(t, "EXISTS", "in database 2").AsInt64(); n != 0 {
		t.Error("the value stands in database 0, want 2")
	}
	refused(t, hosts, "expected the name of the master")
	refused(t, hosts+"/othermaster", "the sentinels know no master of that name")
	refused(t, "redis://"+sentinels.Replica(t).Addr, "is a read-only replica", "redis-sentinel://")
	refused(t, "redis-sentinel://127.0.0.1:1/mymaster", "is the server running there?")
}

func TestOpenUnknownHost(t *testing.T) {
	refused(t, "redis://:s3cret@no-such-host.invalid", "no such host", "check the host name")
}

// A server that listens beyond loopback without a password says this to strangers; the tests listen on loopback alone, so
// that its words stand here.
func TestOpenProtectedMode(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var served sync.WaitGroup
	served.Go(func() {
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			fmt.Fprint(conn, "-DENIED Redis is running in protected mode because protected mode is enabled and no password is set for the default user. In this mode connections are only accepted from the loopback interface.\r\n")
			conn.Close()
		}
	})
	defer served.Wait()
	defer ln.Close()
	refused(t, "redis://"+ln.Addr().String(), "protected mode", "give it a password (requirepass) or an ACL user")
}

// The last word on the client's settings is the caller's.
func TestConfigure(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "s3cret")
	openWith(t, server.URL(), redis.Options{Configure: func(o *rueidis.ClientOption) {
		o.AuthCredentialsFn = func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
			return rueidis.AuthCredentials{Password: "s3cret"}, nil
		}
	}})
}

func TestUsageOfACluster(t *testing.T) {
	cluster := redistest.SharedCluster(t)
	cluster.FlushAll(t)
	s := open(t, cluster.URL())
	var puts []store.Put
	for i := range 100 {
		puts = append(puts, store.Put{Key: fmt.Sprint("k", i), Value: []byte("1"), TTL: time.Minute})
	}
	s.Put(t.Context(), puts, 0)
	u, err := s.Usage(t.Context())
	if err != nil || u.Keys != 100+3 || u.Bytes < 3<<20 {
		t.Errorf("got %+v, %v, want 100 keys, a marker each, and the memory of three masters", u, err)
	}
	if n := len(s.Masters()); n != 3 {
		t.Errorf("%d masters, want 3", n)
	}
}

// An invalidation that the replicas do not have in time is an error; one that they have is none.
func TestReplicas(t *testing.T) {
	for _, kind := range redistest.Kinds {
		if kind.Name == "tls" { // another server without a replica
			continue
		}
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			s := openWith(t, server.URL(), redis.Options{Replicas: 1})
			keys := []string{"a", "b", "c", "d"}
			for _, key := range keys {
				s.Put(t.Context(), []store.Put{{Key: key, Value: []byte("1"), TTL: time.Minute}}, 0)
				s.Begin(t.Context(), []store.Intent{{Key: key + "w", Token: "w", Life: time.Minute}})
			}
			within := func() context.Context {
				ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
				t.Cleanup(cancel)
				return ctx
			}
			os := s.Invalidate(within(), keys, 0)
			for _, key := range keys {
				os = append(os, s.End(within(), []store.End{{Key: key + "w", Token: "w", Put: true, Value: []byte("2"), TTL: time.Minute}})...)
			}
			for i, o := range os {
				switch {
				case kind.Name == "single":
					if o.Err == nil || !strings.Contains(o.Err.Error(), "only 0 of 1 replicas have it") {
						t.Errorf("%d: got %+v, want too few replicas", i, o)
					}
				case o.Err != nil || !o.OK:
					t.Errorf("%d: got %+v", i, o)
				}
			}
			if it := s.Get(t.Context(), "a", false); it.Found {
				t.Error("the value is still there")
			}
		})
	}
}

func openWith(t testing.TB, url string, o redis.Options) *redis.Store {
	t.Helper()
	o.Require = true
	s, err := redis.Open(context.Background(), url, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// buffer is a log that many goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

// The rights of the documentation are enough, on a cluster too; and they are those that the tests run with.
func TestDocumentedRights(t *testing.T) {
	text, err := os.ReadFile("../../../docs/redis.md")
	if err != nil {
		t.Fatal(err)
	}
	line := regexp.MustCompile(`(?m)^    ACL SETUSER app (.*)$`).FindStringSubmatch(string(text))
	if line == nil {
		t.Fatal("docs/redis.md has no user for the layer")
	}
	for _, right := range redistest.Rights[1:] {
		if !strings.Contains(line[1]+" ", " "+right+" ") {
			t.Errorf("docs/redis.md does not grant %s, which the tests run with", right)
		}
	}
	if !strings.Contains(string(text), "ACL SETUSER app "+strings.Join(redistest.CollectionRights, " ")+"\n") {
		t.Errorf("docs/redis.md does not grant %q, which the tests of collections run with", redistest.CollectionRights)
	}
	if !strings.Contains(string(text), "ACL SETUSER app "+strings.Join(redistest.ClusterRights, " ")+"\n") {
		t.Errorf("docs/redis.md does not grant %q, which the tests of clusters run with", redistest.ClusterRights)
	}
	cluster := redistest.SharedCluster(t)
	for _, node := range cluster.Masters(t) {
		node.Do(t, append([]string{"ACL", "SETUSER", "app", "reset"}, append(strings.Fields(line[1]), redistest.ClusterRights...)...)...)
	}
	var log buffer
	s := openWith(t, strings.Replace(cluster.URL(), "://", "://app:secret@", 1), redis.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	s.CheckKeys(t.Context(), "user:*")
	s.CheckKeys(t.Context(), "orders:*")
	if ps := s.Problems(); len(ps) > 0 {
		t.Errorf("problems: %q", ps)
	}
	for i := range 20 {
		key, token := fmt.Sprint("user:", i), store.NewToken()
		if g := s.Acquire(t.Context(), []store.Claim{{Key: key, Token: token, Lease: time.Minute, TTL: i%2 == 0}})[0]; g.State != store.Granted {
			t.Errorf("acquire: %+v", g)
		}
		for _, o := range [][]store.Outcome{
			s.Fill(t.Context(), []store.Fill{{Key: key, Token: token, Value: []byte("1"), TTL: time.Minute}}),
			s.Begin(t.Context(), []store.Intent{{Key: key, Token: token, Life: time.Minute}}),
			s.End(t.Context(), []store.End{{Key: key, Token: token, Put: true, Value: []byte("2"), TTL: time.Minute}}),
			s.Invalidate(t.Context(), []string{key}, 0),
		} {
			if o[0].Err != nil || !o[0].OK && i == 0 {
				t.Errorf("%s: %+v", key, o[0])
			}
		}
	}
	if redistest.Binary(t).Major >= 8 {
		for _, node := range cluster.Masters(t) {
			node.Do(t, "ACL", "SETUSER", "app", "-cluster|shards")
		}
		refused(t, strings.Replace(cluster.URL(), "://", "://app:secret@", 1), "cluster|shards", "docs/redis.md")
	}
}
