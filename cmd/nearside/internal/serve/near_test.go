package serve

import (
	"context"
	"io"
	"log/slog"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nearside/nearside"
	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/store/memory"

	"github.com/nearside/nearside/cmd/nearside/internal/pattern"
	"github.com/nearside/nearside/cmd/nearside/internal/respserver"
)

// From the socket to the socket a hit on what is kept near allocates nothing, an absence neither.
func TestNearHitsAllocateNothing(t *testing.T) {
	key, err := pattern.Parse("user:{id}", map[string]pattern.Type{"id": pattern.Int})
	if err != nil {
		t.Fatal(err)
	}
	service := New(clientOver(t, memory.New(memory.Options{})), slog.New(slog.DiscardHandler), []Spec{{
		Name: "user", Key: key, TTL: time.Hour, NotFoundTTL: time.Hour, LoadTimeout: eventually.Limit, MaxValue: 1 << 20, Near: 100,
		Load: func(_ context.Context, args []string) ([]byte, error) {
			if args[0] == "7" {
				return nil, nearside.ErrNotFound
			}
			return []byte(`{"id":42}`), nil
		},
	}})
	server := respserver.NewServer(respserver.Config{Handler: NewHandler(service, "", "", slog.New(slog.DiscardHandler), func() respserver.Stats { return respserver.Stats{} })})
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- server.Serve(ln) }()
	conn, err := net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		conn.Close()
		server.Shutdown(context.Background())
		if err := <-served; err != nil {
			t.Error(err)
		}
	}()
	pooled := testing.AllocsPerRun(100, func() {
		for range 16 {
			pool.Put(pool.Get())
		}
	})
	if pooled > 0 {
		t.Skip("the race detector has pools lose things on purpose")
	}
	for _, c := range []struct{ name, ask, want string }{
		{"a value", "*2\r\n$3\r\nGET\r\n$7\r\nuser:42\r\n", "$9\r\n{\"id\":42}\r\n"},
		{"an absence", "*2\r\n$3\r\nGET\r\n$6\r\nuser:7\r\n", "$-1\r\n"},
	} {
		const pipeline = 16
		ask, want := []byte(strings.Repeat(c.ask, pipeline)), strings.Repeat(c.want, pipeline)
		got := make([]byte, len(want))
		once := func() {
			if _, err := conn.Write(ask); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(conn, got); err != nil || string(got) != want {
				t.Fatalf("%s: got %q, %v", c.name, got, err)
			}
		}
		near := func() uint64 { return service.caches[0].Stats().Near }
		eventually.True(t, c.name+" comes from near", func() bool { // the tier begins after New
			before := near()
			once()
			return near() == before+pipeline
		})
		if n := testing.AllocsPerRun(1000, once); n > 0 {
			t.Errorf("%s: %v allocations for %d hits", c.name, n, pipeline)
		}
	}
}

var pool = sync.Pool{New: func() any { return new([64]byte) }}
