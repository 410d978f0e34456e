package redistest_test

import (
	"fmt"
	"os"
	"testing"

	"github.com/redis/rueidis"
	"go.uber.org/goleak"

	"github.com/nearside/nearside/internal/redistest"
)

func TestMain(m *testing.M) {
	status := redistest.Main(m)
	if err := goleak.Find(); err != nil && status == 0 {
		fmt.Fprintln(os.Stderr, err)
		status = 1
	}
	os.Exit(status)
}

// text is what a command answers with.
func text(t *testing.T, m *rueidis.RedisMessage) string {
	t.Helper()
	s, err := m.ToString()
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestServer(t *testing.T) {
	s := redistest.Start(t, "--requirepass", "s3cret")
	s.Do(t, "SET", "a", "1", "EX", "100")
	s.Invariants(t, "a")
	addr := s.Addr
	s.Restart(t)
	if s.Addr != addr {
		t.Fatalf("%s after a restart, before it %s", s.Addr, addr)
	}
	if n, _ := s.Do(t, "DBSIZE").AsInt64(); n != 0 {
		t.Fatalf("%d keys after a restart", n)
	}
	kept := redistest.Start(t, "--appendonly", "yes", "--appendfsync", "always")
	kept.Do(t, "SET", "a", "1")
	kept.Kill()
	kept.Restart(t)
	if got := text(t, kept.Do(t, "GET", "a")); got != "1" {
		t.Fatalf("GET after a restart with an append-only file: %q", got)
	}
}
