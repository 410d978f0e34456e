package dash_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/dash"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/session"
	"github.com/nearside/nearside/shape"
)

// shop is a client with a cache of each kind, and its page.
type shop struct {
	client   *nearside.Client
	users    *nearside.Cache[string, string]
	friends  *shape.Set[string, string]
	sessions *session.Store
	page     *dash.Handler
}

func open(t *testing.T, rawURL string, o dash.Options) *shop {
	t.Helper()
	client, err := nearside.Open(t.Context(), rawURL, nearside.Options{
		Fleet: true, RequireRedis: true, Budget: 5 * time.Second, Logger: slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{client: client, page: dash.New(client, o)}
	s.users = nearside.New(client, "user", nearside.Config[string, string]{
		Load: func(_ context.Context, k string) (string, error) {
			if strings.HasPrefix(k, "no") {
				return "", nearside.ErrNotFound
			}
			return "the value of " + k, nil
		},
		TTL: time.Hour, Stale: time.Minute, NotFoundTTL: time.Minute,
	})
	s.friends = shape.NewSet(client, "friends", shape.SetConfig[string, string]{
		Load: func(context.Context, string) ([]string, error) { return []string{"ada", "grace"}, nil },
	})
	s.sessions = session.New(client, session.Config{})
	t.Cleanup(func() {
		s.page.Close()
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// get asks the page for a path, with headers in pairs.
func (s *shop) get(t *testing.T, path string, headers ...string) *http.Response {
	t.Helper()
	return s.do(httptest.NewRequestWithContext(t.Context(), "GET", path, nil), headers...)
}

func (s *shop) post(t *testing.T, path string, form url.Values, headers ...string) *http.Response {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), "POST", path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return s.do(r, headers...)
}

func (s *shop) do(r *http.Request, headers ...string) *http.Response {
	r.Host = "localhost:8080"
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	if host := r.Header.Get("Host"); host != "" {
		r.Host = host
	}
	w := httptest.NewRecorder()
	s.page.ServeHTTP(w, r)
	return w.Result()
}

func text(t *testing.T, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func (s *shop) read(t *testing.T, keys ...string) {
	t.Helper()
	for _, k := range keys {
		if _, err := s.users.Get(t.Context(), k); err != nil && !strings.HasPrefix(k, "no") {
			t.Fatal(err)
		}
	}
}

// reported waits, in a bubble, until what was counted is shown and sampled.
func (s *shop) reported(t *testing.T) {
	t.Helper()
	s.get(t, "/") // somebody looks
	time.Sleep(45 * time.Second)
	synctest.Wait()
}

func TestPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "memory:", dash.Options{})
		for i := range 100 {
			s.read(t, fmt.Sprint(i%30), "no"+fmt.Sprint(i%7))
		}
		if err := s.users.Invalidate(t.Context(), "1", "2"); err != nil {
			t.Fatal(err)
		}
		if _, err := s.friends.Members(t.Context(), "7"); err != nil {
			t.Fatal(err)
		}
		s.reported(t)
		bodies := make(map[string]string)
		for _, path := range []string{"/", "/?span=24h", "/cache/user", "/cache/user?span=24h", "/cache/friends", "/cache/session", "/cache/user/key?key=user:3", "/cache/friends/key?key=friends:7", "/cache/user/key?key=user:none", "/members", "/redis"} {
			resp := s.get(t, path)
			body := text(t, resp)
			bodies[path] = body
			if resp.StatusCode != http.StatusOK || !strings.Contains(body, "</html>") {
				t.Errorf("%s: status %d: %.2000s", path, resp.StatusCode, body)
			}
			if csp := resp.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'self'") || strings.Contains(csp, "unsafe") {
				t.Errorf("%s: the policy is %q", path, csp)
			}
			if found := regexp.MustCompile(`(?i)\sstyle=|\son[a-z]+=|<style|<script>|javascript:|https?://`).FindString(body); found != "" {
				t.Errorf("%s has %q, which the policy forbids or which is elsewhere", path, found)
			}
		}
		all := uint64(0)
		for _, c := range s.client.Stats(t.Context()).Caches {
			all += c.Near + c.Store + c.Load + c.Stale + c.Negative + c.Errors
		}
		for path, want := range map[string][]string{
			"/": {fmt.Sprintf(`id="reads-hour" value="%d"`, all), `href="./cache/user"`, "embedded store", `<data value="28">28</data>`},
			"/cache/user": {
				`<data id="reads-hour" value="200">`, "1" + "\u00a0" + "h, then stale for 1" + "\u00a0" + "min", "28 keys were looked at", "Invalidations by cause", `../cache/user/key?key=user%3a`,
			},
			"/cache/user/key?key=user:3":       {"string", "Values are not shown"},
			"/cache/user/key?key=user:none":    {"Nothing is stored"},
			"/cache/friends/key?key=friends:7": {"set", "2 elements"},
			"/members":                         {"alive", "All processes run each cache with the same settings"},
		} {
			for _, w := range want {
				if !strings.Contains(bodies[path], w) {
					t.Errorf("%s lacks %q:\n%s", path, w, bodies[path])
				}
			}
		}
		if strings.Contains(bodies["/cache/user/key?key=user:3"], "the value of") {
			t.Error("a value is shown, though nobody allowed it")
		}
		for _, path := range []string{"/nosuch", "/cache/nosuch", "/cache/", "/cache/user/key", "/cache/user/key?key=other:1", "/cache/user/key?key=user:1:~l", "/cache/user/invalidate", "/assets/nosuch.js"} {
			if resp := s.get(t, path); resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s: status %d, expected 404", path, resp.StatusCode)
			}
		}
		if body := text(t, s.get(t, "/cache/usr")); !strings.Contains(body, "No cache is named usr") || !strings.Contains(body, `cache/user`) {
			t.Errorf("of an unknown cache: %s", body)
		}
	})
}

