package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// Certs are the certificates of a test, as PEM files.
type Certs struct {
	CA      string // signed all but Foreign and ForeignClient
	OtherCA string // signed those

	Server        Pair // for 127.0.0.1 and localhost
	Expired       Pair // the same, until an hour ago
	OtherHost     Pair // for other.example
	Foreign       Pair // like Server, but of OtherCA
	Client        Pair
	ForeignClient Pair
}

// Pair is the files of a certificate and its key.
type Pair struct{ Cert, Key string }

// StartTLS starts a server that ends with the test and takes nothing but TLS on its port, with Certs.Server, from clients
// that show a certificate: "--tls-auth-clients", "optional" or "no" among the args changes that. args are further options
// of redis-server. On its unix socket it answers without TLS.
func StartTLS(t testing.TB, args ...string) *Server {
	t.Helper()
	s, err := start(tlsOnly(args))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Stop)
	return s
}

func tlsOnly(args []string) setup {
	return func(s *Server, port, _ string) (options []string, err error) {
		if s.Certs, err = writeCerts(s.dir); err != nil {
			return nil, err
		}
		s.bySocket = true
		s.username, s.password = "redistest", "any" // stays when a test takes the default user's rights
		return append(append(s.options("0"),
			"--tls-port", port, "--tls-ca-cert-file", s.Certs.CA, "--tls-cert-file", s.Certs.Server.Cert,
			"--tls-key-file", s.Certs.Server.Key, "--tls-auth-clients", "yes",
			"--user", s.username, "on", "nopass", "~*", "&*", "+@all"), args...), nil
	}
}

// UseCert has the server of StartTLS show another certificate from now on, until it is restarted.
func (s *Server) UseCert(t testing.TB, p Pair) {
	t.Helper()
	s.Do(t, "CONFIG", "SET", "tls-cert-file", p.Cert, "tls-key-file", p.Key)
}

// ACLSetUser makes or changes a user: ACLSetUser(t, "app", "on", ">secret", "~*", "+@all").
func (s *Server) ACLSetUser(t testing.TB, name string, rules ...string) {
	t.Helper()
	s.Do(t, append([]string{"ACL", "SETUSER", name}, rules...)...)
}

// query names the files in a URL.
func (c *Certs) query() string {
	return url.Values{"ca": {c.CA}, "cert": {c.Client.Cert}, "key": {c.Client.Key}}.Encode()
}

// Config returns what a client needs that trusts the CA and shows the certificate, or none if it is the zero Pair.
func (c *Certs) Config(t testing.TB, client Pair) *tls.Config {
	t.Helper()
	text, err := os.ReadFile(c.CA)
	if err != nil {
		t.Fatal(err)
	}
	config := &tls.Config{RootCAs: x509.NewCertPool(), MinVersion: tls.VersionTLS12, ServerName: "127.0.0.1"}
	config.RootCAs.AppendCertsFromPEM(text)
	if client != (Pair{}) {
		cert, err := tls.LoadX509KeyPair(client.Cert, client.Key)
		if err != nil {
			t.Fatal(err)
		}
		config.Certificates = []tls.Certificate{cert}
	}
	return config
}

func writeCerts(dir string) (*Certs, error) {
	ca, caPair, err := issue(dir, "ca", nil, nil)
	if err != nil {
		return nil, err
	}
	other, otherPair, err := issue(dir, "other-ca", nil, nil)
	if err != nil {
		return nil, err
	}
	c := &Certs{CA: caPair.Cert, OtherCA: otherPair.Cert}
	local := func(cert *x509.Certificate) {
		cert.DNSNames, cert.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	}
	client := func(cert *x509.Certificate) { cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} }
	for _, leaf := range []struct {
		pair *Pair
		name string
		by   *authority
		as   func(*x509.Certificate)
	}{
		{&c.Server, "server", ca, local},
		{&c.Expired, "expired", ca, func(cert *x509.Certificate) { local(cert); cert.NotAfter = time.Now().Add(-time.Hour) }},
		{&c.OtherHost, "other-host", ca, func(cert *x509.Certificate) { cert.DNSNames = []string{"other.example"} }},
		{&c.Foreign, "foreign", other, local},
		{&c.Client, "client", ca, client},
		{&c.ForeignClient, "foreign-client", other, client},
	} {
		if _, *leaf.pair, err = issue(dir, leaf.name, leaf.by, leaf.as); err != nil {
			return nil, err
		}
	}
	return c, nil
}

// An authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue makes a certificate of a name and writes its files; without an authority it is one itself.
func issue(dir, name string, by *authority, as func(*x509.Certificate)) (*authority, Pair, error) {
	p := Pair{Cert: filepath.Join(dir, name+".pem"), Key: filepath.Join(dir, name+".key")}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, p, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, p, err
	}
	cert := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "redistest " + name}, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-24 * time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		KeyUsage:    x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	made := &authority{cert, key}
	if by == nil {
		by = made
		cert.IsCA, cert.KeyUsage, cert.ExtKeyUsage = true, x509.KeyUsageCertSign, nil
	} else {
		as(cert)
	}
	der, err := x509.CreateCertificate(rand.Reader, cert, by.cert, &key.PublicKey, by.key)
	if err != nil {
		return nil, p, err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, p, err
	}
	if err := writePEM(p.Cert, "CERTIFICATE", der); err != nil {
		return nil, p, err
	}
	return made, p, writePEM(p.Key, "PRIVATE KEY", private)
}

func writePEM(file, kind string, der []byte) error {
	return os.WriteFile(file, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
