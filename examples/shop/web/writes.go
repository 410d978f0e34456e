package web

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/nearside/nearside/examples/shop/shop"
)

func (h *handler) login(r *http.Request) (string, error) {
	id, err := strconv.ParseInt(r.PostFormValue("user"), 10, 64)
	if err != nil {
		return "", fault{status: http.StatusBadRequest, text: "Choose somebody to sign in as."}
	}
	if _, err := h.Store.User(r.Context(), id); err != nil {
		return "", err
	}
	return path("users", id), h.signIn(r.Context(), id)
}

func (h *handler) logout(r *http.Request) (string, error) {
	return "/", h.sessions.Destroy(r.Context())
}

func (h *handler) rename(r *http.Request) (string, error) {
	me, err := h.mustMe(r)
	if err != nil {
		return "", err
	}
	if r.PathValue("id") != strconv.FormatInt(me.ID, 10) {
		return "", fault{status: http.StatusForbidden, text: "This is somebody else's name."}
	}
	name := strings.TrimSpace(r.PostFormValue("name"))
	if n := utf8.RuneCountInString(name); n == 0 || n > 60 || !utf8.ValidString(name) || strings.ContainsRune(name, 0) {
		return "", fault{status: http.StatusBadRequest, text: "A name has 1 to 60 characters."}
	}
	return path("users", me.ID), h.Store.Rename(r.Context(), me.ID, name)
}

func (h *handler) befriend(r *http.Request) (string, error) {
	me, err := h.mustMe(r)
	if err != nil {
		return "", err
	}
	id, err := number(r)
	if err == nil {
		_, err = h.Store.User(r.Context(), id)
	}
	switch {
	case err != nil:
		return "", err
	case id == me.ID:
		return "", fault{status: http.StatusBadRequest, text: "Nobody is his own friend here."}
	case r.PostFormValue("end") != "":
		err = h.Store.Unfriend(r.Context(), me.ID, id)
	default:
		err = h.Store.Befriend(r.Context(), me.ID, id)
	}
	return path("users", id), err
}

func (h *handler) buy(r *http.Request) (string, error) {
	me, err := h.mustMe(r)
	if err != nil {
		return "", err
	}
	id, err := number(r)
	if err == nil {
		_, err = h.Store.Product(r.Context(), id)
	}
	if err != nil {
		return "", err
	}
	return path("products", id), h.Store.Buy(r.Context(), me.ID, id)
}

const points = 10 // of one win

func (h *handler) win(r *http.Request) (string, error) {
	me, err := h.mustMe(r)
	if err != nil {
		return "", err
	}
	game := r.PathValue("game")
	if !slices.Contains(shop.Games, game) {
		return "", shop.ErrNotFound
	}
	return "/games/" + game, h.Store.Win(r.Context(), game, me.Player(), points)
}

func path(what string, id int64) string { return "/" + what + "/" + strconv.FormatInt(id, 10) }
