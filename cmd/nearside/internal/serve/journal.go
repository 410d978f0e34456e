package serve

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/nearside/nearside"

	"github.com/nearside/nearside/cmd/nearside/internal/limit"
	"github.com/nearside/nearside/cmd/nearside/internal/source"
)

// journal logs why loads and writes fail: one line for each operation, cache and kind of failure, and then one a minute with how
// many there were. A database that is gone fails every load, and a line for each would hide all else. What clients do wrong is
// no failure of the service: it is logged at debug level alone, without their values.
type journal struct {
	logger *slog.Logger
	lines  limit.Lines
	lost   limit.Lines // of a database that does not answer: other lines do not take its place
}

const maxText = 300 // bytes of an error in a line

// failed logs why a load or a write failed, unless the error is an answer or comes of our own end.
func (j *journal) failed(what, cache, key string, err error) {
	if err == nil || errors.Is(err, nearside.ErrNotFound) || errors.Is(err, context.Canceled) {
		return
	}
	kind := source.Cause(err)
	text, lines, operation := "a "+what+" failed", &j.lines, what+" "+cache
	switch {
	case errors.Is(err, nearside.ErrUnavailable): // the guard of the store logs that it is unavailable
		lines, operation, kind, text = &j.lost, what, "invalidation deferred", "a "+what+" reached the database, and its invalidation is deferred until the store answers"
	case kind == source.Connection:
		lines, operation = &j.lost, what
	case kind == source.Refused && what == "write":
		j.logger.Debug("a write was refused", "cache", cache)
		return
	}
	if suppressed, due := lines.Due(operation+" "+kind, time.Now()); due {
		logger := j.logger
		if suppressed > 0 {
			logger = logger.With("since_the_last", suppressed)
		}
		says := err.Error()
		if len(says) > maxText {
			says = says[:maxText] + "..."
		}
		logger.Warn(text, "cache", cache, "key", key, "error", says)
	}
}