func TestNamesOfAnybody(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := open(t, "memory:", dash.Options{ShowValues: true, AllowWrite: true})
		keys := []string{"<script>alert(1)</script>", "two\nlines", "\x1b[31mred", "\u202egnp.exe", "bad\xffutf8", `"quoted"&'`, strings.Repeat("ä", 300), "../../x?y=z#w"}
		for range 200 {
			s.read(t, keys...)
		}
		s.reported(t)
		for _, path := range []string{"/", "/cache/user"} {
			body := text(t, s.get(t, path))
			if strings.Contains(body, "<script>alert") || strings.ContainsAny(body, "\x1b\u202e") || !utf8.ValidString(body) || strings.Contains(body, "two\nlines") {
				t.Errorf("%s shows a key as it is", path)
			}
		}
		body := text(t, s.get(t, "/cache/user"))
		links := regexp.MustCompile(`href="(\.\./cache/user/key\?key=[^"]+)"`).FindAllStringSubmatch(body, -1)
		if len(links) < len(keys) {
			t.Fatalf("%d links to %d keys", len(links), len(keys))
		}
		for _, l := range links {
			resp := s.get(t, strings.TrimPrefix(l[1], ".."))
			if body := text(t, resp); resp.StatusCode != http.StatusOK || !strings.Contains(body, "the value of") ||
				strings.Contains(body, "<script>alert") || strings.ContainsAny(body, "\x1b\u202e") || !utf8.ValidString(body) {
				t.Errorf("%s: status %d: %s", l[1], resp.StatusCode, body)
			}
		}
	})
}

func TestSessionsAreSecret(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const token = "dGhlIHRva2VuIG9mIGEgc2Vzc2lvbg"
		s := open(t, "memory:", dash.Options{ShowValues: true, AllowWrite: true})
		if err := s.sessions.Commit(token, []byte("secret"), time.Time{}); err != nil {
			t.Fatal(err)
		}
		for range 500 {
			if _, found, err := s.sessions.Find(token); !found || err != nil {
				t.Fatal(found, err)
			}
		}
		s.reported(t)
		for _, path := range []string{"/", "/cache/session", "/cache/user", "/members", "/redis", "/cache/session/key?key=session:" + token, "/cache/user/key?key=session:" + token, "/cache/session/invalidate", "/cache/session/invalidate?key=session:" + token} {
			resp := s.get(t, path)
			body := text(t, resp)
			if told := strings.Count(body, token); told > 0 && resp.StatusCode == http.StatusOK || strings.Contains(body, "secret<") {
				t.Errorf("%s tells of a session", path)
			}
			if strings.Contains(path, "session/") && resp.StatusCode != http.StatusNotFound {
				t.Errorf("%s: status %d", path, resp.StatusCode)
			}
		}
		if resp := s.post(t, "/cache/session/invalidate", url.Values{"confirm": {"session"}}); resp.StatusCode != http.StatusNotFound {
			t.Errorf("sessions are ended: status %d", resp.StatusCode)
		}
		if _, found, _ := s.sessions.Find(token); !found {
			t.Error("the session has ended")
		}
	})
}

