package shop

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/redis/go-redis/v9"
)

// Hand is a Store that caches by hand, as it is usually written: GET; on a miss SELECT, then SET with a TTL; DEL after a write.
//
// It is short, and wrong in ways that do not show in a test. A reader who has SELECTed before a write and SETs after its DEL
// leaves the old row for the whole TTL. When a hot key expires, everybody SELECTs at once. Nobody deletes the places of other
// players after a win. And whoever wants one friend out of five hundred reads all of them.
type Hand struct {
	db    *Database
	redis *redis.Client
}

var _ Store = (*Hand)(nil)

// NewHand returns a Store that caches in the Redis of a client.
func NewHand(client *redis.Client, db *Database) *Hand { return &Hand{db, client} }

const (
	handTTL      = time.Hour
	handBoardTTL = time.Minute // since others' wins move one's place, too
)

// aside is the way of every read.
func aside[V any](ctx context.Context, h *Hand, key string, ttl time.Duration, load func(context.Context) (V, error)) (V, error) {
	return step(ctx, key, func(ctx context.Context) (v V, from string, err error) {
		if b, err := h.redis.Get(ctx, key).Bytes(); err == nil && json.Unmarshal(b, &v) == nil {
			return v, "", nil
		}
		if v, err = load(ctx); err != nil {
			return v, "", err
		}
		if b, err := json.Marshal(v); err == nil {
			h.redis.Set(ctx, key, b, ttl)
		}
		return v, "", nil
	})
}

// del is the end of every write.
func (h *Hand) del(ctx context.Context, err error, keys ...string) error {
	if err != nil {
		return err
	}
	return h.redis.Del(ctx, keys...).Err()
}

func userKey(id int64) string    { return fmt.Sprintf("user:%d", id) }
func productKey(id int64) string { return fmt.Sprintf("product:%d", id) }
func friendsKey(id int64) string { return fmt.Sprintf("friends:%d", id) }
func actionsKey(id int64) string { return fmt.Sprintf("actions:%d", id) }

func (h *Hand) User(ctx context.Context, id int64) (User, error) {
	return aside(ctx, h, userKey(id), handTTL, func(ctx context.Context) (User, error) { return h.db.User(ctx, id) })
}

func (h *Hand) Users(ctx context.Context, ids []int64) (map[int64]User, error) {
	if len(ids) == 0 {
		return nil, nil
	}
	return step(ctx, several("user", len(ids)), func(ctx context.Context) (map[int64]User, string, error) {
		keys := make([]string, len(ids))
		for i, id := range ids {
			keys[i] = userKey(id)
		}
		found := make(map[int64]User, len(ids))
		for _, v := range h.redis.MGet(ctx, keys...).Val() {
			var u User
			if text, ok := v.(string); ok && json.Unmarshal([]byte(text), &u) == nil {
				found[u.ID] = u
			}
		}
		var missing []int64
		for _, id := range ids {
			if _, ok := found[id]; !ok {
				missing = append(missing, id)
			}
		}
		loaded, err := h.db.Users(ctx, missing)
		pipe := h.redis.Pipeline()
		for id, u := range loaded {
			found[id] = u
			if b, err := json.Marshal(u); err == nil {
				pipe.Set(ctx, userKey(id), b, handTTL)
			}
		}
		_, _ = pipe.Exec(ctx) // what is not cached is loaded again
		return found, "", err
	})
}

func (h *Hand) Rename(ctx context.Context, id int64, name string) error {
	return h.del(ctx, h.db.Rename(ctx, id, name), userKey(id))
}

func (h *Hand) Product(ctx context.Context, id int64) (Product, error) {
	return aside(ctx, h, productKey(id), handTTL, func(ctx context.Context) (Product, error) { return h.db.Product(ctx, id) })
}

func (h *Hand) Buy(ctx context.Context, user, product int64) error {
	return h.del(ctx, h.db.Buy(ctx, user, product), productKey(product), actionsKey(user))
}

func (h *Hand) Friends(ctx context.Context, id int64) ([]int64, error) {
	return aside(ctx, h, friendsKey(id), handTTL, func(ctx context.Context) ([]int64, error) { return h.db.Friends(ctx, id) })
}

func (h *Hand) InCommon(ctx context.Context, a, b int64) (common []int64, err error) {
	has := make(map[int64]bool)
	friends, err := h.Friends(ctx, a)
	if err != nil {
		return nil, err
	}
	for _, id := range friends {
		has[id] = true
	}
	if friends, err = h.Friends(ctx, b); err != nil {
		return nil, err
	}
	for _, id := range friends {
		if has[id] {
			common = append(common, id)
		}
	}
	return common, nil
}

func (h *Hand) Befriend(ctx context.Context, id, friend int64) error {
	return h.del(ctx, h.db.Befriend(ctx, id, friend), friendsKey(id))
}

func (h *Hand) Unfriend(ctx context.Context, id, friend int64) error {
	return h.del(ctx, h.db.Unfriend(ctx, id, friend), friendsKey(id))
}

func (h *Hand) Actions(ctx context.Context, id int64) ([]Action, error) {
	return aside(ctx, h, actionsKey(id), handTTL, func(ctx context.Context) ([]Action, error) { return h.db.Actions(ctx, id) })
}

func (h *Hand) Leaders(ctx context.Context, game string) ([]Player, error) {
	return aside(ctx, h, "leaders:"+game, handBoardTTL, func(ctx context.Context) ([]Player, error) { return h.db.Leaders(ctx, game) })
}

func (h *Hand) Standing(ctx context.Context, game, player string) (place, from int, near []Player, err error) {
	type standing struct {
		Place, From int
		Near        []Player
	}
	s, err := aside(ctx, h, "standing:"+game+":"+player, handBoardTTL, func(ctx context.Context) (s standing, err error) {
		s.Place, s.From, s.Near, err = h.db.Standing(ctx, game, player)
		return s, err
	})
	return s.Place, s.From, s.Near, err
}

func (h *Hand) Win(ctx context.Context, game, player string, points int) error {
	return h.del(ctx, h.db.Win(ctx, game, player, points), "leaders:"+game, "standing:"+game+":"+player)
}
