package cli

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// certificate writes a certificate for 127.0.0.1 that signs itself, and its key.
func certificate(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	cert, key = filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	for path, b := range map[string]*pem.Block{cert: {Type: "CERTIFICATE", Bytes: der}, key: {Type: "PRIVATE KEY", Bytes: raw}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return cert, key
}

// Beyond loopback: a password and TLS on both ports.
func TestTLSAndPassword(t *testing.T) {
	cert, key := certificate(t)
	config := write(t, "n.yaml", "listen: 0.0.0.0:0\nhttp: 0.0.0.0:0\npassword: s3cret\ntls_cert: "+cert+"\ntls_key: "+key+
		"\ncaches:\n  user: {key: \"user:{id}\", params: {id: int}, load: \"SELECT name FROM users WHERE id = {id}\"}\n")
	r := start(t, serveCmd{Config: config, Database: filled(t), Listen: "0.0.0.0:0", HTTP: "0.0.0.0:0"}, nil)
	_, port, _ := net.SplitHostPort(r.redis)
	r.redis = net.JoinHostPort("127.0.0.1", port)
	if got := r.redisCLI(t, "--tls", "--cacert", cert, "-a", "s3cret", "--no-auth-warning", "GET", "user:42"); got != `{"name":"Margaret Hamilton"}` {
		t.Errorf("redis-cli over TLS: %s", got)
	}
	pool := x509.NewCertPool()
	pemCert, _ := os.ReadFile(cert)
	pool.AppendCertsFromPEM(pemCert)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, DisableKeepAlives: true}}
	_, port, _ = net.SplitHostPort(r.http)
	ask := func(path string, auth func(*http.Request)) (int, string) {
		req, _ := http.NewRequestWithContext(t.Context(), "GET", "https://127.0.0.1:"+port+path, nil)
		req.Host = "cache.example.com" // by whatever name it is reached
		if auth != nil {
			auth(req)
		}
		resp, err := client.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		body, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(body)
	}
	for _, c := range []struct {
		what   string
		auth   func(*http.Request)
		status int
	}{
		{"none", nil, 401},
		{"a wrong one", func(r *http.Request) { r.SetBasicAuth("me", "wrong") }, 401},
		{"an empty one", func(r *http.Request) { r.SetBasicAuth("me", "") }, 401},
		{"Basic", func(r *http.Request) { r.SetBasicAuth("me", "s3cret") }, 200},
		{"Bearer", func(r *http.Request) { r.Header.Set("Authorization", "Bearer s3cret") }, 200},
		{"bearer", func(r *http.Request) { r.Header.Set("Authorization", "bearer s3cret") }, 200},
		{"another scheme", func(r *http.Request) { r.Header.Set("Authorization", "Digest s3cret") }, 401},
	} {
		status, body := ask("/v1/user/42", c.auth)
		if status != c.status || (status == 200) != strings.Contains(body, "Hamilton") {
			t.Errorf("%s: %d %s, want %d", c.what, status, body, c.status)
		}
	}
	if status, body := ask("/healthz", nil); status != 200 {
		t.Errorf("/healthz: %d %s", status, body)
	}
	if strings.Contains(r.out.String()+r.err.String(), "s3cret") {
		t.Error("the password is shown")
	}
}