func TestInvalidate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		readOnly, s := open(t, "memory:", dash.Options{}), open(t, "memory:", dash.Options{AllowWrite: true})
		for _, one := range []*shop{readOnly, s} {
			one.read(t, "1", "2", "3")
		}
		cached := func(s *shop, k string) bool {
			_, err := s.users.Peek(t.Context(), k)
			return err == nil
		}
		key, all := url.Values{"key": {"user:1"}}, url.Values{"confirm": {"user"}}
		for _, form := range []url.Values{key, all} {
			if resp := readOnly.post(t, "/cache/user/invalidate", form); resp.StatusCode/100 != 4 || !cached(readOnly, "1") {
				t.Errorf("a page that only shows: status %d, still there: %v", resp.StatusCode, cached(readOnly, "1"))
			}
		}
		for name, headers := range map[string][]string{
			"a page of another site":    {"Sec-Fetch-Site", "cross-site"},
			"another origin":            {"Origin", "http://evil.example"},
			"a name that was made ours": {"Host", "evil.example"},
		} {
			if resp := s.post(t, "/cache/user/invalidate", key, headers...); resp.StatusCode != http.StatusForbidden && resp.StatusCode != http.StatusMisdirectedRequest || !cached(s, "1") {
				t.Errorf("%s: status %d, still there: %v", name, resp.StatusCode, cached(s, "1"))
			}
		}
		for _, form := range []url.Values{{}, {"confirm": {"orders"}}, {"confirm": {"USER"}}} {
			resp := s.post(t, "/cache/user/invalidate", form)
			if body := text(t, resp); !strings.Contains(body, "Nothing was done") || !cached(s, "1") {
				t.Errorf("%v: %s", form, body)
			}
		}
		if resp := s.post(t, "/cache/user/invalidate", url.Values{"key": {"friends:1"}}); resp.StatusCode != http.StatusNotFound {
			t.Errorf("the key of another cache: status %d", resp.StatusCode)
		}
		resp := s.post(t, "/cache/user/invalidate", key, "Sec-Fetch-Site", "same-origin")
		if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || to != "key?done=key&key=user%3A1" || cached(s, "1") || !cached(s, "2") {
			t.Errorf("a key: status %d to %q, 1 is cached: %v, 2: %v", resp.StatusCode, to, cached(s, "1"), cached(s, "2"))
		}
		resp = s.post(t, "/cache/user/invalidate", all)
		if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || to != "../user?done=all" || cached(s, "2") || cached(s, "3") {
			t.Errorf("all: status %d to %q", resp.StatusCode, to)
		}
		if !cached(readOnly, "2") {
			t.Error("that was another store")
		}
	})
}

