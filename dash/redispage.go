package dash

import (
	"fmt"
	"net/http"
	"strings"

	"github.com/nearside/nearside"
)

// strip is the servers in one line each.
type strip struct {
	nearside.ServerInfo
	Servers []server
	Pending int // invalidations that could not be delivered yet
	Base    string
	Why     string // something is wrong with the cluster
}

// server is a server and what is to be thought of its numbers.
type server struct {
	nearside.NodeInfo
	Full     float64 // of its memory; 0 if there is no bound
	Evicting float64 // keys per second
	Known    bool    // Evicting is
	Notes    []note
}

// HitShare is the share of reads that found something.
func (s server) HitShare() float64 { return float64(s.Hits) / float64(s.Hits+s.Misses) }

type note struct{ Word, Text string }

func (h *Handler) strip(base string) strip {
	all := h.watch.servers()
	s := strip{ServerInfo: all.ServerInfo, Base: base, Pending: h.inside.Shared.Recovery().Pending}
	for _, n := range all.Nodes {
		one := server{NodeInfo: n}
		one.Evicting, one.Known = all.evicting[n.Address]
		if n.Max > 0 {
			one.Full = min(float64(n.Used)/float64(n.Max), 1)
		}
		one.Notes = notes(&one)
		s.Servers = append(s.Servers, one)
	}
	if all.ClusterState != "" && all.ClusterState != "ok" {
		s.Why = fmt.Sprintf("the cluster is in state %q: %d of 16384 slots assigned, %d failing", all.ClusterState, all.SlotsAssigned, all.SlotsFailing)
	}
	return s
}

// notes say what is wrong with a server as a cache, and the command that mends it.
func notes(s *server) (out []note) {
	add := func(word, text string) { out = append(out, note{word, text}) }
	if s.Err != nil || s.Software == "nearside" || s.Role == "replica" {
		return nil
	}
	if s.Max == 0 {
		add("no bound", "maxmemory is 0: it grows until the system ends it. CONFIG SET maxmemory 2gb")
	}
	if s.Policy == "noeviction" && s.Max > 0 {
		add("noeviction", "writes fail when memory is full. For a cache: CONFIG SET maxmemory-policy allkeys-lfu; sessions want noeviction, on a Redis of their own")
	} else if strings.HasPrefix(s.Policy, "volatile-") {
		add(s.Policy, "keys without a TTL are never evicted")
	}
	if s.Known && s.Evicting > 0 {
		add("evicting", "memory is too small for the TTLs: raise maxmemory, or shorten TTLs")
	}
	if s.Fragmentation > 1.5 && s.Used > 1<<30 {
		add("fragmented", "CONFIG SET activedefrag yes")
	}
	if s.Rejected > 0 {
		add("rejected", fmt.Sprintf("%d connections since its start: raise maxclients", s.Rejected))
	}
	if s.Loading {
		add("loading", "it reads its data from disk, and answers nothing yet")
	}
	return out
}

func (h *Handler) redis(r *http.Request) (*page, error) {
	p := &page{Title: "Redis", Here: "redis", Live: true, Caches: h.names()}
	s := h.strip(base(r))
	p.add("strip", "card", s)
	p.add("servers", "card", s)
	return p, nil
}
