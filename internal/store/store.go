package store

import (
	"context"
	"fmt"
	"time"
)

// Store keeps values and sidecars. All methods are safe for concurrent use. A batch method sends one command per node
// and answers in the order of its arguments; an element's Err speaks of that element alone. Values given and returned are
// shared: neither side may modify them. Durations are rounded down to milliseconds, with 1 ms as the least.
//
// Each part is for one consumer, which asks for no more than it uses.
type Store interface {
	Values      // package engine: what a read, a load and a write need
	Collections // package engine: the same of lists, sets, sorted sets and hashes
	Tracker     // package engine: the in-process caches, and callers that wait for another process
	Recovery    // package recovery: deferred invalidations
	Sessions    // package session
	Admin       // the page and the commands

	// Usage counts keys and bytes.
	Usage(ctx context.Context) (Usage, error)
	// Close frees what the store holds. Calls after it fail with ErrClosed.
	Close()
}

// Values is the protocol of values: see the package's documentation for what each method guarantees together with others.
type Values interface {
	// Get returns the value of a key, never its sidecar. With ttl, Item.TTL is set.
	Get(ctx context.Context, key string, ttl bool) Item
	// GetMany is Get of many keys in one round trip.
	GetMany(ctx context.Context, keys []string, ttl bool) []Item
	// Refuses says why a read of a key would not be sent, since the store is unavailable. It returns nil if it would be. It
	// takes some nanoseconds, where a read that is refused takes a context and a place to answer in.
	Refuses(key string) error
	// Local reports whether the store is in this process, so that nothing takes a round trip.
	Local() bool
	// Inspect looks at keys without reading their values.
	Inspect(ctx context.Context, keys []string) []Info

	// Acquire asks for the right to load. It may be sent again with the same token.
	Acquire(ctx context.Context, claims []Claim) []Grant
	// Fill ends a lease with what was loaded. OK is false if the token no longer stands and nothing was stored.
	Fill(ctx context.Context, fills []Fill) []Outcome
	// Renew prolongs leases to a time from now. It changes nothing where the token no longer stands, and OK is false there.
	Renew(ctx context.Context, leases []Lease, life time.Duration) []Outcome
	// Release ends a lease without a result. OK is true if the token stood until now, so that no invalidation came since.
	Release(ctx context.Context, leases []Lease) []Outcome

	// Invalidate removes values, leases and remembered absences, after the database was changed. Nothing is filled for
	// hold afterwards (zero: no such time). OK is true if the key held a value.
	Invalidate(ctx context.Context, keys []string, hold time.Duration) []Outcome
	// Put stores values whatever stands there. Of two callers the later wins, not the one with the newer row.
	Put(ctx context.Context, puts []Put, hold time.Duration) []Outcome

	// Begin announces a database write: the value goes, and nothing is filled until End or until the intent expires.
	Begin(ctx context.Context, intents []Intent) []Outcome
	// End says that the write is over. OK is true if its value was put.
	End(ctx context.Context, ends []End) []Outcome

	// CheckKeys learns whether keys that match a glob, and their sidecars, may be read and written. What may not is a
	// problem.
	CheckKeys(ctx context.Context, glob string)
	// Problems returns what the store was found to be unable to do, each with what is lost and how it is mended.
	Problems() []string
	// Ping returns nil if the store answers.
	Ping(ctx context.Context) error
}

// Tracker says which keys change.
type Tracker interface {
	// Track begins to report changes: changed is called for each key, lost where some may have been missed. Neither may wait
	// for anything. An error says why the store cannot.
	Track(ctx context.Context, changed func(key string), lost func()) (Tracking, error)
}

// Recovery is what makes up for a time in which the store was unavailable.
type Recovery interface {
	// Invalidate is that of Values.
	Invalidate(ctx context.Context, keys []string, hold time.Duration) []Outcome
	// Sweep invalidates every key that matches a glob and that ours takes for one (nil: all), without a hold: values, leases
	// and remembered absences that stood when it began are gone, intents are dirty, holds stay. It takes its time, so as not
	// to load the store. Only after nil is all of it done.
	Sweep(ctx context.Context, glob string, ours func(key string) bool) error
	// Recovered names a function that is called when the store answers again after it did not, before its reads are let
	// through. It returns how many invalidations it has repeated, which the store logs. One call replaces the function of the
	// one before.
	Recovered(f func(context.Context) (repeated int))
}

// Item is what a key holds.
type Item struct {
	Value []byte        // nil if not found
	Found bool          // there is a value
	TTL   time.Duration // the rest of its life; NoTTL if it has none. Set only where asked for
	Err   error         // the store did not answer. A value of another type is not found
}

