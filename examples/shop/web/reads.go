package web

import (
	"cmp"
	"errors"
	"net/http"
	"slices"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/examples/shop/shop"
)

func (h *handler) home(r *http.Request) (page, error) {
	type board struct {
		Game    string
		Leaders []shop.Player
	}
	var data struct {
		Products []shop.Product
		Boards   []board
		Users    []shop.User // to sign in as
	}
	for _, id := range []int64{7, 42, 99, 314, 1234, 1999} {
		p, err := h.Store.Product(r.Context(), id)
		if err != nil {
			return page{}, err
		}
		data.Products = append(data.Products, p)
	}
	for _, game := range shop.Games {
		leaders, err := h.Store.Leaders(r.Context(), game)
		if err != nil {
			return page{}, err
		}
		data.Boards = append(data.Boards, board{game, leaders[:min(3, len(leaders))]})
	}
	var err error
	data.Users, err = h.users(r, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 42})
	return page{Name: "home", Title: "A small shop", Data: data}, err
}

// users returns the profiles of those that there are, in their order.
func (h *handler) users(r *http.Request, ids []int64) (out []shop.User, err error) {
	found, err := h.Store.Users(r.Context(), ids)
	for _, id := range ids {
		if u, ok := found[id]; ok {
			out = append(out, u)
		}
	}
	return out, err
}

func (h *handler) user(r *http.Request) (page, error) {
	var data struct {
		User           shop.User
		Friends        []shop.User
		InCommon       []shop.User
		Actions        []shop.Action
		Mine, IsFriend bool // of who is signed in
	}
	ctx, store := r.Context(), h.Store
	id, err := number(r)
	if err != nil {
		return page{}, err
	}
	if data.User, err = store.User(ctx, id); err != nil {
		return page{}, err
	}
	friends, err := store.Friends(ctx, id)
	if err == nil {
		data.Friends, err = h.users(r, friends)
	}
	if err == nil {
		data.Actions, err = store.Actions(ctx, id)
	}
	if err != nil {
		return page{}, err
	}
	if me := h.sessions.GetInt64(ctx, userKey); me == id {
		data.Mine = true
	} else if me != 0 {
		mine, err := store.Friends(ctx, me)
		if err != nil {
			return page{}, err
		}
		data.IsFriend = slices.Contains(mine, id)
		common, err := store.InCommon(ctx, me, id)
		if err == nil {
			data.InCommon, err = h.users(r, common)
		}
		if err != nil {
			return page{}, err
		}
	}
	return page{Name: "user", Title: data.User.Name, Data: data}, nil
}

func (h *handler) product(r *http.Request) (page, error) {
	id, err := number(r)
	if err != nil {
		return page{}, err
	}
	p, err := h.Store.Product(r.Context(), id)
	return page{Name: "product", Title: p.Name, Data: p}, err
}

func (h *handler) game(r *http.Request) (page, error) {
	var data struct {
		Game    string
		Leaders []shop.Player
		Player  string // who is signed in
		Place   int
		From    int
		Near    []shop.Player
	}
	var err error
	data.Game = r.PathValue("game")
	if !slices.Contains(shop.Games, data.Game) {
		return page{}, shop.ErrNotFound
	}
	if data.Leaders, err = h.Store.Leaders(r.Context(), data.Game); err != nil {
		return page{}, err
	}
	me, err := h.me(r)
	if err == nil && me != nil {
		data.Player = me.Player()
		data.Place, data.From, data.Near, err = h.Store.Standing(r.Context(), data.Game, data.Player)
		if errors.Is(err, shop.ErrNotFound) {
			err = nil // has not played yet
		}
	}
	return page{Name: "game", Title: "Leaderboard of " + data.Game, Data: data}, err
}

func (h *handler) statistics(r *http.Request) (page, error) {
	type cache struct {
		nearside.CacheStats
		Name        string
		Hits, Reads uint64
	}
	stats := h.Client.Stats(r.Context())
	data := struct {
		nearside.Stats
		Caches  []cache
		Queries int64
	}{Stats: stats}
	if h.Config.Queries != nil {
		data.Queries = h.Config.Queries()
	}
	for name, s := range stats.Caches {
		hits := s.Near + s.Store + s.Stale + s.Negative
		data.Caches = append(data.Caches, cache{s, name, hits, hits + s.Load + s.Errors})
	}
	slices.SortFunc(data.Caches, func(a, b cache) int { return cmp.Or(cmp.Compare(b.Reads, a.Reads), cmp.Compare(a.Name, b.Name)) })
	return page{Name: "statistics", Title: "Statistics", Data: data}, nil
}
