package dash

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"hash/fnv"
	"html/template"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/client"
	"github.com/nearside/nearside/internal/engine"
)

// Options are the settings of a page. The zero value shows, and changes nothing.
type Options struct {
	Title string // how the page calls itself, to tell several apart. "nearside" if empty

	// AllowWrite lets whoever sees the page invalidate a key, and a whole cache if he types its name.
	AllowWrite bool

	// ShowValues shows what stands under a key, its first 16 KiB.
	ShowValues bool

	// Hosts are the names under which the page is reached, where that is a proxy on this machine which hands on its own Host.
	// A connection to loopback otherwise has to name localhost or a loopback address. "*" is any.
	Hosts []string
}

// Handler is the page. It answers at any path, if http.StripPrefix takes the path off.
type Handler struct {
	routes http.Handler
	opts   Options
	inside *client.Client
	logger *slog.Logger
	watch  watch
	sample sampler

	sweeping sync.Mutex // one at a time: each is paced by itself

	ctx    context.Context // ends at Close
	cancel context.CancelFunc
}

//go:embed assets
var assets embed.FS

//go:embed pages
var pages embed.FS

var templates = template.Must(template.New("").Funcs(functions).ParseFS(pages, "pages/*.html"))

// version is that of the assets, so that browsers keep them and yet take those of a new program.
var version = func() string {
	sum := fnv.New32a()
	files, err := assets.ReadDir("assets")
	for _, f := range files {
		var b []byte
		if b, err = assets.ReadFile("assets/" + f.Name()); err == nil {
			sum.Write(b)
		}
	}
	if err != nil {
		panic(err) // they are part of the program
	}
	return fmt.Sprintf("%08x", sum.Sum32())
}()

// New returns the page of a client.
func New(of *nearside.Client, o Options) *Handler {
	if o.Title == "" {
		o.Title = "nearside"
	}
	h := &Handler{opts: o, inside: of.Inside()}
	h.logger, h.sample.store = h.inside.Shared.Logger, h.inside.Shared.Store
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.watch = watch{client: of, ctx: h.ctx}
	mux := http.NewServeMux()
	for path, show := range map[string]view{
		"GET /{$}": h.overview, "GET /cache/{cache}": h.cache, "GET /cache/{cache}/key": h.key, "GET /members": h.members, "GET /redis": h.redis,
	} {
		mux.HandleFunc(path, h.serve(show))
	}
	if o.AllowWrite {
		mux.HandleFunc("GET /cache/{cache}/invalidate", h.serve(h.confirm))
		mux.HandleFunc("POST /cache/{cache}/invalidate", h.invalidate)
	}
	files := http.FileServerFS(assets)
	mux.HandleFunc("GET /assets/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		files.ServeHTTP(w, r)
	})
	mux.HandleFunc("GET /robots.txt", func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "User-agent: *\nDisallow: /\n") })
	mux.HandleFunc("GET /", h.serve(func(r *http.Request) (*page, error) {
		return nil, missing(fmt.Sprintf("There is no page at %s.", name(r.URL.Path)))
	}))
	h.routes = guarded(rooted(mux), o.Hosts)
	return h
}

// ServeHTTP shows the page.
func (h *Handler) ServeHTTP(w http.ResponseWriter, r *http.Request) { h.routes.ServeHTTP(w, r) }

// Close ends what runs in the background, and the streams of those who look, which http.Server.Shutdown waits for.
func (h *Handler) Close() {
	h.cancel()
	h.sample.done.Wait()
}

// rooted gives a path that a StripPrefix has left without one its slash.
func rooted(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/") {
			moved := *r
			u := *r.URL
			u.Path = "/" + u.Path
			if u.RawPath != "" {
				u.RawPath = "/" + u.RawPath
			}
			moved.URL = &u
			r = &moved
		}
		next.ServeHTTP(w, r)
	})
}

// view makes a page. Its error is shown in place of it.
type view func(r *http.Request) (*page, error)

