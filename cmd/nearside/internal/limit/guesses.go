package limit

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

const (
	guessPause = 250 * time.Millisecond // that the answer to a wrong password takes at least
	guessPace  = 10 * time.Millisecond  // between the answers to two of them, whoever sent them
	guessMost  = 2 * time.Second        // that one takes
	guessQuiet = time.Minute            // between two log lines
)

// Guesses slows, counts and logs wrong passwords. A right one never waits.
type Guesses struct {
	Logger *slog.Logger

	mu     sync.Mutex // guards the rest
	count  uint64
	next   time.Time // when the next answer is due
	logged time.Time
	since  uint64 // of count, when it was logged
}

// Wrong counts a wrong password, and returns when its answer is due or ctx ends.
func (g *Guesses) Wrong(ctx context.Context, from string) {
	pause := time.NewTimer(g.note(time.Now(), from))
	defer pause.Stop()
	select {
	case <-pause.C:
	case <-ctx.Done():
	}
}

func (g *Guesses) note(now time.Time, from string) time.Duration {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.count++
	if now.Sub(g.logged) >= guessQuiet {
		g.Logger.Warn("authentication failed: further failures are logged once a minute", "from", from, "since_the_last_line", g.count-g.since)
		g.logged, g.since = now, g.count
	}
	if g.next = g.next.Add(guessPace); g.next.Before(now) {
		g.next = now
	}
	if last := now.Add(guessMost); g.next.After(last) {
		g.next = last
	}
	return max(guessPause, g.next.Sub(now))
}

// Count returns how many there were.
func (g *Guesses) Count() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.count
}