// NoTTL is the TTL of a key that another program wrote without one.
const NoTTL time.Duration = -1

// Info is what Inspect tells of a key.
type Info struct {
	Type string        // as Redis names it: "string", "list", ...; "none" if there is no value
	TTL  time.Duration // the rest of its life; NoTTL if it has none
	Err  error
}

// LeaseLife is how long a lease lasts. A process that loads for longer renews it, so the lease of a process that is dead
// ends within this time. A lease with more time left, or with no end, has no live holder: Acquire cuts it.
const LeaseLife = 1500 * time.Millisecond

// Claim asks for the lease of a key.
type Claim struct {
	Key   string
	Kind  Kind
	Token string        // drawn by NewToken, once per load; keys that are loaded together may have one
	Lease time.Duration // how long the lease lasts unless it is renewed: LeaseLife, except in tests
	Again bool          // another's lease was found before. One that has more time left than Lease is cut to Lease
	Stale time.Duration // a value with less than this to live is stale; zero: values are never stale
	Dead  *Dead         // what the caller judged to be no value; deleted if it is still there
	TTL   bool          // Grant.TTL is wanted, also where Stale is zero; it may cost more
}

// Dead names a value that its reader cannot use: bytes that do not decode, or a type that is none of ours.
type Dead struct {
	Value  []byte // these bytes, if Type is empty
	Type   string // this type, as Redis names it
	Member string // of a collection: this member, field or element, if Type is empty
}

// State is the answer to a Claim. Zero is none: Grant.Err says why.
type State byte

const (
	Hit     State = iota + 1 // there is a fresh value
	Stale                    // there is a stale value, and another caller refreshes it
	Refresh                  // there is a stale value, and the lease is granted
	Granted                  // there is nothing, and the lease is granted
	Waiting                  // another caller holds the lease
	Absent                   // the row is known not to exist
	Barrier                  // write intents or a hold: load, but do not fill
	Foreign                  // the key holds another type; ask again with it as Dead
)

func (s State) String() string {
	switch s {
	case Hit:
		return "hit"
	case Stale:
		return "stale"
	case Refresh:
		return "refresh"
	case Granted:
		return "granted"
	case Waiting:
		return "waiting"
	case Absent:
		return "absent"
	case Barrier:
		return "barrier"
	case Foreign:
		return "foreign"
	}
	return fmt.Sprintf("State(%d)", byte(s))
}

// Grant is the answer to a Claim.
type Grant struct {
	State  State
	Value  []byte        // of Hit, Stale and Refresh, but not of a collection
	TTL    time.Duration // what is left of the value (NoTTL possible) or the absence, if Claim.TTL or Claim.Stale is set
	Holder string        // the token of the lease (Waiting, and Stale if there is one), or the type (Foreign)
	Err    error
}

// Fill is the result of a load.
type Fill struct {
	Key, Token string
	Kind       Kind      // of a collection: what its chunks have brought, and Last, takes its place
	Last       []Element // of a collection: a last Chunk, in the same trip; at most MaxChunk. Those of most collections are all
	Value      []byte
	Absent     bool          // the database has no such row: Value is not used. Not of a collection
	TTL        time.Duration // the life of the value or of the absence
	Empty      time.Duration // of a collection: how long it is remembered that it has no elements, if it has none; zero: not at all
}

// Lease is a key with the token that holds it.
type Lease struct {
	Key, Token string
	Kind       Kind
}

// Outcome is the answer to one element of a write.
type Outcome struct {
	OK  bool // what true means is said at each method
	Err error
}

// Put is a value to be stored.
type Put struct {
	Key   string
	Value []byte
	TTL   time.Duration
}

// Intent announces a database write.
type Intent struct {
	Key     string
	Token   string   // a fresh one for each sending
	Earlier []string // tokens of sendings without an answer; they are taken out
	Life    time.Duration
}

// End tells that a write is over.
type End struct {
	Key     string
	Token   string
	Earlier []string
	Value   []byte        // to be put, if Put
	Put     bool          // false: the key is invalidated
	TTL     time.Duration // the life of Value
	Hold    time.Duration
}

// Usage is how full a store is.
type Usage struct {
	Keys     int64 // keys with a value
	Bytes    int64 // memory used
	MaxBytes int64 // its bound; zero: none is set
	Evicted  int64 // values removed to keep the bound, since the start
}

// Paced is a Store that is at a distance, and knows how long a read should wait for it.
type Paced interface {
	// Budget is how long one step of a read waits for the store. It may change at any time.
	Budget() time.Duration
	// Ran returns for how long this process has run, as the store knows it: it does not grow while the process is stopped or waits
	// for a processor.
	Ran() time.Duration
}