func TestHost(t *testing.T) {
	t.Parallel()
	client, err := nearside.Open(t.Context(), "memory:", nearside.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	ask := func(o dash.Options, local, host string) int {
		page := dash.New(client, o)
		defer page.Close()
		addr := &net.TCPAddr{IP: net.ParseIP(local), Port: 8080}
		r := httptest.NewRequestWithContext(context.WithValue(t.Context(), http.LocalAddrContextKey, addr), "GET", "/", nil)
		r.Host = host
		w := httptest.NewRecorder()
		page.ServeHTTP(w, r)
		return w.Code
	}
	named := dash.Options{Hosts: []string{"cache.example"}}
	for _, c := range []struct {
		o           dash.Options
		local, host string
		want        int
	}{
		{dash.Options{}, "127.0.0.1", "localhost:8080", 200}, {dash.Options{}, "127.0.0.1", "127.0.0.1:8080", 200}, {dash.Options{}, "::1", "[::1]:8080", 200},
		{dash.Options{}, "127.0.0.1", "evil.example", 421}, {dash.Options{}, "127.0.0.1", "localhost.evil.example:8080", 421}, {dash.Options{}, "127.0.0.1", "", 421},
		{named, "127.0.0.1", "cache.example", 200}, {named, "127.0.0.1", "Cache.Example:443", 200}, {named, "127.0.0.1", "evil.example", 421},
		{dash.Options{Hosts: []string{"*"}}, "127.0.0.1", "evil.example", 200},
		{dash.Options{}, "10.1.2.3", "cache.example", 200}, // whoever lets people in there guards it
	} {
		if got := ask(c.o, c.local, c.host); got != c.want {
			t.Errorf("%v at %s for %q: status %d, expected %d", c.o.Hosts, c.local, c.host, got, c.want)
		}
	}
}

// All that a page names is there, at whatever path it is mounted.
func TestMounted(t *testing.T) {
	t.Parallel()
	s := open(t, "memory:", dash.Options{AllowWrite: true})
	s.read(t, "1")
	for _, strip := range []string{"/ops/cache", "/ops/cache/"} {
		mux := http.NewServeMux()
		mux.Handle("/ops/cache/", http.StripPrefix(strip, s.page))
		server := httptest.NewServer(mux)
		links := regexp.MustCompile(`(?:href|src|action)="([^"]+)"`)
		for _, path := range []string{"", "cache/user", "cache/user/key?key=user:1", "cache/user/invalidate", "members", "redis", "cache/nosuch", "cache/no%2Fsuch", "no%2Fpage"} {
			at, _ := url.Parse(server.URL + "/ops/cache/" + path)
			resp, err := http.Get(at.String())
			if err != nil {
				t.Fatal(err)
			}
			body := text(t, resp)
			resp.Body.Close()
			found := links.FindAllStringSubmatch(body, -1)
			if len(found) < 8 {
				t.Fatalf("%s names %d things: %s", at, len(found), body)
			}
			for _, l := range found {
				to, err := at.Parse(strings.ReplaceAll(l[1], "&amp;", "&"))
				if err != nil {
					t.Fatal(err)
				}
				got, err := http.Get(to.String())
				if err != nil {
					t.Fatal(err)
				}
				got.Body.Close()
				if got.StatusCode != http.StatusOK && to.Path != at.Path { // of a page that is none, the way to its middle
					t.Errorf("%s names %s: status %d", at, to, got.StatusCode)
				}
			}
		}
		server.Close()
	}
	http.DefaultClient.CloseIdleConnections()
}

func TestStream(t *testing.T) {
	t.Parallel()
	s := open(t, "memory:", dash.Options{})
	server := httptest.NewUnstartedServer(s.page)
	server.Config.RegisterOnShutdown(s.page.Close)
	server.Start()
	defer server.Close()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", server.URL+"/cache/user", nil)
	r.Header.Set("Accept", "text/event-stream")
	resp, err := server.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	line, err := bufio.NewReader(resp.Body).ReadString('\n')
	if err != nil || !strings.HasPrefix(line, `data: {"trouble":"","sections":[{"id":"cachehead","html":"`) {
		t.Fatalf("%v: %s", err, line)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	if err := server.Config.Shutdown(ctx); err != nil {
		t.Errorf("who looks keeps the server up: %v", err)
	}
}

// The page shows what doctor would find in the servers.
func TestFindings(t *testing.T) {
	t.Parallel()
	s := open(t, redistest.Start(t).URL(), dash.Options{})
	body := text(t, s.get(t, "/redis"))
	for _, want := range []string{"maxmemory is 0: no bound is set", "CONFIG SET maxmemory 2gb", "maxmemory-policy is noeviction"} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %q:\n%s", want, body)
		}
	}
}

func TestWithoutFleet(t *testing.T) {
	t.Parallel()
	client, err := nearside.Open(t.Context(), "memory:", nearside.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer client.Close()
	nearside.New(client, "user", nearside.Config[int, int]{Load: func(context.Context, int) (int, error) { return 1, nil }})
	s := &shop{client: client, page: dash.New(client, dash.Options{})}
	defer s.page.Close()
	for _, path := range []string{"/", "/cache/user", "/members"} {
		if resp := s.get(t, path); resp.StatusCode != http.StatusOK || !strings.Contains(text(t, resp), "Options{Fleet: true}") {
			t.Errorf("%s: status %d: it does not say what to switch on", path, resp.StatusCode)
		}
	}
}
