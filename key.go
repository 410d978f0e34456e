package nearside

import "github.com/nearside/nearside/internal/engine"

// Key names one value of one cache.
type Key struct {
	text    string
	written engine.Written
	err     error
}

// String returns the key as it stands in Redis: "user:42".
func (k Key) String() string { return k.text }
