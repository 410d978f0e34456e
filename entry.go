package nearside

import (
	"time"

	"github.com/nearside/nearside/internal/typed"
)

// Source says where an answer came from.
type Source string

// The sources, which are also the words for them in statistics, headers and metrics.
const (
	SourceNear     Source = "near"     // this process
	SourceStore    Source = "store"    // Redis, or the store in memory
	SourceLoad     Source = "load"     // the database
	SourceStale    Source = "stale"    // the store, past its TTL
	SourceNegative Source = "negative" // the store knows that there is no such row
)

// Entry is a value and what is known about it. It does not say whether a value that was just loaded has been stored: an
// invalidation or a write in between, Config.MaxValue or an unavailable Redis may prevent that.
type Entry[V any] struct {
	Value  V
	Source Source
	Age    time.Duration // since it was loaded; Unknown if another program wrote it with a TTL that does not tell
	TTL    time.Duration // how long it stays fresh; zero if it is stale, or has no TTL
	Stale  bool          // it is past its TTL
}

// Unknown is the age of a value of which it is not known, and the TTL of one that another program wrote without a TTL.
const Unknown time.Duration = -1

func entry[V any](e typed.Entry[V], err error) (Entry[V], error) {
	return Entry[V]{e.Value, Source(e.Source), e.Age, e.TTL, e.Stale}, err
}
