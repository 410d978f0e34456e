// Package ops is what the operator's commands ask of a cache: which keys there are, what stands under one, that it goes. There
// are two ways to ask: Direct at the store itself, and Remote at a running serve, which has a Direct of its own.
package ops

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/nearside/nearside/cmd/nearside/internal/spelling"
	"github.com/nearside/nearside/fleet"
)

// Operator answers an operator. Caches are named; a key is named by its parameters.
type Operator interface {
	// String says who answers.
	String() string
	// Caches returns the declared caches; nil: nothing is declared, and each name is one.
	Caches(ctx context.Context) ([]Cache, error)
	// Keys looks for keys of a cache until Limit are found or For is over.
	Keys(ctx context.Context, cache string, q Query) (Keys, error)
	// Entry looks at one key, and never loads. max is how many bytes or elements of the value are wanted; 0: none, < 0: all.
	Entry(ctx context.Context, cache string, args []string, max int) (Entry, error)
	// Invalidate removes one key.
	Invalidate(ctx context.Context, cache string, args []string) (Invalidated, error)
	// Count counts the keys of a cache for so long, and estimates the rest.
	Count(ctx context.Context, cache string, limit time.Duration) (Count, error)
	// Sweep removes all keys of a cache.
	Sweep(ctx context.Context, cache string) (Swept, error)
	// Doctor examines the servers, and samples the named caches; none: all that are declared.
	Doctor(ctx context.Context, caches []string) (Report, error)
	// Fleet reads what all processes report. A cache that nobody reports is an error, unless nobody reports at all.
	Fleet(ctx context.Context, q fleet.Query) (*fleet.View, error)
	Close()
}

// Cache is a declared cache.
type Cache struct {
	Name   string   `json:"name"`
	Key    string   `json:"key"` // its form: user:{id}
	Params []string `json:"params"`
}

// Query says which keys are wanted.
type Query struct {
	Limit int           // how many
	Match string        // a glob of whole keys; empty: all
	For   time.Duration // how long they are looked for
}

// Key is a key with what is known without its value.
type Key struct {
	Key    string `json:"key"`
	Type   string `json:"type"`
	TTL    TTL    `json:"ttl_ms"` // the rest of its life; -1: it never ends
	Length int64  `json:"length"` // bytes of a value, elements of a collection; -1: unknown
	Bytes  int64  `json:"bytes"`  // of memory; -1: unknown
}

// TTL is a duration in milliseconds as JSON.
type TTL time.Duration

// Keys is an answer to a Query.
type Keys struct {
	Source string   `json:"source"`
	Cache  string   `json:"cache"`
	Keys   []Key    `json:"keys"`
	Looked int64    `json:"looked_at"`         // keys of whatever kind that were looked at, about
	Total  int64    `json:"total"`             // that there are
	All    bool     `json:"complete"`          // there are no others
	Seen   []string `json:"similar,omitempty"` // if there are none: what the keys that there are begin with, the nearest name first
}

// Entry is what stands under a key.
type Entry struct {
	Source string `json:"source"`
	Cache  string `json:"cache"`
	Key
	Found    bool      `json:"found"`
	Going    string    `json:"going,omitempty"` // what goes on with it: load, write, hold, absent
	Left     TTL       `json:"going_ms,omitempty"`
	Value    []byte    `json:"value,omitempty"` // base64
	Elements []Element `json:"elements,omitempty"`
	Cut      bool      `json:"cut"` // there is more
}

// Element is one element of a collection.
type Element struct {
	Member string `json:"member"`          // the field of a hash, the element itself of a list
	Score  string `json:"score,omitempty"` // of a sorted set
	Value  string `json:"value,omitempty"` // of a hash's field
}

// Invalidated says what became of one key.
type Invalidated struct {
	Source string `json:"source"`
	Cache  string `json:"cache"`
	Key    string `json:"key"`
	Held   bool   `json:"held"` // it held a value
}

// Count is how many keys a cache has.
type Count struct {
	Source string `json:"source"`
	Cache  string `json:"cache"`
	Keys   int64  `json:"keys"`
	Exact  bool   `json:"exact"`
	Looked int64  `json:"looked_at"`
	Total  int64  `json:"total"`
}

// Swept says what a sweep removed.
type Swept struct {
	Source string `json:"source"`
	Cache  string `json:"cache"`
	Keys   int64  `json:"keys"` // those that were found; more may have come and gone meanwhile
	TookMS int64  `json:"took_ms"`
}

// The kinds of errors that a command ends with in different ways.
var (
	ErrUsage = errors.New("usage")       // what was asked for cannot be
	ErrAway  = errors.New("unreachable") // who should answer does not, or does not let us in
)

// kindError is an error of a kind, whose text is not shown.
type kindError struct{ kind, err error }

func (e kindError) Error() string   { return e.err.Error() }
func (e kindError) Unwrap() []error { return []error{e.kind, e.err} }

func usage(format string, args ...any) error { return kindError{ErrUsage, fmt.Errorf(format, args...)} }
func away(format string, args ...any) error  { return kindError{ErrAway, fmt.Errorf(format, args...)} }

// unknown is the error of a cache that is not declared.
func unknown(name string, known []string) error {
	switch near := spelling.Nearest(name, known); {
	case len(known) == 0:
		return usage("no cache is named %.100q: none is declared", name)
	case near != "":
		return usage("no cache is named %.100q: did you mean %s?", name, near)
	}
	return usage("no cache is named %.100q: there are %s", name, list(known))
}

func list(names []string) string {
	slices.Sort(names)
	text := ""
	for i, n := range names {
		switch {
		case i == 0:
		case i == len(names)-1:
			text += " and "
		default:
			text += ", "
		}
		text += n
	}
	return text
}
