package spelling

import "testing"

func TestNearest(t *testing.T) {
	t.Parallel()
	known := []string{"user", "orders", "product", "friends", "http", "load"}
	for name, want := range map[string]string{
		"usr": "user", "usre": "user", "order": "orders", "prodcut": "product", "lod": "load", "laod": "load",
		"xyzzy": "", "u": "", "": "", "ttl": "",
	} {
		if got := Nearest(name, known); got != want {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
}
