package dash

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/human"
	"github.com/nearside/nearside/internal/store"
)

const (
	shownBytes    = 16 << 10 // of a value
	shownElements = 100      // of a collection
)

// entry is what the store has under a key.
type entry struct {
	Cache, Key, Base string
	store.Description
	Found    bool
	Fresh    time.Duration // what is left until it is stale
	Stale    bool
	Endless  bool
	Going    store.Going
	Settings engine.Settings
	Show     bool // values are shown
	Value    string
	Elements []store.Element
	Cut      bool
	Writable bool
	Done     string
}

// known returns a cache of this process and checks that a key is one of its own.
func (h *Handler) known(r *http.Request, key string) (engine.Keyed, error) {
	cache := r.PathValue("cache")
	c := h.keyed()[cache]
	if c == nil {
		return nil, missing(fmt.Sprintf("No cache whose keys can be looked at is named %s in this process.", name(cache)))
	}
	if s := c.Settings(); key != "" && (!s.Has(key) || store.CheckKey(key) != nil) {
		return nil, missing(fmt.Sprintf("%s is no key of the cache %s, whose keys look like %s.", name(key), name(cache), name(s.Glob)))
	}
	return c, nil
}

func (h *Handler) key(r *http.Request) (*page, error) {
	cache, key := r.PathValue("cache"), r.URL.Query().Get("key")
	c, err := h.known(r, key)
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, missing("No key was given: ?key= names it.")
	}
	ctx, cancel := context.WithTimeout(r.Context(), readLimit)
	defer cancel()
	st := h.inside.Shared.Store
	e := entry{Cache: cache, Key: key, Base: base(r), Settings: c.Settings(), Show: h.opts.ShowValues, Writable: h.opts.AllowWrite, Done: done(r)}
	e.Description = st.Describe(ctx, []string{key})[0]
	if e.Err != nil {
		return nil, e.Err
	}
	e.Found, e.Endless = e.Type != "none", e.TTL == store.NoTTL
	e.Fresh, e.Stale = e.TTL-e.Settings.Stale, e.Found && !e.Endless && e.TTL <= e.Settings.Stale
	e.Going, _ = st.Beside(ctx, key) // there may be none that we may read
	if e.Found && e.Show {
		h.value(ctx, &e)
	}
	p := &page{Title: name(key), Here: "cache", Cache: cache, Live: true, Caches: h.names()}
	p.add("entry", "card", e)
	return p, nil
}

// value reads the first part of what stands under a key.
func (h *Handler) value(ctx context.Context, e *entry) {
	st := h.inside.Shared.Store
	if e.Type == "string" {
		it := st.Head(ctx, e.Key, shownBytes)
		e.Value, e.Cut = human.Text(it.Value), e.Length > int64(len(it.Value))
		return
	}
	q := store.Query{Key: e.Key, Kind: store.Kind(e.Type), Part: store.Scan, Hint: shownElements}
	switch q.Kind {
	case store.List, store.SortedSet:
		q.Part, q.To = store.ByRank, shownElements-1
	case store.Set, store.Hash:
	default:
		return
	}
	v := st.Query(ctx, []store.Query{q})[0]
	e.Elements = slices.Clone(v.Elements[:min(len(v.Elements), shownElements)])
	e.Cut = e.Length > int64(len(e.Elements))
}

// confirm asks before something is invalidated.
func (h *Handler) confirm(r *http.Request) (*page, error) { return h.asked(r, "") }

func (h *Handler) asked(r *http.Request, trouble string) (*page, error) {
	cache, key := r.PathValue("cache"), r.FormValue("key")
	c, err := h.known(r, key)
	if err != nil {
		return nil, err
	}
	p := &page{Title: "Invalidate " + name(cmp.Or(key, cache)), Here: "cache", Cache: cache, Caches: h.names()}
	keys, _ := h.size(cache)
	p.add("confirm", "card narrow", struct {
		Cache, Key, Base, Trouble string
		Keys                      estimate
		Settings                  engine.Settings
	}{cache, key, base(r), trouble, keys, c.Settings()})
	return p, nil
}

// sweepLimit bounds the sweep of one cache, which is paced so that Redis does not feel it.
const sweepLimit = 30 * time.Minute

// invalidate removes a key, or all keys of a cache if its name was typed. It goes on if the browser leaves.
func (h *Handler) invalidate(w http.ResponseWriter, r *http.Request) {
	r.Body = http.MaxBytesReader(w, r.Body, 1<<20)
	cache, key := r.PathValue("cache"), r.PostFormValue("key")
	c, err := h.known(r, key)
	trouble := ""
	what := url.Values{"done": {"all"}}
	switch {
	case err != nil:
	case key != "":
		what = url.Values{"done": {"key"}}
		_, err = c.InvalidateKeys(r.Context(), []string{key})
	case r.PostFormValue("confirm") != cache:
		trouble = "Nothing was done: what was typed is not the name of the cache."
	default:
		if !h.sweeping.TryLock() {
			trouble = "Nothing was done: all keys of a cache are being invalidated already. Try again when that is over."
			break
		}
		defer h.sweeping.Unlock()
		s := c.Settings()
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), sweepLimit)
		defer cancel()
		defer context.AfterFunc(h.ctx, cancel)()
		err = h.inside.Shared.Store.Sweep(ctx, s.Glob, func(k string) bool { return (s.Ours == nil || s.Ours(k)) && store.CheckKey(k) == nil })
	}
	if err != nil || trouble != "" {
		h.serve(func(r *http.Request) (*page, error) {
			if err != nil {
				return nil, err
			}
			return h.asked(r, trouble)
		})(w, r)
		return
	}
	h.logger.Info("invalidated from the web page", "cache", cache, "all", key == "", "from", r.RemoteAddr)
	h.sample.forget()
	if key != "" {
		what.Set("key", key)
		w.Header().Set("Location", "key?"+what.Encode())
	} else {
		w.Header().Set("Location", "../"+url.PathEscape(cache)+"?"+what.Encode())
	}
	w.WriteHeader(http.StatusSeeOther)
}
