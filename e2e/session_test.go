package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/nearsidetest"
	"github.com/nearside/nearside/session"
)

// The interfaces of scs, by shape.
var (
	_ scs.Store            = (*session.Store)(nil)
	_ scs.CtxStore         = (*session.Store)(nil)
	_ scs.IterableStore    = (*session.Store)(nil)
	_ scs.IterableCtxStore = (*session.Store)(nil)
)

// pages are a small web program with sessions.
type pages struct {
	*scs.SessionManager
	http.Handler
	store *session.Store
}

// newPages takes a manager from scs.New, which starts a goroutine that never ends: not one of a synctest bubble.
func newPages(manager *scs.SessionManager, client *nearside.Client, cfg session.Config) *pages {
	s := &pages{SessionManager: manager, store: session.New(client, cfg)}
	s.Store = s.store
	s.ErrorFunc = func(w http.ResponseWriter, _ *http.Request, err error) { http.Error(w, err.Error(), 503) }
	mux := http.NewServeMux()
	mux.HandleFunc("/put", func(w http.ResponseWriter, r *http.Request) {
		s.Put(r.Context(), r.FormValue("k"), r.FormValue("v"))
	})
	mux.HandleFunc("/get", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, s.GetString(r.Context(), r.FormValue("k")))
	})
	mux.HandleFunc("/leave", func(w http.ResponseWriter, r *http.Request) {
		if err := s.Destroy(r.Context()); err != nil {
			http.Error(w, err.Error(), 503)
		}
	})
	s.Handler = s.LoadAndSave(mux)
	return s
}

// ask sends one request with a session cookie, and returns the status, the body, and the cookie that was set.
func (s *pages) ask(path, cookie string) (status int, body, set string) {
	r := httptest.NewRequest("GET", path, nil)
	if cookie != "" {
		r.Header.Set("Cookie", "session="+cookie)
	}
	w := httptest.NewRecorder()
	s.ServeHTTP(w, r)
	for _, c := range w.Result().Cookies() {
		set = c.Value
	}
	b, _ := io.ReadAll(w.Result().Body)
	return w.Code, string(b), set
}

func (s *pages) gets(t *testing.T, cookie, want string) {
	t.Helper()
	if status, body, _ := s.ask("/get?k=name", cookie); status != 200 || body != want {
		t.Errorf("%d %q, want %q", status, body, want)
	}
}

func (s *pages) login(t *testing.T) (token string) {
	t.Helper()
	status, body, token := s.ask("/put?k=name&v=Ada", "")
	if status != 200 || token == "" {
		t.Fatalf("%d %q, token %q", status, body, token)
	}
	return token
}

