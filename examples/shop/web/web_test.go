package web_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"
	"go.uber.org/goleak"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/examples/shop/shop"
	"github.com/nearside/nearside/examples/shop/web"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

var db *shop.Database // that all tests share; what they write is theirs to know

func TestMain(m *testing.M) {
	os.Exit(func() int {
		dir, err := os.MkdirTemp("", "nearside-shop-")
		if err != nil {
			panic(err)
		}
		defer os.RemoveAll(dir)
		if db, err = shop.Open(context.Background(), "sqlite:"+filepath.Join(dir, "shop.db")); err != nil {
			panic(err)
		}
		status := m.Run()
		db.Close()
		// scs.New starts one that never ends.
		ignored := append(redistest.Delayed(), goleak.IgnoreAnyFunction("github.com/alexedwards/scs/v2/memstore.(*MemStore).startCleanup"))
		if err := goleak.Find(ignored...); err != nil && status == 0 {
			fmt.Fprintln(os.Stderr, err)
			status = 1
		}
		return status
	}())
}

// kind is a store that a shop can have.
type kind struct {
	cache string
	redis bool
}

var kinds = []kind{{"none", false}, {"hand", true}, {"nearside", false}, {"nearside", true}}

// everywhere runs a test on each kind, with a cache of its own.
func everywhere(t *testing.T, test func(t *testing.T, b *browser, k kind)) {
	for _, k := range kinds {
		t.Run(fmt.Sprintf("%s,redis=%v", k.cache, k.redis), func(t *testing.T) {
			url := "memory:"
			if k.redis {
				url = redistest.Start(t).URL()
			}
			test(t, visit(t, k.cache, url), k)
		})
	}
}

