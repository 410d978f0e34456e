package cli

import (
	"testing"
	"time"

	"github.com/nearside/nearside/fleet"
	"github.com/nearside/nearside/internal/build"
	"github.com/nearside/nearside/internal/fleetstats"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store/redis"
)

// serve tells the fleet of itself and its caches, and a last time when it ends.
func TestServeReports(t *testing.T) {
	server := redistest.Start(t)
	r := start(t, serveCmd{Redis: server.URL()}, nil)
	if err := r.end(); err != nil {
		t.Fatal(err)
	}
	s, err := redis.Open(t.Context(), server.URL(), redis.Options{Require: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	v, err := fleetstats.NewReader(s).Read(t.Context(), fleet.Query{Back: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Members) != 1 || !v.Members[0].Ended || v.Members[0].Version != build.Version() || len(v.Members[0].Caches) != len(v.Names) || len(v.Names) == 0 {
		t.Errorf("the members are %+v, the caches %q", v.Members, v.Names)
	}
	server.Invariants(t, "user:", "product:", "~l:")
}
