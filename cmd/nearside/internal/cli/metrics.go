package cli

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nearside/nearside/internal/build"
	"github.com/nearside/nearside/prom"

	"github.com/nearside/nearside/cmd/nearside/internal/limit"
	"github.com/nearside/nearside/cmd/nearside/internal/serve"
)

// scrapesAtOnce bounds what is answered to Prometheus at once; more are 503.
const scrapesAtOnce = 4

// metrics answers Prometheus: what the caches count, and what Go and the system know of the process.
func metrics(s *serve.Service, logger *slog.Logger, guesses func() uint64) http.Handler {
	r := prometheus.NewRegistry()
	version := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "nearside_build_info", Help: "1, with the version as a label."}, []string{"version"})
	version.WithLabelValues(build.Version()).Set(1)
	wrong := prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "nearside_wrong_passwords_total", Help: "Wrong passwords of clients, over both ports."}, func() float64 { return float64(guesses()) })
	r.MustRegister(prom.New(s), version, wrong, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesAtOnce, ErrorLog: scrapeLog{logger}, ErrorHandling: promhttp.ContinueOnError,
	})
}

// scrapeLog logs what goes wrong with an answer to Prometheus, unless the client has left or does not read: it may do so, for
// each of a hundred families.
type scrapeLog struct{ logger *slog.Logger }

func (l scrapeLog) Println(v ...any) {
	for _, e := range v {
		if err, ok := e.(error); ok {
			if net := (net.Error)(nil); errors.As(err, &net) {
				l.logger.Debug("an answer to Prometheus was not read", "error", err)
				return
			}
		}
	}
	l.logger.Warn(strings.TrimSpace(fmt.Sprintln(v...)))
}

// httpLog takes the lines of net/http: what clients do wrong, a failed handshake for each connection, is no news. Of what is, there
// is a line a minute, that counts the others.
type httpLog struct {
	logger *slog.Logger
	lines  limit.Lines
}

func (l *httpLog) Write(line []byte) (int, error) {
	level, suppressed := slog.LevelDebug, 0
	for _, news := range []string{"http: panic", "http: Accept error"} {
		if bytes.HasPrefix(line, []byte(news)) {
			var due bool
			if suppressed, due = l.lines.Due(news, time.Now()); due {
				level = slog.LevelWarn
			}
		}
	}
	logger := l.logger
	if suppressed > 0 {
		logger = logger.With("since_the_last", suppressed)
	}
	logger.Log(context.Background(), level, string(bytes.TrimSpace(line)))
	return len(line), nil
}
