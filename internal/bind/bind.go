// Package bind lets the packages of this module into a client, without showing its inside to users. Package nearside sets
// what stands here.
package bind

import "github.com/nearside/nearside/internal/engine"

// Client is what a *nearside.Client is to them.
type Client struct {
	Shared *engine.Shared
	// Register takes a name for a cache, and panics if it is taken; call is how the maker is called in the message.
	Register func(call, name string, stats func() engine.Stats)
}

var (
	// Of returns the inside of a *nearside.Client.
	Of func(client any) Client
	// Key returns a nearside.Key.
	Key func(text string, w engine.Written, err error) any
)
