package redis

import "testing"

// What PTTL says before and behind an empty answer, and whether the collection was there in between.
func TestStood(t *testing.T) {
	for _, c := range []struct {
		what     string
		was, now int64
		want     bool
	}{
		{"its life goes down", 1000, 999, true},
		{"it has no end", -1, -1, true},
		{"it is not there", -2, -2, false},
		{"it ended", 1, -2, false},
		{"a load ended", -2, 60000, false},
		{"it ended, and a load did", 1, 60000, false},
		{"somebody's own came", 1000, -1, false},
		{"somebody's own was replaced", -1, 60000, false},
	} {
		if got := stood(c.was, c.now); got != c.want {
			t.Errorf("%s: got %v, want %v", c.what, got, c.want)
		}
	}
}
