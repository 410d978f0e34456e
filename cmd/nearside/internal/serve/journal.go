package serve

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/nearside/nearside/internal/engine"
)

const (
	quiet     = time.Minute // between two lines about one cause
	maxCauses = 32          // that are told apart; one more is silent until some are old
)

// journal logs what clients are told of failed loads and writes: each cause once, and then once a minute. A database that is
// gone fails every load, and a line for each would hide all else.
type journal struct {
	logger *slog.Logger

	mu   sync.Mutex // guards seen
	seen map[string]*cause
}

type cause struct {
	at   time.Time // of its last line
	more int       // of them since then
}

// failed logs why a load or a write failed, unless the error is an answer or comes of our own end.
func (j *journal) failed(what, cache, key string, err error) {
	if err == nil || errors.Is(err, engine.ErrNotFound) || errors.Is(err, context.Canceled) {
		return
	}
	if more, due := j.due(what+" "+cache+" "+err.Error(), time.Now()); due {
		logger := j.logger
		if more > 0 {
			logger = logger.With("since_the_last", more)
		}
		logger.Warn("a "+what+" failed", "cache", cache, "key", key, "error", err)
	}
}

// due reports whether a cause is to be logged, and how often it was not since the last time.
func (j *journal) due(text string, now time.Time) (more int, due bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	c := j.seen[text]
	switch {
	case c == nil:
		if len(j.seen) >= maxCauses {
			for t, old := range j.seen {
				if now.Sub(old.at) >= quiet {
					delete(j.seen, t)
				}
			}
		}
		if len(j.seen) >= maxCauses {
			return 0, false
		}
		j.seen[text] = &cause{at: now}
		return 0, true
	case now.Sub(c.at) < quiet:
		c.more++
		return 0, false
	}
	more, c.more, c.at = c.more, 0, now
	return more, true
}
