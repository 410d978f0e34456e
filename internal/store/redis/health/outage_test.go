package health

import (
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// An outage of a second is one line, and its end another one. Shorter ones are one line a minute.
func TestOutagesInTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		o := outages{logger: slog.New(slog.NewTextHandler(&log, nil)), where: func() string { return "h:1" }}
		lasts := func(d time.Duration) {
			o.began(errors.New("why"))
			time.Sleep(d)
			synctest.Wait()
			o.over(d, 41)
		}
		said := func(want ...string) {
			t.Helper()
			o.mu.Lock()
			defer o.mu.Unlock()
			lines := strings.Split(strings.TrimSuffix(log.String(), "\n"), "\n")
			if log.Len() == 0 {
				lines = nil
			}
			log.Reset()
			if len(lines) != len(want) {
				t.Fatalf("want %d lines, got %q", len(want), lines)
			}
			for i, w := range want {
				if !strings.Contains(lines[i], w) || !strings.Contains(lines[i], "address=h:1") {
					t.Errorf("want %q in %s", w, lines[i])
				}
			}
		}
		lasts(3 * time.Second)
		said("redis unavailable: serving from the loader", `msg="redis back after 3.0s, 41 invalidations repeated"`)
		for range 20 {
			lasts(100 * time.Millisecond)
		}
		lasts(700 * time.Millisecond)
		said()
		time.Sleep(time.Minute)
		synctest.Wait()
		said("count=21 longest=700ms cause=why")
		time.Sleep(10 * time.Minute)
		said()
		lasts(100 * time.Millisecond)
		time.Sleep(30 * time.Second)
		lasts(2 * time.Second)
		said("redis unavailable", "redis back after 2.0s")
		o.end()
		said("count=1 longest=100ms")
		lasts(2 * time.Second)
		said()
	})
}
