// Package bind lets the packages of this module into a client, without showing its inside to users. Package nearside sets
// what stands here.
package bind

import (
	"log/slog"

	"github.com/nearside/nearside/internal/engine"
	"github.com/nearside/nearside/internal/fleetstats"
	"github.com/nearside/nearside/internal/store"
)

// Client is what a *nearside.Client is to them.
type Client struct {
	Shared *engine.Shared
	// Register takes a name for a cache, and panics if it is taken; call is how the maker is called in the message, and hash tells
	// the settings of one process from those of another.
	Register func(call, name string, m engine.Meter, hash string)
	// Caches returns what was registered, by name.
	Caches func() map[string]engine.Meter
}

var (
	// Of returns the inside of a *nearside.Client.
	Of func(client any) Client
	// New returns a *nearside.Client over a store, with the default settings.
	New func(s store.Store, logger *slog.Logger) any
	// Around returns a *nearside.Client for what its owner opened, and closes; the reporter may be nil.
	Around func(s *engine.Shared, r *fleetstats.Reporter) any
	// Key returns a nearside.Key.
	Key func(text string, w engine.Written, err error) any
)
