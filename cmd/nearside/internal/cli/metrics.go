package cli

import (
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/nearside/nearside/prom"

	"github.com/nearside/nearside/cmd/nearside/internal/serve"
)

// scrapesAtOnce bounds what is answered to Prometheus at once; more are 503.
const scrapesAtOnce = 4

// metrics answers Prometheus: what the caches count, and what Go and the system know of the process.
func metrics(s *serve.Service, logger *slog.Logger) http.Handler {
	r := prometheus.NewRegistry()
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "nearside_build_info", Help: "1, with the version as a label."}, []string{"version"})
	build.WithLabelValues(version()).Set(1)
	r.MustRegister(prom.New(s), build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return promhttp.HandlerFor(r, promhttp.HandlerOpts{
		MaxRequestsInFlight: scrapesAtOnce, ErrorLog: slog.NewLogLogger(logger.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError,
	})
}
