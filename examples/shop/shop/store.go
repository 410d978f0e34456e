// Package shop is what a small shop asks its database: users, products, friends, recent actions and leaderboards. Store says
// it, and there are three of it to compare, a file each:
//
//	database.go   asks the database each time
//	hand.go       caches by hand: GET, on a miss SELECT and SET, DEL on a write; everything is a JSON string
//	nearside.go   caches with nearside, each thing in the shape that it has
package shop

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/demo"
)

// User is a profile.
type User struct {
	ID    int64  `json:"id"`
	Name  string `json:"name"`
	Email string `json:"email"`
	City  string `json:"city"`
}

// Player returns the name that a user plays under, whatever his real one is.
func (u User) Player() string {
	name, _, _ := strings.Cut(u.Email, "@")
	return name
}

// Product is one that can be bought.
type Product struct {
	ID       int64   `json:"id"`
	Name     string  `json:"name"`
	Category string  `json:"category"`
	Price    float64 `json:"price"`
	Stock    int     `json:"stock"`
}

// Action is what somebody did.
type Action struct {
	At   time.Time `json:"at"`
	Text string    `json:"text"`
}

// Player is somebody's place in a game.
type Player struct {
	Name   string `json:"name"`
	Points int    `json:"points"`
}

// ErrNotFound says that there is no such user, product or player; ErrSoldOut that there is nothing left of a product.
var (
	ErrNotFound = nearside.ErrNotFound
	ErrSoldOut  = errors.New("sold out")
)

// Games are those with a leaderboard.
var Games = demo.Games

const (
	recent    = 20 // actions that are shown
	leaders   = 10 // of a leaderboard
	neighbors = 3  // on either side of a player
)

// Store is what the pages ask. A write that returned nil is seen by the next read. One whose error wraps
// nearside.ErrUnavailable is in the database, and the cache could not be told.
type Store interface {
	User(ctx context.Context, id int64) (User, error)
	Users(ctx context.Context, ids []int64) (map[int64]User, error) // without those that do not exist
	Rename(ctx context.Context, id int64, name string) error

	Product(ctx context.Context, id int64) (Product, error)
	Buy(ctx context.Context, user, product int64) error // one piece; an action of the user

	Friends(ctx context.Context, id int64) ([]int64, error)
	InCommon(ctx context.Context, a, b int64) ([]int64, error)
	Befriend(ctx context.Context, id, friend int64) error
	Unfriend(ctx context.Context, id, friend int64) error

	Actions(ctx context.Context, id int64) ([]Action, error) // the newest first

	Leaders(ctx context.Context, game string) ([]Player, error)
	// Standing returns a player's place, from 0, among his neighbours, of whom the first is at from.
	Standing(ctx context.Context, game, player string) (place, from int, near []Player, err error)
	Win(ctx context.Context, game, player string, points int) error
}
