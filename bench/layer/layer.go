// Package layer has the caching layers that are compared, each behind one interface and set up as its documentation
// recommends, with the JSON codec wherever it can be chosen.
package layer

import (
	"context"
	"encoding/json"
	"fmt"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/nearside/nearside/codec"
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
	Redis    []string // host:port, of one server or of masters of a cluster; empty: none
	Cluster  bool
	Near     int // entries kept in the process; zero: none, where that can be chosen
	TTL      time.Duration
	Load     func(ctx context.Context, id int) (Item, error)
	LoadMany func(ctx context.Context, ids []int) (map[int]Item, error)

	// Of nearside alone.
	Budget time.Duration
	Codec  codec.Codec[Item]
}

// Layer is one of those compared. Get loads on a miss.
type Layer interface {
	Get(ctx context.Context, id int) (Item, error)
	GetMany(ctx context.Context, ids []int) (map[int]Item, error)
	// Changed tells that the row has changed, after the commit.
	Changed(ctx context.Context, id int) error
	Close()
}

// Tiers is a layer that counts by itself what answered its reads. Of others it is told from what Redis and the loader count.
type Tiers interface {
	Tiers() (near, store, loads uint64)
}

// Sheds is a layer that goes past Redis where Redis is slow, and counts the reads for which it did. They are cheap, and no
// figure must be made of them.
type Sheds interface {
	PastRedis() uint64
}

// Kind is a layer that can be made.
type Kind struct {
	Name    string
	Module  string // that it is from, beside its client
	New     func(Options) (Layer, error)
	Near    bool // it has a tier in the process
	NoRedis bool // it has nothing but that
	Batch   bool // it reads many keys at once; others do it one by one
	Bare    bool // no layer, but a client with the least around it: it merges no loads
	Note    string

	Settles time.Duration // until it has let go of what a load needs for a while; zero: 0.2 s
}

// Version returns the version of the kind's module in this program.
func (k Kind) Version() string { return Version(k.Module) }

// Version returns the version of a module in this program.
func Version(module string) string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return ""
	}
	for _, m := range info.Deps {
		if m.Path == module {
			return m.Version
		}
	}
	return ""
}

// Key is the key of an id.
func Key(id int) string { return "item:" + strconv.Itoa(id) }

func keys(ids []int) []string {
	ks := make([]string, len(ids))
	for i, id := range ids {
		ks[i] = Key(id)
	}
	return ks
}

func encode(v Item) ([]byte, error) { return json.Marshal(v) }

func decode(data []byte) (v Item, err error) {
	err = json.Unmarshal(data, &v)
	return v, err
}

// peersJSON is encode and decode as our codec.
type peersJSON struct{}

func (peersJSON) Encode(v Item) ([]byte, error)    { return encode(v) }
func (peersJSON) Decode(data []byte) (Item, error) { return decode(data) }

// decodeAny is decode as the peers want it.
func decodeAny(data []byte, v any) error { return json.Unmarshal(data, v) }

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

// fill loads what is missing, adds it to out, and returns the values by their keys.
func fill(ctx context.Context, o Options, missing []int, out map[int]Item) (map[string][]byte, error) {
	loaded, err := o.LoadMany(ctx, missing)
	if err != nil {
		return nil, err
	}
	values := make(map[string][]byte, len(loaded))
	for id, v := range loaded {
		out[id] = v
		if values[Key(id)], err = encode(v); err != nil {
			return nil, err
		}
	}
	return values, nil
}
