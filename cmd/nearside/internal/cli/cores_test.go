package cli

import (
	"runtime"
	"testing"

	"github.com/nearside/nearside/internal/store/redis/redisurl"
)

func TestLeaveACore(t *testing.T) {
	before := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(before)
	less := max(1, runtime.NumCPU()-1)
	for _, c := range []struct {
		url, env string
		want     int
	}{
		{"redis://127.0.0.1:6379", "", less}, {"redis://localhost", "", less}, {"redis://[::1]:1", "", less}, {"unix:///run/redis.sock", "", less},
		{"redis://127.0.0.1:6379", "7", before}, {"redis://10.0.0.1", "", before}, {"redis://example.com", "", before},
		{"redis://127.0.0.1:1,127.0.0.1:2?cluster=true", "", before},
	} {
		runtime.GOMAXPROCS(before)
		to, err := redisurl.Parse(c.url)
		if err != nil {
			t.Fatal(err)
		}
		cores, left := leaveACore(to, func(string) string { return c.env })
		if left != (c.want < before) || cores != c.want {
			t.Errorf("%s, GOMAXPROCS=%q: says %d cores, changed %v", c.url, c.env, cores, left)
		}
		if runtime.GOMAXPROCS(0) != c.want {
			t.Errorf("%s, GOMAXPROCS=%q: %d cores, want %d", c.url, c.env, runtime.GOMAXPROCS(0), c.want)
		}
	}
}
