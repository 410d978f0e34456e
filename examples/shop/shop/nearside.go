package shop

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/shape"
)

// Nearside is a Store that caches with nearside: each thing in its shape, loaded on the first read.
type Nearside struct {
	db       *Database
	users    *nearside.Cache[int64, User]
	products *shape.Hash[int64, Product]
	friends  *shape.Set[int64, int64]
	actions  *shape.List[int64, Action]
	boards   *shape.SortedSet[string, string]
}

var _ Store = (*Nearside)(nil)

// NewNearside makes the caches.
func NewNearside(client *nearside.Client, db *Database) *Nearside {
	return &Nearside{
		db: db,
		users: nearside.New(client, "user", nearside.Config[int64, User]{
			Load: db.User, LoadMany: db.Users, TTL: time.Hour, Stale: 10 * time.Minute, NotFoundTTL: 30 * time.Second, NearSize: 10_000,
		}),
		products: shape.NewHash(client, "product", shape.HashConfig[int64, Product]{Load: db.Product}),
		friends:  shape.NewSet(client, "friends", shape.SetConfig[int64, int64]{Load: db.Friends, LoadOne: db.isFriend}),
		actions:  shape.NewList(client, "actions", shape.ListConfig[int64, Action]{Load: db.Actions, Cap: recent}),
		boards: shape.NewSortedSet(client, "leaderboard", shape.SortedSetConfig[string, string]{
			Load: func(ctx context.Context, game string) ([]shape.Scored[string], error) {
				players, err := db.scores(ctx, game)
				out := make([]shape.Scored[string], len(players))
				for i, p := range players {
					out[i] = shape.Scored[string]{Member: p.Name, Score: float64(p.Points)}
				}
				return out, err
			},
			GrowingScores: true, // points are only won
			TTL:           time.Minute,
		}),
	}
}

func (s *Nearside) User(ctx context.Context, id int64) (User, error) {
	return step(ctx, s.users.Key(id).String(), func(ctx context.Context) (User, string, error) {
		e, err := s.users.GetEntry(ctx, id)
		return e.Value, string(e.Source), err
	})
}

func (s *Nearside) Users(ctx context.Context, ids []int64) (map[int64]User, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return step(ctx, several(s.users.Name(), len(ids)), func(ctx context.Context) (map[int64]User, string, error) {
		users, err := s.users.GetMany(ctx, ids)
		return users, "", err
	})
}

func (s *Nearside) Rename(ctx context.Context, id int64, name string) error {
	_, err := s.users.Update(ctx, id, func(ctx context.Context) (User, error) {
		if err := s.db.Rename(ctx, id, name); err != nil {
			return User{}, err
		}
		return s.db.User(ctx, id)
	})
	return err
}

func (s *Nearside) Product(ctx context.Context, id int64) (Product, error) {
	return step(ctx, s.products.Key(id).String(), func(ctx context.Context) (Product, string, error) {
		p, err := s.products.All(ctx, id)
		return p, "", err
	})
}

// Buy changes two caches in one transaction: it is within both.
func (s *Nearside) Buy(ctx context.Context, user, product int64) error {
	_, err := s.products.Update(ctx, product, "stock", func(ctx context.Context) (p Product, err error) {
		_, err = s.actions.Update(ctx, user, func(ctx context.Context) (a Action, err error) {
			p, a, err = s.db.buy(ctx, user, product)
			return a, err
		})
		return p, err
	})
	return err
}

func (s *Nearside) Friends(ctx context.Context, id int64) ([]int64, error) {
	return step(ctx, s.friends.Key(id).String(), func(ctx context.Context) ([]int64, string, error) {
		ids, err := s.friends.Members(ctx, id)
		slices.Sort(ids)
		return ids, "", err
	})
}

func (s *Nearside) InCommon(ctx context.Context, a, b int64) ([]int64, error) {
	return step(ctx, fmt.Sprintf("%v and %v", s.friends.Key(a), s.friends.Key(b)), func(ctx context.Context) ([]int64, string, error) {
		ids, err := s.friends.Intersect(ctx, a, b)
		slices.Sort(ids)
		return ids, "", err
	})
}

func (s *Nearside) Befriend(ctx context.Context, id, friend int64) error {
	return s.friends.Update(ctx, id, friend, func(ctx context.Context) error { return s.db.Befriend(ctx, id, friend) })
}

func (s *Nearside) Unfriend(ctx context.Context, id, friend int64) error {
	return s.friends.Delete(ctx, id, friend, func(ctx context.Context) error { return s.db.Unfriend(ctx, id, friend) })
}

func (s *Nearside) Actions(ctx context.Context, id int64) ([]Action, error) {
	return step(ctx, s.actions.Key(id).String(), func(ctx context.Context) ([]Action, string, error) {
		all, err := s.actions.Range(ctx, id, 0, -1)
		return all, "", err
	})
}

func (s *Nearside) Leaders(ctx context.Context, game string) ([]Player, error) {
	return step(ctx, s.boards.Key(game).String(), func(ctx context.Context) ([]Player, string, error) {
		top, err := s.boards.Top(ctx, game, leaders)
		return players(top), "", err
	})
}

func (s *Nearside) Standing(ctx context.Context, game, player string) (place, from int, near []Player, err error) {
	near, err = step(ctx, s.boards.Key(game).String(), func(ctx context.Context) ([]Player, string, error) {
		around, first, err := s.boards.Around(ctx, game, player, neighbors)
		from = first
		return players(around), "", err
	})
	return from + slices.IndexFunc(near, func(p Player) bool { return p.Name == player }), from, near, err
}

func (s *Nearside) Win(ctx context.Context, game, player string, points int) error {
	_, err := s.boards.Update(ctx, game, player, func(ctx context.Context) (float64, error) {
		now, err := s.db.win(ctx, game, player, points)
		return float64(now), err
	})
	return err
}

func players(of []shape.Scored[string]) []Player {
	out := make([]Player, len(of))
	for i, p := range of {
		out[i] = Player{Name: p.Member, Points: int(p.Score)}
	}
	return out
}
