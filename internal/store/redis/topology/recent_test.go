package topology

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

var allSlots = []Span{{First: 0, Last: Slots - 1}}

func TestRecentGivesBackWhatWasNoted(t *testing.T) {
	var r Recent
	all := []Touched{{Key: "user:1", Hold: 90 * time.Second}, {Key: "", Hold: 0}, {Key: "a\x00é", Kind: "list", Token: "t0123456789abcdef01234567"}}
	r.Add(len(all), func(i int) Touched { return all[i] })
	got, dropped := r.in(allSlots)
	if fmt.Sprint(got) != fmt.Sprint(all) || dropped {
		t.Errorf("got %v, %v", got, dropped)
	}
	if got, _ := r.in([]Span{{First: Slot("user:1"), Last: Slot("user:1")}}); len(got) != 1 || got[0] != all[0] {
		t.Errorf("of one slot: %v", got)
	}
	r.prune(time.Now().Add(-time.Minute))
	if got, _ := r.in(allSlots); len(got) != len(all) {
		t.Errorf("%d are left of what was noted now", len(got))
	}
	r.prune(time.Now().Add(time.Minute))
	if got, _ := r.in(allSlots); len(got) != 0 || r.n != 0 {
		t.Errorf("%d, %d are left", len(got), r.n)
	}
}

func TestRecentForgetsTheOldestFirst(t *testing.T) {
	var r Recent
	const n = recentMax + 50_000
	key := func(i int) string { return fmt.Sprintf("user:%07d", i) }
	for i := range n {
		r.Add(1, func(int) Touched { return Touched{Key: key(i)} })
	}
	got, dropped := r.in(allSlots)
	if len(got) > recentMax || len(got) < recentMax*9/10 || !dropped {
		t.Fatalf("%d are remembered, dropped %v", len(got), dropped)
	}
	for i, g := range got {
		if want := key(n - len(got) + i); g.Key != want {
			t.Fatalf("%d: %s, want %s", i, g.Key, want)
		}
	}
	if _, dropped = r.in(allSlots); dropped {
		t.Error("what was said once is said again")
	}
}

// However long keys are, and however long nothing is pruned, what is remembered has a bound in bytes.
func TestRecentIsBoundedInBytes(t *testing.T) {
	var r Recent
	long := strings.Repeat("x", 64<<10)
	for n := range 20 {
		r.Add(100, func(i int) Touched { return Touched{Key: fmt.Sprint(n, ":", i, long)} })
	}
	got, dropped := r.in(allSlots)
	held := 0
	for i := range r.pages {
		held += cap(r.pages[i].bytes)
	}
	if held > recentBytes || held != r.bytes || len(got) < recentBytes/(2<<16) || !dropped {
		t.Errorf("%d keys in %d bytes (%d by account), want at most %d; dropped %v", len(got), held, r.bytes, recentBytes, dropped)
	}
	r.prune(time.Now().Add(time.Minute))
	if r.bytes != 0 || r.n != 0 {
		t.Errorf("%d bytes of %d keys are left of nothing", r.bytes, r.n)
	}
	r.Add(5000, func(i int) Touched { return Touched{Key: fmt.Sprint(i, long)} }) // at once
	if r.bytes > recentBytes {
		t.Errorf("%d bytes", r.bytes)
	}
}
