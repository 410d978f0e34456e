// Package redisurl reads the URL of a Redis store: where it is, and how to speak to it.
package redisurl

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"maps"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
)

// Mode is what stands behind a URL.
type Mode int

const (
	Single    Mode = iota // one server, or a proxy that looks like one
	Cluster               // the masters of a cluster, each with a share of the slots
	Sentinels             // one master, which the sentinels name
)

// Target is what a URL says: where Redis is, and how to speak to it.
type Target struct {
	Mode           Mode
	Network        string   // tcp or unix
	Addresses      []string // of the server, of some nodes of the cluster, or of the sentinels
	Master         string   // the name by which the sentinels know it
	User, Password string
	DB             int
	TLS            *tls.Config // nil: none

	SentinelUser, SentinelPassword string
}

// forms is what errors tell of the URLs there are.
const forms = "redis://[user:password@]host[:port][/db], rediss:// for TLS, unix:///path, redis://h1,h2,h3?cluster=true or redis-sentinel://h1,h2,h3/master-name"

// Parse reads the URL of a store:
//
//	redis://[user:password@]host[:port][/db]          one server; rediss:// with TLS
//	unix:///path[?db=n]                               by a socket
//	redis://h1:p1,h2:p2?cluster=true                  a cluster, of which some nodes are named; rediss:// with TLS
//	redis-sentinel://h1,h2,h3/master-name[/db]        by sentinels (port 26379); rediss-sentinel:// with TLS
//
// With TLS, the parameters ca, cert and key are PEM files, server_name is what the certificate must be for. sentinel_user
// and sentinel_password are for the sentinels themselves. Errors show neither user nor password, nor the values of
// parameters, for a password may stand there.
func Parse(rawURL string) (Target, error) {
	bad := errors.New("the URL of Redis cannot be parsed: expected " + forms + "; special characters of a password are written as %XX")
	scheme, rest, ok := strings.Cut(rawURL, "://")
	if !ok {
		return Target{}, bad
	}
	// Several hosts with ports are no authority to net/url, so it is given the rest.
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority := rest[:end]
	at := strings.LastIndexByte(authority, '@')
	hosts := authority[at+1:]
	u, err := url.Parse(scheme + "://" + authority[:at+1] + "host" + rest[end:])
	if err != nil { // its text would show the password
		return Target{}, bad
	}
	t, err := parse(u, hosts)
	switch { // what stands there may be a password without its host
	case errors.Is(err, errHost):
		return Target{}, bad
	case errors.Is(err, errPort):
		return Target{}, errors.New("the URL of Redis has a port that is not from 1 to 65535: expected " + forms)
	}
	if err != nil {
		return Target{}, fmt.Errorf("%s://%s%s: %w", scheme, hosts, u.Path, err)
	}
	return t, nil
}

