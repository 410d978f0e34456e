// Package web answers over HTTP for the declared caches, as JSON.
package web

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/zeebo/xxh3"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/fleet"

	"github.com/nearside/nearside/cmd/nearside/internal/limit"
	"github.com/nearside/nearside/cmd/nearside/internal/serve"
	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

// Options are the settings of the handler.
type Options struct {
	MaxAge   time.Duration  // how long a browser may keep an answer without asking again; zero: not at all
	Password string         // that clients must say, as Basic (of any user) or Bearer; empty: none
	Source   string         // how the store is named to operators
	User     string         // that the store is reached as
	Metrics  http.Handler   // of /metrics; nil: there is none
	Page     http.Handler   // the web page; nil: there is none
	Fleet    fleet.Reader   // of what all processes report
	Guesses  *limit.Guesses // of wrong passwords; nil: they are neither slowed nor counted
}

type handler struct {
	service *serve.Service
	maxAge  time.Duration
	guarded bool        // there is a password
	held    limit.Bytes // of bodies and values
}

// New returns the routes /v1/{cache}/{parameter}..., /v1/-/... (operator.go), /metrics, /healthz, and / for the web page; without a
// browser / tells in text what can be asked. Without a password they answer on loopback only, and a
// request for another host is refused: a page of another site must not reach them by a name that it makes resolve to
// 127.0.0.1. With one, only /healthz answers those who do not say it.
func New(s *serve.Service, o Options) http.Handler {
	h := &handler{service: s, maxAge: o.MaxAge, guarded: o.Password != "", held: limit.Bytes{Most: heldBytes}}
	mux := http.NewServeMux()
	operate(mux, s, o)
	mux.HandleFunc("/healthz", readOnly(h.health))
	if o.Metrics != nil {
		mux.HandleFunc("/metrics", readOnly(o.Metrics.ServeHTTP))
	}
	mux.HandleFunc("/{$}", readOnly(func(w http.ResponseWriter, r *http.Request) {
		if accept := r.Header.Get("Accept"); o.Page != nil && (strings.Contains(accept, "text/html") || strings.Contains(accept, "text/event-stream")) {
			o.Page.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Vary", "Accept")
		h.index(w, r)
	}))
	if o.Page != nil {
		for _, path := range []string{"/cache/", "/members", "/redis", "/assets/", "/robots.txt"} {
			mux.Handle(path, o.Page)
		}
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "there is nothing at this path: GET /v1/{cache}/{parameter} reads a value")
	})
	routes := local(h.route(mux))
	if o.Password != "" {
		routes = guard(h.route(mux), o.Password, o.Guesses)
	}
	return bounded(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if r.Header.Get("Sec-Fetch-Site") == "cross-site" && r.Header.Get("Sec-Fetch-Mode") != "navigate" {
			problem(w, http.StatusForbidden, "a page of another site may link to this one, and ask it nothing")
			return
		}
		routes.ServeHTTP(w, r)
	}))
}

// route answers for keys, and has next answer for all other paths. A ServeMux would do for keys too, but it redirects a path with
// an empty segment, and in doing so escapes what is escaped already: a DELETE would follow to another key.
func (h *handler) route(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		path := r.URL.EscapedPath()
		if strings.HasPrefix(path, "//") { // of a base URL that ends with a slash
			to := "/" + strings.TrimLeft(path, "/")
			if r.URL.RawQuery != "" {
				to += "?" + r.URL.RawQuery
			}
			w.Header().Set("Location", to)
			w.WriteHeader(http.StatusTemporaryRedirect)
			return
		}
		if rest, ok := strings.CutPrefix(path, "/v1/"); ok && !strings.HasPrefix(rest, "-/") {
			h.value(w, r, rest)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// segments splits an escaped path and unescapes each part, so that an escaped slash is text of a part.
func segments(path string) (parts []string, err error) {
	for part := range strings.SplitSeq(path, "/") {
		if part, err = url.PathUnescape(part); err != nil {
			return nil, err
		}
		parts = append(parts, part)
	}
	return parts, nil
}

func readOnly(next http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			problem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%.32q is not answered here: GET reads", r.Method))
			return
		}
		next(w, r)
	}
}

