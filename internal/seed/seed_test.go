package seed_test

import (
	"math/rand/v2"
	"slices"
	"sync"
	"testing"

	"github.com/nearside/nearside/internal/seed"
)

func numbers(r *rand.Rand) (out []uint64) {
	for range 5 {
		out = append(out, r.Uint64())
	}
	return out
}

// again is the same test, run once more.
type again struct{ testing.TB }

func TestSeedIsRepeated(t *testing.T) {
	t.Setenv(seed.Env, "42")
	a, b := seed.Rand(&again{t}), seed.Rand(&again{t})
	if x, y := numbers(a), numbers(b); !slices.Equal(x, y) {
		t.Errorf("got %v, then %v", x, y)
	}
	if x, y := numbers(seed.Split(a)), numbers(seed.Split(b)); !slices.Equal(x, y) {
		t.Errorf("split: got %v, then %v", x, y)
	}
	if x, y := numbers(seed.Rand(t)), numbers(seed.Rand(t)); slices.Equal(x, y) {
		t.Errorf("two calls in a test return the same: %v", x)
	}
	t.Run("another name", func(u *testing.T) {
		if x, y := numbers(seed.Rand(&again{t})), numbers(seed.Rand(u)); slices.Equal(x, y) {
			t.Errorf("two tests have the same: %v", x)
		}
	})
	t.Setenv(seed.Env, "")
	if x, y := numbers(seed.Rand(&again{t})), numbers(seed.Rand(&again{t})); slices.Equal(x, y) {
		t.Errorf("without a seed, the same twice: %v", x)
	}
}

func TestLocked(t *testing.T) {
	r := seed.Locked(seed.Rand(t))
	var all sync.WaitGroup
	for range 4 {
		all.Go(func() { numbers(r) })
	}
	all.Wait()
}
