// Package layer has the caching layers that are compared, each behind one interface and set up as its documentation
// recommends, with the JSON codec wherever it can be chosen.
package layer

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"time"
)

// Item is what is cached: about 530 bytes as JSON.
type Item struct {
	ID       int       `json:"id"`
	Version  int       `json:"version"`
	Name     string    `json:"name"`
	Email    string    `json:"email"`
	City     string    `json:"city"`
	Bio      string    `json:"bio"`
	Created  time.Time `json:"created"`
	Score    float64   `json:"score"`
	Tags     []string  `json:"tags"`
	Verified bool      `json:"verified"`
}

// Make returns the row of an id.
func Make(id, version int) Item {
	return Item{
		ID: id, Version: version, Name: "Ada Lovelace " + strconv.Itoa(id), Email: fmt.Sprintf("ada.lovelace.%d@example.com", id), City: "London",
		Bio: "Wrote what is taken for the first program, for a machine that was never built. " +
			"Saw that it could do more than count: compose music, for one, if only its rules could be put into numbers and signs. " +
			"Her notes are longer than the paper that they explain, and are what is read today.",
		Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Score: 42.5, Tags: []string{"mathematics", "engines", "poetry"}, Verified: true,
	}
}

// Options are what a layer is made from.
type Options struct {
	Redis    string // host:port; empty: none
	Near     int    // entries kept in the process; zero: none, where that can be chosen
	TTL      time.Duration
	Load     func(ctx context.Context, id int) (Item, error)
	LoadMany func(ctx context.Context, ids []int) (map[int]Item, error)
}

// Layer is one of those compared. Get loads on a miss.
type Layer interface {
	Get(ctx context.Context, id int) (Item, error)
	GetMany(ctx context.Context, ids []int) (map[int]Item, error)
	// Changed tells that the row has changed, after the commit.
	Changed(ctx context.Context, id int) error
	Close()
}

// Kind is a layer that can be made.
type Kind struct {
	Name    string
	Version string // the module that it is from; its version is read from the program
	New     func(Options) (Layer, error)
	Floor   bool   // no layer: the least that any of them must do
	Near    bool   // it has a tier in the process
	NoRedis bool   // it has nothing but that
	Load    bool   // it calls the loader; else the program around it does, as its users must
	Note    string // what a reader should know
}

// Key is the key of an id.
func Key(id int) string { return "item:" + strconv.Itoa(id) }

func encode(v Item) ([]byte, error) { return json.Marshal(v) }

func decode(data []byte) (v Item, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}

// each is GetMany of a layer that has none.
func each(ctx context.Context, l Layer, ids []int) (map[int]Item, error) {
	out := make(map[int]Item, len(ids))
	for _, id := range ids {
		v, err := l.Get(ctx, id)
		if err != nil {
			return nil, err
		}
		out[id] = v
	}
	return out, nil
}