// page is what the layout shows.
type page struct {
	Title, Site string
	Here        string // the part of the navigation that it belongs to
	Base        string // the way from it to the first page
	Version     string // of the assets
	Span        string // that charts show, if it has any: 1h or 24h
	Live        bool   // it is kept up to date
	Cache       string // that it is about, if it is about a part of one
	Caches      []string
	At          time.Time
	Trouble     string // why the numbers are old
	Again       bool   // it is asked for again by itself
	Sections    []section
}

// section is a part of a page that is shown, and sent anew when it has changed.
type section struct {
	ID, Class string
	HTML      template.HTML

	template string
	data     any
}

// late says that the numbers are old, and why.
func (p *page) late(v *fleet.View, err error) {
	if err != nil {
		p.Trouble = fmt.Sprintf("The numbers cannot be read now; these are %s old: %v", life(time.Since(v.At)), err)
	}
}

type missing string

func (m missing) Error() string { return string(m) }

func (p *page) add(template, class string, data any) {
	p.Sections = append(p.Sections, section{ID: template, Class: class, template: template, data: data})
}

func (p *page) addChart(c chart) {
	p.Sections = append(p.Sections, section{ID: c.ID, Class: "card chart", template: "chart", data: c})
}

// render runs the sections' templates.
func (p *page) render() error {
	for i := range p.Sections {
		var text strings.Builder
		s := &p.Sections[i]
		if err := templates.ExecuteTemplate(&text, s.template, s.data); err != nil {
			return err
		}
		s.HTML = template.HTML(text.String())
	}
	return nil
}

// serve shows a page, or keeps one that is shown up to date.
func (h *Handler) serve(show view) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Vary", "Accept")
		if strings.Contains(r.Header.Get("Accept"), "text/event-stream") {
			h.stream(w, r, show)
			return
		}
		status := http.StatusOK
		p, err := h.made(show, r)
		var none missing
		switch {
		case errors.As(err, &none):
			status = http.StatusNotFound
			p, err = h.problem(r, "Not found", string(none))
		case err != nil:
			status = http.StatusServiceUnavailable
			if p, err = h.problem(r, "This cannot be shown now", err.Error()+". It is tried again by itself."); err == nil {
				p.Again = true
			}
		}
		if err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		if err := templates.ExecuteTemplate(w, "layout", p); err != nil {
			h.logger.Debug("a page was not sent whole", "error", err) // the browser has left
		}
	}
}

// made returns a page with its sections rendered.
func (h *Handler) made(show view, r *http.Request) (*page, error) {
	p, err := show(r)
	if err != nil {
		return nil, err
	}
	p.Site, p.At = h.opts.Title, time.Now()
	p.Base, p.Version = base(r), version
	return p, p.render()
}

func base(r *http.Request) string {
	if n := strings.Count(r.URL.EscapedPath(), "/") - 1; n > 0 {
		return strings.Repeat("../", n)
	}
	return "./"
}

func (h *Handler) problem(r *http.Request, title, text string) (*page, error) {
	return h.made(func(*http.Request) (*page, error) {
		p := &page{Title: title, Caches: h.names()}
		p.add("problem", "card", struct {
			Title, Text, Base string
			Caches            []string
		}{title, text, base(r), p.Caches})
		return p, nil
	}, r)
}

// keyed are the caches of this process whose keys may be looked at: never those of sessions.
func (h *Handler) keyed() map[string]engine.Keyed {
	out := make(map[string]engine.Keyed)
	for name, m := range h.inside.Caches() {
		if c, ok := m.(engine.Keyed); ok {
			out[name] = c
		}
	}
	return out
}

// settings are those of the caches whose keys may be looked at.
func (h *Handler) settings() map[string]engine.Settings {
	out := make(map[string]engine.Settings)
	for name, c := range h.keyed() {
		out[name] = c.Settings()
	}
	return out
}
