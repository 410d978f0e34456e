package redistest

import (
	"slices"
	"strings"
	"testing"
)

// Backend is a Redis of any kind, shared by the tests of a package.
type Backend interface {
	// URL is its address as the layer takes it.
	URL() string
	// Node returns the server that has a key now.
	Node(t testing.TB, key string) *Server
	// FlushAll empties it.
	FlushAll(t testing.TB)
	// Invariants checks what must hold when nothing goes on any more; see Server.Invariants.
	Invariants(t testing.TB, prefixes ...string)
}

// Kinds are the kinds of Redis that the layer works on: one server, a cluster, a master with sentinels, and a server that
// takes nothing but TLS, from clients with a certificate and a user of few rights.
var Kinds = []struct {
	Name   string
	Shared func(t testing.TB) Backend
}{
	{"single", func(t testing.TB) Backend { return Shared(t) }},
	{"cluster", func(t testing.TB) Backend { return SharedCluster(t) }},
	{"sentinel", func(t testing.TB) Backend { return SharedSentinels(t) }},
	{"tls", func(t testing.TB) Backend { return SharedTLS(t) }},
}

// Rights are those that the layer needs; docs/redis.md has them too.
var Rights = []string{
	"~*", "+get", "+mget", "+pttl", "+type", "+set", "+pexpire", "+del", "+unlink", "+eval", "+evalsha", "+ping", "+info", "+dbsize", "+scan", "+client|tracking",
	// for statistics of the fleet
	"+expire", "+zadd", "+zincrby", "+zrange", "+zremrangebyrank", "+zremrangebyscore",
}

// CollectionRights are those that collections need beside Rights; docs/redis.md has them too.
var CollectionRights = []string{"+@list", "+@set", "+@sortedset", "+@hash", "+exists", "+rename", "+pexpire", "+pexpireat", "+time"}

// ClusterRights are those that a cluster needs beside Rights; docs/redis.md has them too.
var ClusterRights = []string{"+cluster|slots", "+cluster|shards", "+cluster|info", "+cluster|nodes"}

// secured is a TLS server whose URL names a user of few rights.
type secured struct{ *Server }

// SharedTLS returns the package's TLS server, whose URL names the user app, with Rights and CollectionRights.
func SharedTLS(t testing.TB) Backend {
	t.Helper()
	return secured{share(t, &shared.tls, func() (*Server, error) {
		return start(tlsOnly(slices.Concat([]string{"--user", "app", "on", ">s3cret"}, Rights, CollectionRights)))
	})}
}

func (s secured) URL() string { return strings.Replace(s.Server.URL(), "://", "://app:s3cret@", 1) }

// Node returns the server itself.
func (s *Server) Node(testing.TB, string) *Server { return s }

// FlushAll empties the server.
func (s *Server) FlushAll(t testing.TB) {
	t.Helper()
	s.Do(t, "FLUSHALL")
}

// Node is Master.
func (c *Cluster) Node(t testing.TB, key string) *Server {
	t.Helper()
	return c.Master(t, key)
}

// Node returns the master.
func (g *Sentinels) Node(t testing.TB, _ string) *Server {
	t.Helper()
	return g.Master(t)
}