// guard asks for the password. It is compared in constant time.
func guard(next http.Handler, password string, guesses *limit.Guesses) http.Handler {
	want := sha256.Sum256([]byte(password))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, said, ok := r.BasicAuth()
		if !ok {
			var scheme string
			scheme, said, ok = strings.Cut(r.Header.Get("Authorization"), " ")
			ok = ok && strings.EqualFold(scheme, "Bearer")
		}
		got := sha256.Sum256([]byte(said))
		if r.URL.Path != "/healthz" && (!ok || subtle.ConstantTimeCompare(got[:], want[:]) != 1) {
			refused(w, r)
			if said != "" && guesses != nil {
				guesses.Wrong(r.Context(), r.RemoteAddr)
			}
			w.Header().Set("WWW-Authenticate", `Basic realm="nearside", charset="UTF-8"`)
			problem(w, http.StatusUnauthorized, "the password is missing or wrong: send it as Basic or Bearer")
			return
		}
		next.ServeHTTP(w, r)
	})
}

func local(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host := r.Host
		if h, _, err := net.SplitHostPort(host); err == nil {
			host = h
		}
		ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
		if host != "localhost" && (err != nil || !ip.IsLoopback()) {
			problem(w, http.StatusMisdirectedRequest, fmt.Sprintf("the host %.100q is not this one: use localhost or 127.0.0.1", r.Host))
			return
		}
		next.ServeHTTP(w, r)
	})
}

func problem(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"error": text})
}

// value answers for one key of a cache: path is {cache}/{parameter}..., escaped.
func (h *handler) value(w http.ResponseWriter, r *http.Request, path string) {
	parts, err := segments(path)
	if err != nil {
		problem(w, http.StatusBadRequest, fmt.Sprintf("the path cannot be read: %v", err))
		return
	}
	name, args := parts[0], parts[1:]
	c := h.service.Named(name)
	if c == nil {
		problem(w, http.StatusNotFound, fmt.Sprintf("no cache is named %.100q", name))
		return
	}
	if len(args) == 1 && args[0] == "" { // /v1/cache/ is /v1/cache
		args = nil
	}
	key, err := c.Key.Key(args...)
	switch {
	case r.Method != http.MethodGet && r.Method != http.MethodHead && r.Method != http.MethodDelete && r.Method != http.MethodPut:
		w.Header().Set("Allow", "GET, HEAD, PUT, DELETE")
		problem(w, http.StatusMethodNotAllowed, fmt.Sprintf("%.32q is not answered here: GET reads, PUT writes, DELETE invalidates", r.Method))
	case err != nil && c.Many && len(args) == len(c.Key.Params()) && r.Method != http.MethodPut && r.Method != http.MethodDelete:
		h.answer(w, r, nearside.Entry[[]byte]{Value: c.Nothing(), Age: -1}) // a parameter that cannot be has no rows
	case err != nil:
		problem(w, http.StatusNotFound, err.Error())
	case r.Method == http.MethodDelete:
		if _, err := c.Invalidate(r.Context(), key); err != nil {
			problem(w, http.StatusServiceUnavailable, "the cache could not be told: "+serve.Cause(err))
			return
		}
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut:
		h.put(w, r, c, key)
	default:
		h.get(w, r, c, key)
	}
}

const maxBody = 16 << 20 // bytes

// put writes a row through the cache, and answers with the row as it is now. A form of another site cannot send its
// Content-Type without asking first, which is never allowed.
func (h *handler) put(w http.ResponseWriter, r *http.Request, c *serve.Cache, key string) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		problem(w, http.StatusUnsupportedMediaType, "expected Content-Type: application/json")
		return
	}
	body, taken, err := body(w, r, &h.held)
	defer h.held.Give(taken)
	var tooLarge *http.MaxBytesError
	switch {
	case errors.Is(err, errBusy):
		refused(w, r)
		busy(w)
		return
	case errors.As(err, &tooLarge):
		problem(w, http.StatusRequestEntityTooLarge, fmt.Sprintf("the body is larger than %d MiB", maxBody>>20))
		return
	case err != nil:
		problem(w, http.StatusBadRequest, err.Error())
		return
	}
	row, err := c.Set(r.Context(), key, body)
	switch {
	case errors.Is(err, source.ErrBadValue):
		problem(w, http.StatusBadRequest, err.Error())
	case c.Store == nil:
		w.Header().Set("Allow", "GET, HEAD, DELETE")
		problem(w, http.StatusMethodNotAllowed, err.Error())
	case errors.Is(err, nearside.ErrNotFound):
		problem(w, http.StatusNotFound, err.Error())
	case errors.Is(err, nearside.ErrUnavailable):
		problem(w, http.StatusServiceUnavailable, "the database is written, the cache is behind: "+serve.Cause(err))
	case errors.Is(err, nearside.ErrInDoubt):
		problem(w, http.StatusGatewayTimeout, err.Error())
	case err != nil:
		problem(w, http.StatusBadGateway, err.Error())
	default:
		w.Header().Set("ETag", etagOf(row))
		w.Header().Set("Content-Type", "application/json")
		w.Write(row)
	}
}

