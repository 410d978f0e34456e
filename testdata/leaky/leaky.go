// Package leaky shows internal types in every way that an API can. TestPublicAPICheck looks for them.
package leaky

import (
	"io"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/hotkeys"
	"github.com/nearside/nearside/internal/tally"
)

// These are found.
type (
	Alias                                      = tally.Histogram
	PairAlias                                  = Pair[hotkeys.Key]
	Embeds                                     struct{ tally.Tally }
	Hides                                      struct{ hidden }
	Field                                      struct{ Deep map[string][]*tally.Count }
	Anonymous                                  struct{ In struct{ Key hotkeys.Key } }
	Constraint                                 interface{ tally.Count | int }
	Bounded[T interface{ Take() hotkeys.Key }] struct{}
	Interface                                  interface{ Result() (tally.Tier, error) }
	Method                                     struct{}
	Map                                        map[tally.Count]string
)

var Variable chan tally.Count

const Constant = tally.Near

func Parameter(...tally.Count)            {}
func Callback(func() hotkeys.Key)         {}
func Returned() *opaque                   { return nil }
func Instance() (_ Pair[tally.Histogram]) { return }
func (*Method) Takes(tally.Tier)          {}

// These are not found: they are not exported, or of a package that may be imported.
type (
	View        = fleet.View
	Pair[T any] struct{ A, B T }
	Plain       struct {
		Window  fleet.Window
		Next    *Plain
		Pair    Pair[time.Time]
		private tally.Count
	}
	Public interface {
		io.Reader
		hidden() tally.Count
	}
	unexported struct{ Count tally.Count }
)

func (p *Plain) At() (time.Time, error)   { return p.Pair.A, nil }
func (p *Plain) kept() tally.Count        { return p.private }
func internal(u unexported) unexported    { return u }
func Exported[T ~int](_ T, _ *Plain) bool { return false }

// hidden and opaque are found where they are shown.
type (
	hidden = hotkeys.Key
	opaque struct{ Count tally.Count }
)
