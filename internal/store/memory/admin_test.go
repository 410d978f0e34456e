package memory

import (
	"testing"
	"time"

	"github.com/nearside/nearside/internal/store"
)

func TestAdmin(t *testing.T) {
	t.Parallel()
	s := New(Options{MaxBytes: 1 << 20})
	defer s.Close()
	ctx := t.Context()
	s.Put(ctx, []store.Put{{Key: "user:1", Value: []byte("hello"), TTL: time.Minute}, {Key: "user:2", Value: []byte("x"), TTL: time.Minute}, {Key: "o:1", Value: []byte("x"), TTL: time.Minute}}, 0)
	s.Acquire(ctx, []store.Claim{{Key: "user:3", Token: store.NewToken(), Lease: time.Minute}})
	n := s.Server(ctx).Nodes[0]
	if n.Err != nil || n.Keys != 3 || n.Used <= 0 || n.Max != 1<<20 || n.Role != "master" {
		t.Errorf("got %+v", n)
	}
	var found []string
	w, err := s.Keys(ctx, "user:*", func(key string) bool { return key != "user:2" }, func(key string) bool { found = append(found, key); return true })
	if err != nil || !w.All || w.Looked != 3 || len(found) != 1 || found[0] != "user:1" {
		t.Errorf("got %v, %+v, %v", found, w, err)
	}
	if d := s.Describe(ctx, []string{"user:1", "user:3"}); d[0].Type != "string" || d[0].Length != 5 || d[0].Bytes < 5 || d[1].Type != "none" || d[1].Bytes != store.Unknown {
		t.Errorf("got %+v", d)
	}
	if it := s.Head(ctx, "user:1", 3); !it.Found || string(it.Value) != "hel" {
		t.Errorf("got %+v", it)
	}
	for key, want := range map[string]string{"user:1": "", "user:3": "load"} {
		if g, err := s.Beside(ctx, key); err != nil || g.State != want {
			t.Errorf("%s: got %+v, %v, want %q", key, g, err, want)
		}
	}
}
