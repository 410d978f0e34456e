package redis_test

import (
	"context"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
	"github.com/nearside/nearside/internal/store"
	"github.com/nearside/nearside/internal/store/redis"
)

// degraded opens a store whose Redis is away.
func degraded(t *testing.T, url string) (*redis.Store, *buffer) {
	t.Helper()
	var log buffer
	began := time.Now()
	s, err := redis.Open(t.Context(), url, redis.Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
	if err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	t.Cleanup(s.Close)
	if took := time.Since(began); took > 4*time.Second {
		t.Errorf("%s: opened after %v, want 1 s at most", url, took)
	}
	for verb, err := range map[string]error{
		"get": s.Get(t.Context(), "a", true).Err, "get many": s.GetMany(t.Context(), []string{"a", "b"}, true)[1].Err,
		"inspect": s.Inspect(t.Context(), []string{"a"})[0].Err, "acquire": s.Acquire(t.Context(), []store.Claim{{Key: "a"}, {Key: "b"}})[1].Err,
		"invalidate": s.Invalidate(t.Context(), []string{"a", "b"}, 0)[1].Err, "ping": s.Ping(t.Context()),
	} {
		if !errors.Is(err, store.ErrAway) {
			t.Errorf("%s: got %v, want that it is away", verb, err)
		}
	}
	if _, err := s.Usage(t.Context()); !errors.Is(err, store.ErrAway) {
		t.Errorf("usage: %v", err)
	}
	s.CheckKeys(t.Context(), "user:*")
	eventually.True(t, "one line in", func() bool { return log.count(gone) == 1 }, &log)
	return s, &log
}

// stores and reads a value, however long it takes to come back.
func works(t *testing.T, s *redis.Store) {
	t.Helper()
	eventually.True(t, "a put", func() bool {
		return s.Put(t.Context(), []store.Put{{Key: "a", Value: []byte("1"), TTL: time.Minute}}, 0)[0].Err == nil
	})
	eventually.True(t, "a read", func() bool { return s.Get(t.Context(), "a", false).Found })
}

func TestStartsBeforeRedis(t *testing.T) {
	t.Run("refused", func(t *testing.T) {
		server := redistest.Start(t)
		server.Kill()
		s, log := degraded(t, server.URL())
		server.Restart(t)
		works(t, s)
		eventually.True(t, "one line in", func() bool { return log.count(back) == 1 }, log)
		if len(s.Problems()) > 0 {
			t.Errorf("problems: %q", s.Problems())
		}
	})
	t.Run("hangs", func(t *testing.T) {
		server := redistest.Start(t)
		server.Pause()
		s, _ := degraded(t, server.URL())
		server.Continue()
		works(t, s)
	})
	t.Run("unknown host", func(t *testing.T) { degraded(t, "redis://no-such-host.invalid") })
	t.Run("cluster", func(t *testing.T) {
		cluster := redistest.StartCluster(t, 3, 0)
		for _, n := range cluster.Nodes {
			n.Kill()
		}
		s, _ := degraded(t, cluster.URL())
		for _, n := range cluster.Nodes {
			n.Restart(t)
		}
		works(t, s)
		if n := len(s.Masters()); n != 3 {
			t.Errorf("%d masters, want 3", n)
		}
	})
	t.Run("slots that nobody serves", func(t *testing.T) {
		lonely := redistest.Start(t, "--cluster-enabled", "yes")
		s, _ := degraded(t, lonely.URL()+"?cluster=true")
		lonely.Do(t, "CLUSTER", "ADDSLOTSRANGE", "0", "16383")
		works(t, s)
	})
	t.Run("sentinels", func(t *testing.T) { degraded(t, "redis-sentinel://127.0.0.1:1/mymaster") })
}

// What waiting cannot heal is an error at the start, and a problem if it shows later.
func TestStartsWithAWrongPassword(t *testing.T) {
	server := redistest.Start(t, "--requirepass", "s3cret")
	url := "redis://:wr0ng@" + server.Addr
	if s, err := redis.Open(t.Context(), url, redis.Options{}); err == nil {
		s.Close()
		t.Error("no error for a wrong password")
	}
	server.Kill()
	s, log := degraded(t, url)
	server.Restart(t)
	eventually.True(t, "a problem in", func() bool {
		return strings.Contains(strings.Join(s.Problems(), "\n"), "check the user and the password")
	}, log)
	if log.count("check the user and the password") != 1 || strings.Contains(log.String(), "wr0ng") {
		t.Errorf("want it once, without the password, in\n%s", log)
	}
	if err := s.Get(t.Context(), "a", false).Err; !errors.Is(err, store.ErrAway) {
		t.Errorf("got %v", err)
	}
}

// Who requires Redis is told that it is away, within his own time; and so is who leaves.
func TestRequire(t *testing.T) {
	server := redistest.Start(t)
	server.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	answersWithin(t, 4*time.Second, func() {
		if _, err := redis.Open(ctx, server.URL(), redis.Options{Require: true}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v, want the deadline", err)
		}
	})
	server.Kill()
	if _, err := redis.Open(t.Context(), server.URL(), redis.Options{Require: true}); err == nil {
		t.Error("no error")
	}
}
