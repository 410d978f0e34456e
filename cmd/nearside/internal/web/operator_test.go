package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
	"github.com/nearside/nearside/cmd/nearside/internal/serve"
)

// clientOver returns a client of a store that waits for a busy machine.
func clientOver(t *testing.T, s store.Store, fleet bool) *nearside.Client {
	t.Helper()
	c := new(nearside.Client)
	c.Inside().Open(s, client.Settings{
		Budget: eventually.Limit, WriteBudget: eventually.Limit, Logger: slog.New(slog.DiscardHandler), Fleet: fleet,
	})
	t.Cleanup(func() { c.Close() })
	return c
}

// What operators ask has the protections of all routes, and what changes something is a DELETE that says what it is about.
func TestOperatorRoutes(t *testing.T) {
	client := clientOver(t, memory.New(memory.Options{}), true)
	key, err := pattern.Parse("user:{id}", map[string]pattern.Type{"id": pattern.Int})
	if err != nil {
		t.Fatal(err)
	}
	loads := 0
	service := serve.New(client, slog.New(slog.DiscardHandler), []serve.Spec{{Name: "user", Key: key, TTL: time.Hour, LoadTimeout: eventually.Limit, MaxValue: 1 << 20, Load: func(context.Context, []string) ([]byte, error) {
		loads++
		return []byte(`{"id":1}`), nil
	}}})
	open, guarded := New(service, Options{Source: "the embedded store", Fleet: client.Fleet()}), New(service, Options{Password: "s3cret"})
	if _, err := service.Named("user").Values.Get(t.Context(), "user:1"); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		h            http.Handler
		method, path string
		host, auth   string
		status       int
		says         string
	}{
		{open, "GET", "/v1/-/caches", "", "", 200, `[{"name":"user","key":"user:{id}","params":["id"]}]`},
		{open, "GET", "/v1/-/caches/user/keys", "", "", 200, `"key":"user:1"`},
		{open, "GET", "/v1/-/caches/user/keys?limit=0", "", "", 400, "limit: found"},
		{open, "GET", "/v1/-/caches/user/keys?for=1h", "", "", 400, "for: found"},
		{open, "GET", "/v1/-/caches/user/count", "", "", 200, `"keys":1,"exact":true`},
		{open, "GET", "/v1/-/caches/user/entry?arg=1", "", "", 200, `"value":"eyJpZCI6MX0="`},
		{open, "GET", "/v1/-/caches/user/entry?arg=2", "", "", 200, `"found":false`},
		{open, "GET", "/v1/-/caches/user/entry?arg=x", "", "", 404, "expected int"},
		{open, "GET", "/v1/-/caches/usr/keys", "", "", 404, "did you mean user?"},
		{open, "GET", "/v1/-/doctor", "", "", 200, `"source":"the embedded store"`},
		{open, "GET", "/v1/-/fleet", "", "", 200, `"names":["user"]`},
		{open, "GET", "/v1/-/fleet?cache=user&back=1h", "", "", 200, `"minutes":[{"start":`},
		{open, "GET", "/v1/-/fleet?cache=usr", "", "", 404, "did you mean user?"},
		{open, "GET", "/v1/-/fleet?back=-1s", "", "", 400, "back: found"},
		{open, "GET", "/v1/-/fleet", "evil.example.com", "", 421, "is not this one"},
		{guarded, "GET", "/v1/-/fleet", "", "", 401, "password"},
		{open, "POST", "/v1/-/caches/user/keys?all=true", "", "", 404, "not answered with this method"},
		{open, "GET", "/v1/-/nonsense", "", "", 404, "nothing at this path"},
		{open, "DELETE", "/v1/-/caches/user/keys", "", "", 400, "expected ?all=true"},
		{open, "GET", "/v1/-/caches", "evil.example.com", "", 421, "is not this one"},
		{open, "DELETE", "/v1/-/caches/user/keys?all=true", "evil.example.com", "", 421, "is not this one"},
		{guarded, "GET", "/v1/-/caches", "", "", 401, "password"},
		{guarded, "DELETE", "/v1/-/caches/user/keys?all=true", "", "wrong", 401, "password"},
		{guarded, "GET", "/v1/-/caches", "any.example.com", "s3cret", 200, "user:{id}"},
		{open, "GET", "/v1/-/caches/user/count", "", "", 200, `"keys":1`}, // nothing was removed until here
		{open, "DELETE", "/v1/-/caches/user/entry?arg=1", "", "", 200, `"held":true`},
		{guarded, "DELETE", "/v1/-/caches/user/keys?all=true", "", "s3cret", 200, `"keys":0`},
	} {
		r := httptest.NewRequestWithContext(t.Context(), c.method, c.path, nil)
		if r.Host = "127.0.0.1:8080"; c.host != "" {
			r.Host = c.host
		}
		if c.auth != "" {
			r.Header.Set("Authorization", "Bearer "+c.auth)
		}
		w := httptest.NewRecorder()
		c.h.ServeHTTP(w, r)
		if w.Code != c.status || !strings.Contains(w.Body.String(), c.says) {
			t.Errorf("%s %s of %q: %d %s, want %d %s", c.method, c.path, c.host, w.Code, w.Body.String(), c.status, c.says)
		}
	}
	if loads != 1 {
		t.Errorf("operators have loaded rows: %d loads", loads)
	}
}