func etagOf(value []byte) string { return fmt.Sprintf(`"%016x"`, xxh3.Hash(value)) }

func (h *handler) get(w http.ResponseWriter, r *http.Request, c *serve.Cache, key string) {
	e, err := entry(r.Context(), c, key)
	if errors.Is(err, nearside.ErrNotFound) && c.Many {
		e.Value, e.Age, err = c.Nothing(), -1, nil
	}
	if e.Source != "" {
		w.Header().Set("X-Cache", string(e.Source))
	}
	switch {
	case errors.Is(err, nearside.ErrNotFound):
		problem(w, http.StatusNotFound, fmt.Sprintf("%.100q: not found", key))
		return
	case errors.Is(err, nearside.ErrClosed):
		problem(w, http.StatusServiceUnavailable, err.Error())
		return
	case err != nil:
		problem(w, http.StatusBadGateway, err.Error())
		return
	}
	h.answer(w, r, e)
}

// answer writes a value.
func (h *handler) answer(w http.ResponseWriter, r *http.Request, e nearside.Entry[[]byte]) {
	if n := int64(len(e.Value)); n > freeBytes {
		if !h.held.Take(n) {
			busy(w)
			return
		}
		defer h.held.Give(n)
	}
	header := w.Header()
	if e.Age >= 0 {
		header.Set("Age", strconv.FormatInt(int64(e.Age/time.Second), 10))
	}
	etag := etagOf(e.Value)
	header.Set("ETag", etag)
	if h.maxAge > 0 {
		header.Set("Cache-Control", fmt.Sprintf("private, max-age=%d", h.maxAge/time.Second))
	} else {
		header.Set("Cache-Control", "private, no-cache")
	}
	if matches(r.Header.Get("If-None-Match"), etag) {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", "application/json")
	header.Set("Content-Length", strconv.Itoa(len(e.Value)))
	if r.Method != http.MethodHead {
		w.Write(e.Value)
	}
}

// entry is the JSON of a key.
func entry(ctx context.Context, c *serve.Cache, key string) (nearside.Entry[[]byte], error) {
	if c.Shape == "" {
		return c.Values.GetEntry(ctx, key)
	}
	return collected(ctx, c, key)
}

// matches reports whether If-None-Match names the tag (RFC 9110, 13.1.2: the comparison is the weak one).
func matches(header, etag string) bool {
	for tag := range strings.SplitSeq(header, ",") {
		if tag = strings.TrimSpace(tag); tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}

// health is 200 while reads can be answered, which the loader does without a store too.
func (h *handler) health(w http.ResponseWriter, r *http.Request) {
	body := struct {
		Status   string   `json:"status"`
		Store    string   `json:"store,omitempty"`    // why it does not answer
		Problems []string `json:"problems,omitempty"` // what it cannot do, and what to do about that
	}{"ok", "", h.service.Problems()}
	if err := h.service.Ping(r.Context()); err != nil {
		body.Store = "it does not answer"
		if !h.guarded {
			body.Store = err.Error()
		}
	}
	if h.guarded && len(body.Problems) > 0 { // this route asks for no password
		body.Problems = []string{fmt.Sprintf("%d: nearside doctor names them", len(body.Problems))}
	}
	if body.Store != "" || len(body.Problems) > 0 {
		body.Status = "degraded"
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body)
}

// index tells a person what can be asked.
func (h *handler) index(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	fmt.Fprintf(w, "nearside serve\n\n")
	for _, c := range h.service.Caches() {
		path := "/v1/" + c.Name
		for _, p := range c.Key.Params() {
			path += "/{" + p + "}"
		}
		s := c.Stats()
		fmt.Fprintf(w, "%-30s GET %s   near %d  store %d  load %d  stale %d  negative %d  errors %d\n",
			c.Key, path, s.Near, s.Store, s.Load, s.Stale, s.Negative, s.Errors)
	}
}