func openSessions(t *testing.T, url string) *nearside.Client {
	t.Helper()
	client, err := nearside.Open(t.Context(), url, nearside.Options{RequireRedis: true, Logger: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	return client
}

// Each kind of Redis, and two processes, of which each sees the sessions of the other.
func TestSessionsOfSCS(t *testing.T) {
	for _, kind := range redistest.Kinds {
		t.Run(kind.Name, func(t *testing.T) {
			server := kind.Shared(t)
			server.FlushAll(t)
			a, b := newPages(scs.New(), openSessions(t, server.URL()), session.Config{}), newPages(scs.New(), openSessions(t, server.URL()), session.Config{})
			token := a.login(t)
			b.gets(t, token, "Ada")
			key := "session:" + token
			if n, _ := server.Node(t, key).Do(t, "TTL", key).AsInt64(); n < 1790 || n > 1800 {
				t.Errorf("TTL %s: %d, want 30 min", key, n)
			}
			sawName := 0
			err := a.Iterate(t.Context(), func(ctx context.Context) error {
				if a.GetString(ctx, "name") == "Ada" {
					sawName++
				}
				return nil
			})
			if err != nil || sawName != 1 {
				t.Errorf("iterate: %v, %d sessions", err, sawName)
			}
			b.ask("/leave", token)
			a.gets(t, token, "")
			server.Invariants(t, "session:")
		})
	}
}

// The store has the hash of a token in place of it.
func TestHashedTokens(t *testing.T) {
	server := redistest.Shared(t)
	server.FlushAll(t)
	s := newPages(scs.New(), openSessions(t, server.URL()), session.Config{})
	s.HashTokenInStore = true
	token := s.login(t)
	s.gets(t, token, "Ada")
	sum := sha256.Sum256([]byte(token))
	hash := base64.RawURLEncoding.EncodeToString(sum[:])
	if ttl, err := s.store.TTL(t.Context(), hash); err != nil || ttl < 29*time.Minute {
		t.Errorf("TTL of the hash: %v, %v", ttl, err)
	}
	if _, err := s.store.TTL(t.Context(), token); err == nil {
		t.Error("the token itself is in Redis")
	}
	if all, err := s.store.All(); err != nil || len(all) != 1 || all[hash] == nil {
		t.Errorf("%d sessions, %v", len(all), err)
	}
}

// Whatever a cookie says, the answer is that of a new session; none comes from the store's panic or error.
func TestGarbageCookies(t *testing.T) {
	server := redistest.Shared(t)
	for name, url := range map[string]string{"memory": "memory:", "redis": server.URL()} {
		t.Run(name, func(t *testing.T) {
			s := newPages(scs.New(), openSessions(t, url), session.Config{})
			for _, cookie := range []string{
				"x", "{tok}", "{a}b", "}{", "tok:~l", "a:~z", ":~l", "~a", "~", "*", "%00%00", "tok%0d%0a", "\x01\x02", "\xff\xfe", "ü",
				strings.Repeat("x", 513), strings.Repeat("x", 1<<20), strings.Repeat("{", 1<<16),
			} {
				s.gets(t, cookie, "")
				status, _, set := s.ask("/put?k=name&v=Ada", cookie)
				if status != 200 || set == "" || set == cookie {
					t.Errorf("%.20q: %d, cookie %.20q, want a new session", cookie, status, set)
				}
				s.gets(t, set, "Ada")
			}
		})
	}
}

// Sliding by the store, and the Lifetime of scs as the end, also of a session that is only read.
func TestIdleAndLifetime(t *testing.T) {
	manager := scs.New()
	synctest.Test(t, func(t *testing.T) {
		s := newPages(manager, nearsidetest.New(t), session.Config{})
		s.Lifetime = 2 * time.Hour
		used, idle := s.login(t), s.login(t)
		for range 5 {
			time.Sleep(20 * time.Minute)
			s.gets(t, used, "Ada")
		}
		s.gets(t, idle, "")
		time.Sleep(20*time.Minute - time.Second)
		s.gets(t, used, "Ada")
		time.Sleep(time.Second)
		s.gets(t, used, "")
	})
	manager = scs.New()
	synctest.Test(t, func(t *testing.T) {
		s := newPages(manager, nearsidetest.New(t), session.Config{Absolute: true})
		s.Lifetime = 30 * time.Minute
		token := s.login(t)
		for range 2 {
			time.Sleep(14 * time.Minute)
			s.gets(t, token, "Ada")
		}
		time.Sleep(3 * time.Minute)
		s.gets(t, token, "")
	})
}

// Why IdleTimeout is to be left out: with it a request that only reads writes the session back as it found it, and what another
// one has put meanwhile is lost.
func TestReadersUndoNothing(t *testing.T) {
	for _, c := range []struct {
		idle time.Duration
		want string
	}{{0, "Grace"}, {time.Hour, "Ada"}} {
		s := newPages(scs.New(), nearsidetest.New(t), session.Config{})
		s.IdleTimeout = c.idle
		token := s.login(t)
		slow := s.LoadAndSave(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s.ask("/put?k=name&v=Grace", token) // another request of the same browser
			fmt.Fprint(w, s.GetString(r.Context(), "name"))
		}))
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Cookie", "session="+token)
		slow.ServeHTTP(httptest.NewRecorder(), r)
		s.gets(t, token, c.want)
	}
}

// Redis is away: an error page, and the session is there again with Redis.
func TestSessionsWithoutRedis(t *testing.T) {
	client := nearsidetest.New(t)
	s := newPages(scs.New(), client, session.Config{})
	token := s.login(t)
	mend := nearsidetest.Break(t, client)
	for _, path := range []string{"/get?k=name", "/put?k=name&v=Eve", "/leave"} {
		if status, body, set := s.ask(path, token); status != 503 || set != "" || !strings.Contains(body, "sessions cannot be reached") || strings.Contains(body, token) {
			t.Errorf("%s: %d %q, cookie %q", path, status, body, set)
		}
	}
	mend()
	s.gets(t, token, "Ada")
}
