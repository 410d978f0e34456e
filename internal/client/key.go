package client

import "github.com/nearside/nearside/internal/engine"

// Key is a key of one cache.
type Key struct {
	Text    string // as it stands in Redis
	Written engine.Written
	Err     error // the key is invalid
}

// String returns the key as it stands in Redis.
func (k Key) String() string { return k.Text }

// Inside implements nearside.Key.
func (k Key) Inside() Key { return k }
