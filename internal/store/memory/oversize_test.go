package memory_test

import (
	"testing"
	"time"

	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/memory"
)

// A value larger than the bound goes at once, and takes nothing with it but itself: what stands beside it stays.
func TestOversize(t *testing.T) {
	s := memory.New(memory.Options{MaxBytes: 1 << 20})
	defer s.Close()
	ctx := t.Context()
	put(t, s, "small", []byte("1"), time.Hour)
	s.Begin(ctx, []store.Intent{{Key: "huge", Token: "w1", Life: time.Hour}})
	put(t, s, "huge", make([]byte, 2<<20), time.Hour)
	if s.Get(ctx, "huge", false).Found {
		t.Error("a value larger than the bound is kept")
	}
	if g := s.Acquire(ctx, []store.Claim{{Key: "huge", Token: "t1", Lease: time.Hour}})[0]; g.State != store.Barrier {
		t.Errorf("its intent went with it: %v", g.State)
	}
	if !s.Get(ctx, "small", false).Found {
		t.Error("another value made room for it")
	}
}
