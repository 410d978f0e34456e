package scenario_test

import (
	"slices"
	"testing"

	"github.com/nearside/nearside/bench/scenario"
)

func TestOutside(t *testing.T) {
	var done []int
	err := scenario.Outside(func(t testing.TB) {
		t.Cleanup(func() { done = append(done, 1) })
		t.Cleanup(func() { done = append(done, 2) })
		t.Fatalf("no server: %d", 42)
		done = append(done, 3)
	})
	if err == nil || err.Error() != "no server: 42" {
		t.Errorf("got %v, want what Fatalf was told", err)
	}
	if want := []int{2, 1}; !slices.Equal(done, want) {
		t.Errorf("did %v, want %v: the cleanups, the last first", done, want)
	}
	if err := scenario.Outside(func(testing.TB) {}); err != nil {
		t.Error(err)
	}
}
