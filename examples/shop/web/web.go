// Package web shows the shop: pages without scripts, each with a table of what it asked for, where the answers came from, and
// how long they took.
package web

import (
	"context"
	"embed"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/alexedwards/scs/v2"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/examples/shop/shop"
	"github.com/nearside/nearside/session"
)

//go:embed style.css pages/*.html
var files embed.FS

// Config is what the pages are made from.
type Config struct {
	Store   shop.Store
	Cache   string           // its name, to be shown
	Queries func() int64     // how often the database was asked; nil: nobody knows
	Client  *nearside.Client // for sessions and statistics
	Logger  *slog.Logger
}

type handler struct {
	Config
	sessions *scs.SessionManager
}

// New returns the pages. Forms of other sites are refused.
func New(c Config) http.Handler {
	h := &handler{Config: c, sessions: scs.New()}
	h.sessions.Store = session.New(c.Client, session.Config{}) // ends after 30 minutes without a request
	h.sessions.Lifetime = 12 * time.Hour                       // and after 12 hours in any case
	h.sessions.ErrorFunc = func(w http.ResponseWriter, r *http.Request, err error) {
		h.problem(w, r, fault{http.StatusServiceUnavailable, "Sessions cannot be reached at the moment. Try again soon.", err})
	}
	mux := http.NewServeMux()
	for pattern, show := range map[string]func(*http.Request) (page, error){
		"GET /{$}":           h.home,
		"GET /users/{id}":    h.user,
		"GET /products/{id}": h.product,
		"GET /games/{game}":  h.game,
		"GET /statistics":    h.statistics,
		"/":                  func(*http.Request) (page, error) { return page{}, shop.ErrNotFound },
	} {
		mux.Handle(pattern, h.show(show))
	}
	for pattern, write := range map[string]func(*http.Request) (next string, err error){
		"POST /login":             h.login,
		"POST /logout":            h.logout,
		"POST /users/{id}/name":   h.rename,
		"POST /users/{id}/friend": h.befriend,
		"POST /products/{id}/buy": h.buy,
		"POST /games/{game}/win":  h.win,
	} {
		mux.Handle(pattern, h.write(write))
	}
	sameOrigin := http.NewCrossOriginProtection()
	sameOrigin.SetDenyHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.problem(w, r, fault{http.StatusForbidden, "This form was sent from another site.", nil})
	}))
	outer := http.NewServeMux()
	outer.HandleFunc("GET /style.css", func(w http.ResponseWriter, r *http.Request) { http.ServeFileFS(w, r, files, "style.css") })
	outer.Handle("/", sameOrigin.Handler(h.sessions.LoadAndSave(mux)))
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'")
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Referrer-Policy", "same-origin")
		outer.ServeHTTP(w, r)
	})
}

// fault is an error with a status and a text for the visitor.
type fault struct {
	status int
	text   string
	err    error // for the log; may be nil
}

func (f fault) Error() string { return f.text }

// show answers with a page.
func (h *handler) show(show func(*http.Request) (page, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		begin := time.Now()
		ctx, trace := shop.WithTrace(r.Context())
		r = r.WithContext(ctx)
		p, err := show(r)
		if err == nil {
			p.Me, err = h.me(r)
		}
		if err != nil {
			h.problem(w, r, err)
			return
		}
		p.Steps, p.Took = trace.Steps(), time.Since(begin)
		h.render(w, r, http.StatusOK, p)
	})
}

// write changes something, and sends the browser to the page that shows it.
func (h *handler) write(write func(*http.Request) (string, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 16<<10)
		next, err := write(r)
		if errors.Is(err, nearside.ErrUnavailable) { // the database has it, and the cache is told when it is back
			h.Logger.Warn("the cache is behind", "path", r.URL.Path, "error", err)
			err = nil
		}
		if err != nil {
			h.problem(w, r, err)
			return
		}
		http.Redirect(w, r, next, http.StatusSeeOther)
	})
}

// problem answers with a page about an error.
func (h *handler) problem(w http.ResponseWriter, r *http.Request, err error) {
	var f fault
	switch {
	case errors.As(err, &f):
	case errors.Is(err, shop.ErrNotFound):
		f = fault{status: http.StatusNotFound, text: "There is nothing here."}
	case errors.Is(err, shop.ErrSoldOut):
		f = fault{status: http.StatusConflict, text: "It is sold out."}
	case r.Context().Err() != nil:
		return // he has left
	default:
		f = fault{http.StatusInternalServerError, "The shop cannot answer at the moment. Try again soon.", err}
	}
	if f.err != nil {
		h.Logger.Error("a page failed", "method", r.Method, "path", r.URL.Path, "error", f.err)
	}
	h.render(w, r, f.status, page{Name: "problem", Title: f.text, Data: f.status})
}

const userKey = "user" // in a session: the id of who is signed in

// me returns who is signed in, or nil.
func (h *handler) me(r *http.Request) (*shop.User, error) {
	id := h.sessions.GetInt64(r.Context(), userKey)
	if id == 0 {
		return nil, nil
	}
	u, err := h.Store.User(r.Context(), id)
	if errors.Is(err, shop.ErrNotFound) {
		return nil, nil
	}
	return &u, err
}

// mustMe is me for what only those can do who are signed in.
func (h *handler) mustMe(r *http.Request) (shop.User, error) {
	u, err := h.me(r)
	if err == nil && u == nil {
		err = fault{status: http.StatusForbidden, text: "Sign in first: at the foot of the home page."}
	}
	if err != nil {
		return shop.User{}, err
	}
	return *u, nil
}

func (h *handler) signIn(ctx context.Context, id int64) error {
	if err := h.sessions.RenewToken(ctx); err != nil { // a token that somebody has planted is worth nothing
		return err
	}
	h.sessions.Put(ctx, userKey, id)
	return nil
}
