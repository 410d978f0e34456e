package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nearside/nearside/fleet"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
	"github.com/nearside/nearside/cmd/nearside/internal/serve"
)

// The operator's routes, which the commands ask:
//
//	GET    /v1/-/caches                                        the declared caches
//	GET    /v1/-/caches/{cache}/keys?limit=&match=&for=        some keys
//	GET    /v1/-/caches/{cache}/count?for=                     how many there are
//	GET    /v1/-/caches/{cache}/entry?arg=&arg=...&max=        what stands under a key, which is not loaded
//	DELETE /v1/-/caches/{cache}/entry?arg=&arg=...             invalidates it
//	DELETE /v1/-/caches/{cache}/keys?all=true                  invalidates all of them
//	GET    /v1/-/doctor?cache=&cache=...                       what is to be mended
//	GET    /v1/-/fleet?cache=&back=&hot=                       what all processes report, of so long (0s: a day), with hot keys of so long
//
// A cache cannot be named "-". What changes something is a DELETE, which a page of another site cannot send without asking
// first, and that is never allowed.

const (
	longest = 10 * time.Minute // that one request looks for keys
	maxKeys = 10_000           // that one answer has
	aDay    = 24 * time.Hour   // of statistics
	// walksAtOnce is how many requests of a kind walk over the keys of Redis at once, each at its own pace; the others wait for
	// walkWait and are then answered that there are too many.
	walksAtOnce = 2
	walkWait    = 5 * time.Second

	part = 1000 // bytes or elements of a value, if the request does not say
)

func operate(mux *http.ServeMux, s *serve.Service, o Options) {
	d := &ops.Direct{Store: s.Inside().Shared.Store, Source: o.Source, User: o.User, Reader: o.Fleet, Declared: []ops.Declared{}}
	for _, c := range s.Caches() {
		d.Declared = append(d.Declared, ops.Declared{
			Cache: ops.Cache{Name: c.Name, Key: c.Key.String(), Params: append([]string{}, c.Key.Params()...)},
			Glob:  c.Key.Glob(),
			Ours: func(key string) bool {
				_, ok := c.Key.Match([]byte(key))
				return ok
			},
			KeyOf:      c.Key.Key,
			Invalidate: c.Invalidate,
		})
	}
	handle := func(pattern string, answer func(r query) (any, error)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			v, err := answer(query{r})
			if err != nil {
				refuse(w, r, err)
				return
			}
			w.Header().Set("Content-Type", "application/json")
			w.Header().Set("Cache-Control", "no-store")
			_ = json.NewEncoder(w).Encode(v) // the client may have left
		})
	}
	walk := func(answer func(r query) (any, error)) func(r query) (any, error) {
		walks := make(chan struct{}, walksAtOnce) // of this kind: a search for keys holds up no doctor
		return func(r query) (any, error) {
			wait := time.NewTimer(walkWait)
			defer wait.Stop()
			select {
			case walks <- struct{}{}:
				defer func() { <-walks }()
				return answer(r)
			case <-wait.C:
				return nil, errWalks
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		}
	}
	handle("GET /v1/-/caches", func(r query) (any, error) {
		caches, err := d.Caches(r.Context())
		return append([]ops.Cache{}, caches...), err
	})
	handle("GET /v1/-/caches/{cache}/keys", walk(func(r query) (any, error) {
		limit, err := r.number("limit", 20, 1, maxKeys)
		if err != nil {
			return nil, err
		}
		span, err := r.span("for")
		if err != nil {
			return nil, err
		}
		return d.Keys(r.Context(), r.PathValue("cache"), ops.Query{Limit: limit, Match: r.FormValue("match"), For: span})
	}))
	handle("GET /v1/-/caches/{cache}/count", walk(func(r query) (any, error) {
		span, err := r.span("for")
		if err != nil {
			return nil, err
		}
		return d.Count(r.Context(), r.PathValue("cache"), span)
	}))
	handle("GET /v1/-/caches/{cache}/entry", func(r query) (any, error) {
		limit, err := r.number("max", part, -1, maxBody)
		if err != nil {
			return nil, err
		}
		return d.Entry(r.Context(), r.PathValue("cache"), r.URL.Query()["arg"], limit)
	})
	handle("DELETE /v1/-/caches/{cache}/entry", func(r query) (any, error) {
		return d.Invalidate(r.Context(), r.PathValue("cache"), r.URL.Query()["arg"])
	})
	handle("DELETE /v1/-/caches/{cache}/keys", func(r query) (any, error) {
		if r.FormValue("all") != "true" {
			return nil, badQuery("expected ?all=true: this removes every key of the cache")
		}
		return d.Sweep(r.Context(), r.PathValue("cache"))
	})
	handle("GET /v1/-/doctor", walk(func(r query) (any, error) { return d.Doctor(r.Context(), r.URL.Query()["cache"]) }))
	handle("GET /v1/-/fleet", func(r query) (any, error) {
		back, err := time.ParseDuration(cmp.Or(r.FormValue("back"), "1m"))
		if err != nil || back < 0 || back > aDay {
			return nil, badQuery(fmt.Sprintf("back: found %.20q, expected a duration such as 1m, 1h or 24h", r.FormValue("back")))
		}
		hot, err := time.ParseDuration(cmp.Or(r.FormValue("hot"), "1m"))
		if err != nil || hot < 0 || hot > ops.MaxHot {
			return nil, badQuery(fmt.Sprintf("hot: found %.20q, expected a duration such as 1m, up to 10m", r.FormValue("hot")))
		}
		return d.Fleet(r.Context(), fleet.Query{Cache: r.FormValue("cache"), Back: back, Hot: hot})
	})
	mux.HandleFunc("/v1/-/", func(w http.ResponseWriter, r *http.Request) {
		problem(w, http.StatusNotFound, "there is nothing at this path, or it is not answered with this method")
	})
}

var errWalks = fmt.Errorf("%d other requests of this kind walk over the keys: try again when one has ended", walksAtOnce)

type badQuery string

func (b badQuery) Error() string { return string(b) }

// query reads the parameters of a request.
type query struct{ *http.Request }

func (q query) number(name string, otherwise, least, most int) (int, error) {
	text := q.FormValue(name)
	if text == "" {
		return otherwise, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < least || n > most {
		return 0, badQuery(fmt.Sprintf("%s: found %.20q, expected a number from %d to %d", name, text, least, most))
	}
	return n, nil
}

func (q query) span(name string) (time.Duration, error) {
	text := q.FormValue(name)
	if text == "" {
		return 10 * time.Second, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil || d <= 0 || d > longest {
		return 0, badQuery(fmt.Sprintf("%s: found %.20q, expected a duration such as 10s, up to %v", name, text, longest))
	}
	return d, nil
}

func refuse(w http.ResponseWriter, r *http.Request, err error) {
	var bad badQuery
	switch {
	case errors.As(err, &bad):
		problem(w, http.StatusBadRequest, err.Error())
	case errors.Is(err, ops.ErrUsage):
		problem(w, http.StatusNotFound, err.Error())
	case errors.Is(err, errWalks):
		w.Header().Set("Retry-After", "5")
		problem(w, http.StatusServiceUnavailable, err.Error())
	case errors.Is(err, ops.ErrAway):
		problem(w, http.StatusServiceUnavailable, err.Error())
	case errors.Is(err, context.Canceled) && r.Context().Err() != nil: // nobody listens
	default:
		problem(w, http.StatusBadGateway, err.Error())
	}
}
