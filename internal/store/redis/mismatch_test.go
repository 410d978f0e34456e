package redis_test

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store/redis"
)

// A URL whose scheme or port does not fit what answers there is an error at once, also where an unavailable Redis is not.
func TestOpenMismatch(t *testing.T) {
	plain, secure := redistest.Shared(t), redistest.StartTLS(t)
	web := httptest.NewServer(http.NotFoundHandler())
	defer web.Close()
	webTLS := httptest.NewTLSServer(http.NotFoundHandler())
	defer webTLS.Close()
	for url, want := range map[string]string{
		"rediss://" + plain.Addr:                        "the server answers there without TLS; use redis:// for this port",
		"rediss://" + plain.Addr + "?cluster=true":      "the server answers there without TLS; use redis:// for this port",
		"rediss-sentinel://" + plain.Addr + "/mymaster": "the server answers there without TLS; use redis:// for this port",
		"redis://" + secure.Addr:                        "the server speaks TLS there; use rediss://",
		"redis://" + secure.Addr + "?cluster=true":      "the server speaks TLS there; use rediss://",
		"redis://" + webTLS.Listener.Addr().String():    "the server speaks TLS there; use rediss://",
		"redis://" + web.Listener.Addr().String():       "an HTTP server answers there; check the port",
	} {
		s, err := redis.Open(t.Context(), url, redis.Options{})
		if err == nil {
			s.Close()
			t.Errorf("%s: no error, want %q", url, want)
		} else if !strings.Contains(err.Error(), want) {
			t.Errorf("%s:\n got %s\nwant %s", url, err, want)
		}
	}
}

// A server that is away at first, and then has no TLS, is a problem.
func TestMismatchFoundLater(t *testing.T) {
	server := redistest.Start(t)
	server.Kill()
	s, log := degraded(t, "rediss://"+server.Addr)
	server.Restart(t)
	eventually.True(t, "a problem in", func() bool {
		return strings.Contains(strings.Join(s.Problems(), "\n"), "the server answers there without TLS; use redis://")
	}, log)
	<-time.After(100 * time.Millisecond)
	if n := log.count("without TLS"); n > 2 { // the problem, and why it is unavailable
		t.Errorf("%d lines:\n%s", n, log)
	}
}
