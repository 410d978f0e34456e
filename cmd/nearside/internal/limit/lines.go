package limit

import (
	"sync"
	"time"
)

const (
	quiet    = time.Minute // between two lines about one cause
	maxLines = 64          // causes that are distinguished; others share a line
)

// Lines bounds log lines: one about each cause, and then one a minute that counts the others. A cause is a few words that a
// client has no influence on.
type Lines struct {
	mu   sync.Mutex // guards seen
	seen map[string]*line
}

type line struct {
	at   time.Time // of the last one
	more int       // that were not written since then
}

// others is the cause of what is not distinguished any more.
const others = "others"

// Due reports whether a line about a cause is to be written now, and how many were not written since the last one. Where there
// are too many causes, the rest share one, so that nothing is dropped without being counted.
func (l *Lines) Due(cause string, now time.Time) (suppressed int, due bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = make(map[string]*line)
	}
	if l.seen[cause] == nil && len(l.seen) >= maxLines {
		for c, old := range l.seen {
			if now.Sub(old.at) >= quiet && old.more == 0 {
				delete(l.seen, c)
			}
		}
		if len(l.seen) >= maxLines {
			cause = others
		}
	}
	one := l.seen[cause]
	switch {
	case one == nil:
		l.seen[cause] = &line{at: now}
		return 0, true
	case now.Sub(one.at) < quiet:
		one.more++
		return 0, false
	}
	suppressed, one.more, one.at = one.more, 0, now
	return suppressed, true
}
