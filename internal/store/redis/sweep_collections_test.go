package redis

import (
	"fmt"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
)

// An update that began before a sweep is not applied to what is loaded behind it, whether there was a collection or not; nor
// is a load filled that was under way.
func TestSweepOfCollections(t *testing.T) {
	server := redistest.Shared(t)
	server.Do(t, "FLUSHALL")
	s, ctx := opened(t, server.URL()), t.Context()
	load := func(key, token string) bool {
		g := s.Acquire(ctx, []store.Claim{{Key: key, Kind: store.Set, Token: token, Lease: time.Minute}})[0]
		return g.State == store.Granted && s.Chunk(ctx, store.Chunk{Key: key, Kind: store.Set, Token: token, Elements: []store.Element{{Member: "a"}}}).OK &&
			s.Fill(ctx, []store.Fill{{Key: key, Kind: store.Set, Token: token, TTL: time.Minute}})[0].OK
	}
	begin := func(key string) {
		s.BeginMember(ctx, store.MemberIntent{Key: key, Kind: store.Set, Member: "b", Order: store.Alone, Token: "w1", Life: time.Minute, Lease: time.Minute})
	}
	for i := range 3 {
		if key := fmt.Sprint("friends:", i); i > 0 && !load(key, "t1") {
			t.Fatal("not loaded")
		} else if begin(key); i == 2 {
			s.Invalidate(ctx, []string{key}, 0) // the intent without its cluster
		}
	}
	s.Acquire(ctx, []store.Claim{{Key: "friends:3", Kind: store.Set, Token: "t1", Lease: time.Minute}})
	if err := s.Sweep(ctx, "friends:*", nil); err != nil {
		t.Fatal(err)
	}
	if s.Fill(ctx, []store.Fill{{Key: "friends:3", Kind: store.Set, Token: "t1", TTL: time.Minute}})[0].OK {
		t.Error("a load from before the sweep was filled")
	}
	for i := range 3 {
		key := fmt.Sprint("friends:", i)
		if n, _ := server.Do(t, "EXISTS", key, family(key)[5]).AsInt64(); n != 0 {
			t.Errorf("%s: %d of the collection and its members are left", key, n)
		}
		if !load(key, "t2") {
			t.Errorf("%s: not loaded behind the sweep", key)
		}
		e := s.EndMember(ctx, store.MemberEnd{Change: store.Change{Key: key, Kind: store.Set, Op: store.Add, Element: store.Element{Member: "b"}}, Member: "b", Token: "w1"})
		if e.Applied || e.Err != nil {
			t.Errorf("%s: %+v", key, e)
		}
		if v := s.Query(ctx, []store.Query{{Key: key, Kind: store.Set}})[0]; v.Found {
			t.Errorf("%s: it shows %+v", key, v)
		}
	}
}
