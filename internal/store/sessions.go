package store

import (
	"context"
	"time"
)

// Sessions is the part of a Store for values of which there is no other copy: what a loader could bring back it may lose, and
// these not. Nobody takes a lease of their keys. Invalidate removes them, Inspect says how long they live.
type Sessions interface {
	// Touch returns the value of a key and gives it life to live from now on, but not past the end that it was saved with; a
	// value without an end keeps the life that it has. Zero: nothing is prolonged. It never writes the value, so that it takes
	// nothing from whoever saves beside it. Item.TTL is not set.
	Touch(ctx context.Context, key string, life time.Duration) Item
	// Save stores a value whatever stands there. If it fails, the value from before is still there, unless the outcome is
	// unknown.
	Save(ctx context.Context, r Record) Outcome
	// Scan names the keys of values that match a glob, some at a time: those that are there all the while, each at least once.
	// It takes its time, so as not to load the store, and ends with an error of found.
	Scan(ctx context.Context, glob string, found func(keys []string) error) error
}

// Record is a value to be saved.
type Record struct {
	Key   string
	Value []byte
	TTL   time.Duration
	End   time.Time // Touch may prolong its life up to here; zero: not at all
}
