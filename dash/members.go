package dash

import (
	"cmp"
	"errors"
	"net/http"
	"slices"
	"time"

	"github.com/nearside/nearside/fleet"
)

// member is a process as it is shown.
type member struct {
	fleet.Member
	Alive bool
	State string // in a word
	Ago   time.Duration
	Up    time.Duration
	Near  uint64 // bytes
	Count int    // caches
}

func seen(v *fleet.View, m fleet.Member) member {
	out := member{Member: m, Alive: m.Alive(v.At), Ago: v.At.Sub(m.Seen), Up: m.Seen.Sub(m.Started), Count: len(m.Caches)}
	switch {
	case out.Alive:
		out.State = "alive"
	case m.Ended:
		out.State = "ended"
	default:
		out.State = "silent"
	}
	for _, c := range m.Caches {
		out.Near += c.NearBytes
	}
	return out
}

func (h *Handler) members(r *http.Request) (*page, error) {
	p := &page{Title: "Members", Here: "members", Live: true, Caches: h.names()}
	v, err := h.watch.look()
	if errors.Is(err, errNoFleet) {
		p.add("nofleet", "card", nil)
		return p, nil
	}
	if v == nil {
		return nil, err
	}
	p.late(v, err)
	var all []member
	for _, m := range v.Members {
		all = append(all, seen(v, m))
	}
	slices.SortStableFunc(all, func(a, b member) int { return cmp.Compare(a.State, b.State) }) // those alive first
	p.add("members", "card", all)
	var drifts []drift
	for _, c := range v.Caches {
		if c.Drifts() {
			drifts = append(drifts, drift{c.Name, base(r), having(v, &c)})
		}
	}
	p.add("drifts", "card", drifts)
	return p, nil
}

// drift is a cache that processes run with different settings.
type drift struct {
	Cache, Base string
	Members     []holder
}

// holder is a process that has a cache.
type holder struct {
	member
	Cache fleet.MemberCache
	Odd   bool // its settings are not those of the most
}

// having returns the processes that have a cache, those alive first.
func having(v *fleet.View, c *fleet.Cache) (out []holder) {
	usual := ""
	for hash, ids := range c.Configs {
		if n := len(c.Configs[usual]); len(ids) > n || len(ids) == n && hash < usual {
			usual = hash
		}
	}
	for _, m := range v.Members {
		if own, ok := m.Caches[c.Name]; ok {
			one := holder{member: seen(v, m), Cache: own}
			one.Odd = one.Alive && own.Config != "" && own.Config != usual
			out = append(out, one)
		}
	}
	slices.SortStableFunc(out, func(a, b holder) int { return cmp.Compare(a.State, b.State) })
	return out
}
