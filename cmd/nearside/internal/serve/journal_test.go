package serve

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nearside/nearside/internal/engine"
)

// A cause is logged once a minute, however often it comes, and many causes are bounded.
func TestJournal(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		j := &journal{logger: slog.New(slog.NewTextHandler(&out, nil)), seen: map[string]*cause{}}
		lines := func() int { return strings.Count(out.String(), "\n") }
		for i := range 100 {
			j.failed("load", "user", fmt.Sprint("user:", i), errors.New("gone"))
		}
		if lines() != 1 || !strings.Contains(out.String(), "key=user:0 error=gone") {
			t.Errorf("100 of one cause:\n%s", out.String())
		}
		j.failed("write", "user", "user:1", errors.New("gone"))
		j.failed("load", "user", "user:1", fmt.Errorf("user:1: %w", engine.ErrNotFound))
		j.failed("load", "user", "user:1", context.Canceled)
		if lines() != 2 {
			t.Errorf("another cause, and two that are none:\n%s", out.String())
		}
		time.Sleep(quiet)
		j.failed("load", "user", "user:7", errors.New("gone"))
		if lines() != 3 || !strings.Contains(out.String(), "since_the_last=99 cache=user key=user:7 error=gone") {
			t.Errorf("a minute later:\n%s", out.String())
		}
		for i := range 1000 {
			j.failed("load", "user", "user:1", fmt.Errorf("cause %d", i))
		}
		if n := lines(); n > 3+maxCauses || len(j.seen) > maxCauses {
			t.Errorf("%d lines, %d causes are kept", n, len(j.seen))
		}
		time.Sleep(quiet)
		out.Reset()
		if j.failed("load", "user", "user:1", errors.New("a new one")); lines() != 1 {
			t.Error("the old ones were not forgotten")
		}
	})
}
