package redis

import (
	"fmt"
	"testing"
	"time"
)

var allSlots = []span{{first: 0, last: 16383}}

func TestRecentGivesBackWhatWasNoted(t *testing.T) {
	var r recent
	all := []touched{{key: "user:1", hold: 90 * time.Second}, {key: "", hold: 0}, {key: "a\x00é", kind: "list", token: "t0123456789abcdef01234567"}}
	r.add(len(all), func(i int) touched { return all[i] })
	got, dropped := r.in(allSlots)
	if fmt.Sprint(got) != fmt.Sprint(all) || dropped {
		t.Errorf("got %v, %v", got, dropped)
	}
	if got, _ := r.in([]span{{first: Slot("user:1"), last: Slot("user:1")}}); len(got) != 1 || got[0] != all[0] {
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
	var r recent
	const n = recentMax + 50_000
	key := func(i int) string { return fmt.Sprintf("user:%07d", i) }
	for i := range n {
		r.add(1, func(int) touched { return touched{key: key(i)} })
	}
	got, dropped := r.in(allSlots)
	if len(got) > recentMax || len(got) < recentMax*9/10 || !dropped {
		t.Fatalf("%d are remembered, dropped %v", len(got), dropped)
	}
	for i, g := range got {
		if want := key(n - len(got) + i); g.key != want {
			t.Fatalf("%d: %s, want %s", i, g.key, want)
		}
	}
	if _, dropped = r.in(allSlots); dropped {
		t.Error("what was said once is said again")
	}
}
