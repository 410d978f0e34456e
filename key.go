package nearside

import "github.com/nearside/nearside/internal/client"

// Key is a key of one cache, for Client.Mutate and for logs. Cache.Key and the caches of package shape return one.
type Key interface {
	// String returns the key as it stands in Redis: "user:42".
	String() string
	// Inside returns what the client knows of the key. Its type is internal: it is not for applications.
	Inside() client.Key
}