// visit returns a browser at a shop of its own.
func visit(t *testing.T, cache, redisURL string) *browser {
	t.Helper()
	client, err := nearside.Open(t.Context(), redisURL, nearside.Options{Logger: slog.New(slog.DiscardHandler), Budget: 5 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	var store shop.Store = db
	switch cache {
	case "nearside":
		store = shop.NewNearside(client, db)
	case "hand":
		o, err := goredis.ParseURL(redisURL)
		if err != nil {
			t.Fatal(err)
		}
		o.DialTimeout, o.ReadTimeout = eventually.Limit, eventually.Limit
		c := goredis.NewClient(o)
		t.Cleanup(func() { c.Close() })
		store = shop.NewHand(c, db)
	}
	server := httptest.NewServer(web.New(web.Config{Store: store, Cache: cache, Client: client, Logger: slog.New(slog.DiscardHandler)}))
	t.Cleanup(server.Close)
	jar, _ := cookiejar.New(nil)
	return &browser{server.URL, &http.Client{Jar: jar, Transport: server.Client().Transport}}
}

type browser struct {
	url  string
	http *http.Client
}

// get returns a page, and its status.
func (b *browser) get(t *testing.T, path string) (int, string) {
	t.Helper()
	return b.do(t, http.MethodGet, path, nil, nil)
}

// post sends a form, and returns the page behind it.
func (b *browser) post(t *testing.T, path string, form url.Values) (int, string) {
	t.Helper()
	return b.do(t, http.MethodPost, path, form, nil)
}

func (b *browser) do(t *testing.T, method, path string, form url.Values, header http.Header) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, b.url+path, strings.NewReader(form.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	if header != nil {
		r.Header = header
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err := b.http.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// signIn signs in, and is sent to one's own page.
func (b *browser) signIn(t *testing.T, user int) {
	t.Helper()
	if status, body := b.post(t, "/login", url.Values{"user": {strconv.Itoa(user)}}); status != 200 || !strings.Contains(body, "Sign out") {
		t.Fatalf("signing in as %d: status %d\n%s", user, status, body)
	}
}

// number returns the number that a page shows where the pattern has its group.
func number(t *testing.T, body, pattern string) int {
	t.Helper()
	m := regexp.MustCompile(pattern).FindStringSubmatch(body)
	if m == nil {
		t.Fatalf("%q is not on the page:\n%s", pattern, body)
	}
	n, _ := strconv.Atoi(m[1])
	return n
}

func TestPages(t *testing.T) {
	everywhere(t, func(t *testing.T, b *browser, k kind) {
		b.signIn(t, 1)
		for _, c := range []struct {
			path   string
			status int
			want   string
		}{
			{"/", 200, "Oak kettle"},
			{"/users/42", 200, "Margaret Hamilton"},
			{"/users/1", 200, `name="name"`}, // one's own
			{"/users/2", 200, "Friends in common"},
			{"/products/7", 200, "Paper teapot"},
			{"/games/go", 200, "You are number"},
			{"/statistics", 200, "The store"},
			{"/style.css", 200, "prefers-color-scheme"},
			{"/users/042", 404, "nothing here"},
			{"/users/0", 404, "nothing here"},
			{"/users/-1", 404, "nothing here"},
			{"/users/9223372036854775808", 404, "nothing here"},
			{"/users/100001", 404, "nothing here"},
			{"/products/x", 404, "nothing here"},
			{"/products/2001", 404, "nothing here"},
			{"/games/poker", 404, "nothing here"},
			{"/login", 404, "nothing here"}, // is no page
		} {
			if status, body := b.get(t, c.path); status != c.status || !strings.Contains(body, c.want) {
				t.Errorf("%s: status %d, want %d with %q\n%s", c.path, status, c.status, c.want, body)
			}
		}
	})
}

// The first page comes from the database, and the second one only where nothing is cached.
func TestPagesSayWhereTheyCameFrom(t *testing.T) {
	everywhere(t, func(t *testing.T, b *browser, k kind) {
		for _, path := range []string{"/games/darts", "/users/3", "/products/8", "/"} {
			const loads = `(\d+) of \d+ from the database`
			_, first := b.get(t, path)
			_, second := b.get(t, path)
			if n := number(t, first, loads); n == 0 {
				t.Errorf("%s: no loads at first", path)
			}
			if n := number(t, second, loads); (n == 0) != (k.cache != "none") {
				t.Errorf("%s: %d loads the second time", path, n)
			}
		}
		if k.cache == "nearside" {
			if _, third := b.get(t, "/users/3"); !strings.Contains(third, `class="from near"`) {
				t.Errorf("nothing is near:\n%s", third)
			}
		}
	})
}

func TestWritesShowAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, b *browser, k kind) {
		b.signIn(t, 1)
		_, board := b.get(t, "/games/chess")
		const mine = `(?s)class="me">.*?>(\d+)</td></tr>`
		before := number(t, board, mine)
		for i := range 3 {
			if _, body := b.post(t, "/games/chess/win", nil); number(t, body, mine) != before+10*(i+1) {
				t.Errorf("%d points after %d wins, %d before", number(t, body, mine), i+1, before)
			}
		}
		_, page := b.get(t, "/products/9")
		const inStock = `In stock</dt><dd>(\d+)`
		stock := number(t, page, inStock)
		_, actions := b.get(t, "/users/1")
		if _, page = b.post(t, "/products/9/buy", nil); number(t, page, inStock) != stock-1 {
			t.Errorf("%d in stock after a sale, %d before", number(t, page, inStock), stock)
		}
		_, after := b.get(t, "/users/1")
		title := regexp.MustCompile(`<h1>(.*)</h1>`).FindStringSubmatch(page)[1]
		bought := "bought " + title
		if n, m := strings.Count(actions, bought), strings.Count(after, bought); m != n+1 || strings.Index(after, bought) > strings.Index(after, "shared product") {
			t.Errorf("%q is %d times on the page, %d before, or not the first", bought, m, n)
		}
		for _, name := range []string{"Ada <i>", "Barbara Khan"} {
			shown := strings.ReplaceAll(strings.ReplaceAll(name, "<", "&lt;"), ">", "&gt;")
			if _, body := b.post(t, "/users/1/name", url.Values{"name": {name}}); !strings.Contains(body, "<h1>"+shown+"</h1>") {
				t.Errorf("%q is not on the page:\n%s", name, body)
			}
		}
		for range 2 {
			if _, body := b.post(t, "/users/55/friend", nil); !strings.Contains(body, "End the friendship") {
				t.Errorf("not befriended:\n%s", body)
			}
			if _, body := b.post(t, "/users/55/friend", url.Values{"end": {"1"}}); !strings.Contains(body, "Befriend") {
				t.Errorf("still friends:\n%s", body)
			}
		}
	})
}

func TestWhoMayWrite(t *testing.T) {
	b := visit(t, "nearside", "memory:")
	for _, path := range []string{"/games/chess/win", "/products/9/buy", "/users/1/name", "/users/2/friend"} {
		if status, _ := b.post(t, path, nil); status != 403 {
			t.Errorf("%s of nobody: status %d, want 403", path, status)
		}
	}
	b.signIn(t, 1)
	for path, want := range map[string]int{
		"/users/2/name": 403, "/users/1/name": 400, "/users/1/friend": 400, "/users/100001/friend": 404, "/products/0/buy": 404, "/games/x/win": 404,
	} {
		if status, _ := b.post(t, path, nil); status != want {
			t.Errorf("%s: status %d, want %d", path, status, want)
		}
	}
	for _, header := range []http.Header{{"Origin": {"https://elsewhere.example"}}, {"Sec-Fetch-Site": {"cross-site"}}} {
		if status, _ := b.do(t, http.MethodPost, "/games/chess/win", nil, header); status != 403 {
			t.Errorf("a form of another site: status %d, want 403", status)
		}
	}
	if _, body := b.post(t, "/logout", nil); strings.Contains(body, "Sign out") {
		t.Error("still signed in")
	}
}

// Two processes, with a client each, on one Redis: what one writes the other shows.
func TestTwoProcesses(t *testing.T) {
	for _, cache := range []string{"hand", "nearside"} {
		t.Run(cache, func(t *testing.T) {
			redis := redistest.Start(t)
			a, b := visit(t, cache, redis.URL()), visit(t, cache, redis.URL())
			a.signIn(t, 2)
			const points = `juan\.kim2</td><td class="n">(\d+)`
			b.signIn(t, 2)
			b.get(t, "/games/darts")
			_, body := a.post(t, "/games/darts/win", nil)
			if _, other := b.get(t, "/games/darts"); number(t, body, points) != number(t, other, points) {
				t.Errorf("%d points in one, %d in the other", number(t, body, points), number(t, other, points))
			}
			b.get(t, "/users/2")
			a.post(t, "/users/2/name", url.Values{"name": {"Juan " + cache}})
			defer a.post(t, "/users/2/name", url.Values{"name": {"Juan Kim"}})
			eventually.True(t, "the new name", func() bool { // the push that drops what is near comes soon
				_, other := b.get(t, "/users/2")
				return strings.Contains(other, "Juan "+cache)
			})
		})
	}
}

// Without Redis the pages are there, and a session that cannot be reached is said to be just that.
func TestRedisAway(t *testing.T) {
	redis := redistest.Start(t)
	b := visit(t, "nearside", redis.URL())
	b.get(t, "/users/7")
	stranger := &browser{b.url, &http.Client{Transport: b.http.Transport}}
	b.signIn(t, 7)
	redis.Stop()
	for _, path := range []string{"/", "/users/7", "/products/7", "/games/chess", "/statistics"} {
		if status, body := stranger.get(t, path); status != 200 {
			t.Errorf("%s without Redis: status %d\n%s", path, status, body)
		}
	}
	if status, body := b.get(t, "/"); status != 503 || !strings.Contains(body, "Sessions cannot be reached") {
		t.Errorf("with a session: status %d\n%s", status, body)
	}
}
