package dash

import (
	"net/http"

	"github.com/nearside/nearside/internal/check"
	"github.com/nearside/nearside/internal/store"
)

// strip is the servers in one line each.
type strip struct {
	store.ServerInfo
	Servers  []server
	Pending  int // invalidations that could not be delivered yet
	Base     string
	Findings []check.Finding // what is to be mended
}

// server is a server and what follows from its numbers.
type server struct {
	store.NodeInfo
	Full     float64 // of its memory; 0 if there is no bound
	Evicting float64 // keys per second
	Known    bool    // Evicting is
}

// HitShare is the share of reads that found something.
func (s server) HitShare() float64 { return float64(s.Hits) / float64(s.Hits+s.Misses) }

func (h *Handler) strip(base string) strip {
	all := h.watch.servers()
	s := strip{ServerInfo: all.After, Base: base, Pending: h.inside.Shared.Recovery().Pending}
	for _, n := range all.After.Nodes {
		one := server{NodeInfo: n}
		one.Evicting, one.Known = all.evicting[n.Address]
		if n.Max > 0 {
			one.Full = min(float64(n.Used)/float64(n.Max), 1)
		}
		s.Servers = append(s.Servers, one)
	}
	for _, f := range all.Check() {
		if f.Bad() {
			s.Findings = append(s.Findings, f)
		}
	}
	return s
}

func (h *Handler) redis(r *http.Request) (*page, error) {
	p := &page{Title: "Redis", Here: "redis", Live: true, Caches: h.names()}
	s := h.strip(base(r))
	p.add("strip", "card", s)
	p.add("servers", "card", s)
	return p, nil
}