// A search for keys that takes long holds up nothing else, and one too many is answered soon.
func TestWalksDoNotStarve(t *testing.T) {
	slow := &slowWalks{Store: memory.New(memory.Options{}), began: make(chan struct{}, 2)}
	client := clientOver(t, slow, false)
	key, err := pattern.Parse("user:{id}", nil)
	if err != nil {
		t.Fatal(err)
	}
	service := serve.New(client, slog.New(slog.DiscardHandler), []serve.Spec{{Name: "user", Key: key, TTL: time.Hour, LoadTimeout: eventually.Limit, MaxValue: 1 << 20, Load: func(context.Context, []string) ([]byte, error) {
		return nil, nearside.ErrNotFound
	}}})
	h := New(service, Options{})
	ask := func(ctx context.Context, path string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(ctx, "GET", path, nil)
		r.Host = "localhost"
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	ctx, cancel := context.WithCancel(t.Context())
	var searches sync.WaitGroup
	for range walksAtOnce {
		searches.Go(func() { ask(ctx, "/v1/-/caches/user/keys?match=x&for=10m") })
		<-slow.began
	}
	slow.fast.Store(true)
	if w := ask(t.Context(), "/v1/-/doctor"); w.Code != 200 {
		t.Errorf("doctor: %d %s", w.Code, w.Body)
	}
	if w := ask(t.Context(), "/v1/-/caches/user/count"); w.Code != 200 {
		t.Errorf("count: %d %s", w.Code, w.Body)
	}
	began := time.Now()
	if w := ask(t.Context(), "/v1/-/caches/user/keys"); w.Code != 503 {
		t.Errorf("one search too many: %d %s", w.Code, w.Body)
	}
	if d := time.Since(began); d > 20*time.Second { // 5 s on a machine that has nothing else to do
		t.Errorf("one search too many was answered after %v", d)
	}
	cancel()
	searches.Wait()
}

// slowWalks is a store whose walks take as long as they may, until they are fast.
type slowWalks struct {
	store.Store
	began chan struct{}
	fast  atomic.Bool
}

func (s *slowWalks) Keys(ctx context.Context, glob string, ours func(key string) bool, each func(key string) bool) (store.Walk, error) {
	if !s.fast.Load() {
		s.began <- struct{}{}
		<-ctx.Done()
		return store.Walk{}, ctx.Err()
	}
	return s.Store.Keys(ctx, glob, ours, each)
}