// parse reads a URL whose hosts were taken out.
func parse(u *url.URL, hosts string) (t Target, err error) {
	query, t := u.Query(), Target{Network: "tcp"}
	take := func(name string) string { // so that what is left was not expected
		v := query.Get(name)
		query.Del(name)
		return v
	}
	port, secure, db := "6379", false, strings.Trim(u.Path, "/")
	switch u.Scheme {
	case "redis", "rediss":
		secure = u.Scheme == "rediss"
		switch cluster := take("cluster"); cluster {
		case "true":
			t.Mode = Cluster
		case "", "false":
			if strings.Contains(hosts, ",") {
				return t, errors.New("several hosts: add ?cluster=true for a cluster, or use redis-sentinel://")
			}
		default:
			return t, errors.New("the parameter cluster: expected true or false")
		}
	case "redis-sentinel", "rediss-sentinel":
		secure, port, t.Mode = u.Scheme == "rediss-sentinel", "26379", Sentinels
		if t.Master, db, _ = strings.Cut(db, "/"); t.Master == "" {
			return t, errors.New("expected the name of the master behind the hosts: redis-sentinel://h1,h2,h3/mymaster")
		}
		t.SentinelUser, t.SentinelPassword = take("sentinel_user"), take("sentinel_password")
	case "unix":
		if u.Path == "" || hosts != "" {
			return t, errors.New("expected unix:///path/to/redis.sock, with three slashes")
		}
		t.Network, t.Addresses, db = "unix", []string{u.Path}, take("db")
	default:
		return t, fmt.Errorf("unknown scheme %q: expected %s", u.Scheme, forms)
	}
	if t.Network == "tcp" {
		if t.Addresses, err = addresses(hosts, port); err != nil {
			return t, err
		}
	}
	if secure {
		if t.TLS, err = secured(take("ca"), take("cert"), take("key"), take("server_name")); err != nil {
			return t, err
		}
	}
	if unexpected := slices.Sorted(maps.Keys(query)); len(unexpected) > 0 {
		name, hint := unexpected[0], ""
		if slices.Contains([]string{"ca", "cert", "key", "server_name"}, name) {
			hint = ": it belongs to TLS, which rediss:// speaks"
		}
		return t, fmt.Errorf("unexpected parameter %q%s", name, hint)
	}
	if db != "" {
		if t.DB, err = strconv.Atoi(db); err != nil || t.DB < 0 {
			return t, fmt.Errorf("database %q: expected a number such as 0", db)
		}
	}
	if t.Mode == Cluster && t.DB != 0 {
		return t, fmt.Errorf("database %d: a cluster has database 0 alone", t.DB)
	}
	t.User = u.User.Username()
	if password, set := u.User.Password(); set {
		t.Password = password
	} else {
		t.User, t.Password = "", t.User // redis://secret@host
	}
	return t, nil
}

var (
	errHost = errors.New("a host that is none")
	errPort = errors.New("a port that is none")
)

// addresses reads host[:port],host[:port]...
func addresses(hosts, port string) (out []string, err error) {
	for host := range strings.SplitSeq(hosts, ",") {
		u, err := url.Parse("redis://" + host)
		if err != nil || host == "" && strings.Contains(hosts, ",") {
			return nil, errHost
		}
		name, p := u.Hostname(), u.Port()
		if name == "" {
			name = "127.0.0.1"
		}
		if p == "" {
			p = port
		}
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, errPort
		}
		out = append(out, net.JoinHostPort(name, p))
	}
	return out, nil
}

// secured returns the settings of TLS. Without ca the system's authorities are trusted.
func secured(ca, cert, key, name string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: name}
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return nil, fmt.Errorf("the parameter ca: %w", err)
		}
		if c.RootCAs = x509.NewCertPool(); !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("the parameter ca: %s holds no PEM certificate", ca)
		}
	}
	if (cert == "") != (key == "") {
		return nil, errors.New("cert and key: expected both or neither")
	}
	if cert != "" {
		pair, err := tls.LoadX509KeyPair(cert, key)
		if err != nil {
			return nil, fmt.Errorf("the parameters cert and key: %w", err)
		}
		c.Certificates = []tls.Certificate{pair}
	}
	return c, nil
}

// String is where Redis is, for errors and logs.
func (t Target) String() string { return strings.Join(t.Addresses, ", ") }

// UserName is the name of the user that the URL logs in, for errors and advice.
func (t Target) UserName() string {
	if t.User == "" {
		return "default"
	}
	return t.User
}

// Grant is the command that gives the user rights, as ACL SETUSER takes them.
func (t Target) Grant(rules ...string) string {
	return "ACL SETUSER " + t.UserName() + " " + strings.Join(rules, " ")
}

// Dial connects to a node of the target, handshake of TLS included.
func (t Target) Dial(ctx context.Context, d *net.Dialer, address string) (net.Conn, error) {
	return Dial(ctx, d, t.Network, address, t.TLS)
}

// Dial connects to an address, with TLS if secure is not nil.
func Dial(ctx context.Context, d *net.Dialer, network, address string, secure *tls.Config) (net.Conn, error) {
	if secure == nil {
		return d.DialContext(ctx, network, address)
	}
	return (&tls.Dialer{NetDialer: d, Config: secure}).DialContext(ctx, network, address)
}
