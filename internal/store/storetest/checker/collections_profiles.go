package checker

import (
	"math/rand/v2"
	"time"

	"github.com/nearside/nearside/internal/store"
)

// Shape is a kind of collection, and how overlapping writers of a member are told apart.
type Shape struct {
	Kind      store.Kind
	Versioned bool
	LoadOne   bool // a member can be read again
}

func (s Shape) String() string {
	switch {
	case s.Versioned:
		return string(s.Kind) + ", versioned"
	case s.LoadOne:
		return string(s.Kind) + ", read again"
	}
	return string(s.Kind)
}

// Shapes are all there are.
func Shapes() (all []Shape) {
	for _, kind := range []store.Kind{store.SortedSet, store.Set, store.Hash} {
		all = append(all, Shape{Kind: kind, LoadOne: true}, Shape{Kind: kind}, Shape{Kind: kind, Versioned: true})
	}
	return append(all, Shape{Kind: store.List})
}

// CollectionProfile is how the checker treats collections. Durations of actors are the longest; each is drawn anew.
type CollectionProfile struct {
	Name string

	Full, Sparse     int // collections with many members that never change, and with none; 4 and 2 if both are zero
	Hot              int // members of each that everybody changes; 3 if zero
	Readers, Writers int // 6 if zero

	Invalidate float64 // share of the writes that commit up to three changes and then invalidate
	Mutate     float64 // the same, through Mutate
	Plain      float64 // share of the writes that commit, and then write; the rest is done by Update
	Unknown    float64 // share of the commits with an error, whatever they did
	Doubt      float64 // share of the Updates whose commit becomes visible after their error, or never
	Forgotten  bool    // their errors are taken for final, which leaves out the rule
	CrashWrite float64 // share of the writers that die before or after their commit
	CrashLoad  float64 // share of the readers that take a lease and die, also between chunks
	FailLoad   float64 // share of the loads that fail, and of the members that cannot be read again

	Pause, ReadPause time.Duration // between writes, and between reads; 8 ms and 2 ms if zero
	Load             time.Duration // before and behind the database's read, and between chunks; 3 ms if zero
	Commit           time.Duration // before and behind the commit; 1.5 ms if zero
	Reread           time.Duration // behind the read of one member

	Lease   time.Duration // of loads: they lapse, since the engine renews them too late
	Renewed time.Duration // the same, and the engine knows it, so that loads are several lives long
	Intent  time.Duration // how long each intent stands, in place of the engine's time
	Fresh   time.Duration // how long collections are fresh, with a stale window behind; zero: TTL, without
	TTL     time.Duration // a minute if zero
	Lost    float64       // share of the commands that are lost, or their answers, or that come late
	Late    bool          // they all come late, and none of those of loads does

	Faults func(rng *rand.Rand, key string)
	Wrap   func(store.Store) store.Store // to break a rule
	Enough bool                          // the first violation ends the run
}

// CollectionProfiles are those that every store must pass.
func CollectionProfiles() []CollectionProfile {
	mixed := CollectionProfile{Invalidate: 0.06, Mutate: 0.03, Plain: 0.4, Unknown: 1. / 60}
	with := func(name string, f func(*CollectionProfile)) CollectionProfile {
		p := mixed
		p.Name = name
		f(&p)
		return p
	}
	die := func(p *CollectionProfile) { p.CrashWrite, p.CrashLoad, p.FailLoad = 0.07, 0.02, 0.02 }
	return []CollectionProfile{
		with("calm", func(p *CollectionProfile) {}),
		with("all die, commands are lost", func(p *CollectionProfile) {
			die(p)
			p.Lost, p.Lease, p.Intent = 0.08, 100*time.Millisecond, 150*time.Millisecond
		}),
		with("writes in doubt", func(p *CollectionProfile) { p.Doubt, p.CrashLoad, p.FailLoad = 0.2, 0.02, 0.02 }),
		with("short lease", func(p *CollectionProfile) { die(p); p.Lease = 12 * time.Millisecond }),
		with("short lease, renewed", func(p *CollectionProfile) { die(p); p.Renewed = 4 * time.Millisecond }),
		with("stale window", func(p *CollectionProfile) { die(p); p.Fresh = 20 * time.Millisecond }),
		with("hot members, slow writers", func(p *CollectionProfile) {
			p.Full, p.Sparse, p.Hot, p.Commit, p.Reread, p.Plain = 1, 1, 1, 12*time.Millisecond, 6*time.Millisecond, 0.1
		}),
		with("loads slower than intents", func(p *CollectionProfile) { die(p); p.Load, p.Intent = 20*time.Millisecond, 15*time.Millisecond }),
		quiet(),
	}
}

// quiet has few writers, most of whom die: nobody heals what they leave, but expiry.
func quiet() CollectionProfile {
	return CollectionProfile{
		Name: "quiet collections", CrashWrite: 0.6, Invalidate: 0.04, Plain: 0.05, Writers: 2, Pause: 40 * time.Millisecond,
		Load: 8 * time.Millisecond, TTL: 150 * time.Millisecond, Hot: 2,
	}
}

func (p CollectionProfile) defaults() CollectionProfile {
	if p.Full+p.Sparse == 0 {
		p.Full, p.Sparse = 4, 2
	}
	for _, d := range []struct {
		n *int
		v int
	}{{&p.Hot, 3}, {&p.Readers, 6}, {&p.Writers, 6}} {
		if *d.n == 0 {
			*d.n = d.v
		}
	}
	for _, d := range []struct {
		n *time.Duration
		v time.Duration
	}{{&p.Pause, 8 * time.Millisecond}, {&p.ReadPause, 2 * time.Millisecond}, {&p.Load, 3 * time.Millisecond}, {&p.Commit, 1500 * time.Microsecond}, {&p.TTL, time.Minute}} {
		if *d.n == 0 {
			*d.n = d.v
		}
	}
	return p
}

// writeBudget is short where commands are lost.
func (p CollectionProfile) writeBudget() time.Duration {
	if p.Lost > 0 {
		return 2 * time.Second
	}
	return 30 * time.Second
}
