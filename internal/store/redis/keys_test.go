package redis

import (
	"math/rand/v2"
	"testing"

	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/seed"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis/topology"
)

func TestSidecar(t *testing.T) {
	for key, want := range map[string]string{
		"user:42": "{user:42}:~l", "{u}:42": "{u}:42:~l", "a{b}c": "a{b}c:~l", "a{b": "{a{b}:~l", "": "~l:{1bz}:", "u": "{u}:~l", "{a}": "~l:{" + topology.TagOf(topology.Slot("a")) + "}:{a}",
	} {
		if got := sidecar(key); got != want {
			t.Errorf("sidecar(%q) = %q, want %q", key, got, want)
		}
	}
}

// No two keys share a sidecar.
func TestSidecarsAreTheirKeysOwn(t *testing.T) {
	seen := make(map[string]string)
	letters := "{}a:"
	var try func(key string)
	try = func(key string) {
		if other, ok := seen[sidecar(key)]; ok {
			t.Errorf("%q and %q share the sidecar %q", key, other, sidecar(key))
		}
		seen[sidecar(key)] = key
		if len(key) < 6 {
			for _, l := range letters {
				try(key + string(l))
			}
		}
	}
	try("")
}

// The server's own word for the slot, from a server in cluster mode.
func TestSidecarIsInTheSlotOfItsKey(t *testing.T) {
	server := redistest.Start(t, "--cluster-enabled", "yes")
	slotOf := func(key string) int64 {
		n, err := server.Do(t, "CLUSTER", "KEYSLOT", key).AsInt64()
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if topology.Slot("123456789") != 12739 {
		t.Errorf("topology.Slot(123456789) = %d, want 12739", topology.Slot("123456789"))
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for range 3000 {
		key := make([]byte, 1+rng.IntN(8))
		for i := range key {
			key[i] = "{}ab:"[rng.IntN(5)]
		}
		if a, b := slotOf(string(key)), slotOf(sidecar(string(key))); a != b || a != int64(topology.Slot(string(key))) {
			t.Errorf("%q is in slot %d, its sidecar %q in %d; slot() says %d", key, a, sidecar(string(key)), b, topology.Slot(string(key)))
		}
	}
}

func FuzzSidecar(f *testing.F) {
	for _, s := range []string{"", "a", "{", "}", "{}", "{a}", "a}b{c}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, key string) {
		if topology.Slot(key) != topology.Slot(sidecar(key)) {
			t.Errorf("%q: slot %d, sidecar %q: slot %d", key, topology.Slot(key), sidecar(key), topology.Slot(sidecar(key)))
		}
	})
}

// A sweep finds the key of all that stands beside one, and takes no other name for one.
func TestKeyOf(t *testing.T) {
	const letters = "{}:~lab"
	rng := seed.Rand(t)
	for range 200_000 {
		b := make([]byte, rng.IntN(8))
		for i := range b {
			b[i] = letters[rng.IntN(len(letters))]
		}
		key := string(b)
		if store.CheckKey(key) != nil {
			continue
		}
		for _, name := range family(key)[1:] {
			if got, ok := keyOf(name); !ok || got != key || topology.Slot(name) != topology.Slot(key) {
				t.Fatalf("keyOf(%q) = %q, %v, want %q in the same slot", name, got, ok, key)
			}
		}
		if side := family(key)[1]; side != sidecar(key) {
			t.Fatalf("the sidecar of %q is %q and %q", key, side, sidecar(key))
		}
	}
	for _, name := range []string{"", "user:42", "{user:42}", "~l", ":~l", "{user:42}:~lx", "{user:42}:~x", "~x:{1bz}:", "~t:{0}:user:42", "~l:{0}:user:42", "~l:{", "~l:{1bz}"} {
		if key, ok := keyOf(name); ok {
			t.Errorf("%q is taken for the sidecar of %q", name, key)
		}
	}
}
