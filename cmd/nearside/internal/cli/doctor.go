package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/nearside/nearside/internal/check"
	"github.com/nearside/nearside/internal/human"
	"github.com/nearside/nearside/internal/store/redis/conn"

	"github.com/nearside/nearside/cmd/nearside/internal/ops"
)

type doctorCmd struct {
	Caches []string `arg:"" optional:"" help:"The caches whose keys are sampled; by serve all are, if none is named."`
	Target target   `embed:""`
}

// Help is shown by nearside doctor --help.
func (doctorCmd) Help() string {
	return "Status 0: nothing is to be mended. 1: there are findings. 3: Redis or serve does not answer."
}

// Run examines.
func (c *doctorCmd) Run(w *env) error {
	var report ops.Report
	err := c.Target.ask(w, func(ctx context.Context, o ops.Operator) (err error) {
		report, err = o.Doctor(ctx, c.Caches)
		return err
	})
	if errors.Is(err, conn.ErrDenied) { // it is what doctor looks for
		report, err = ops.Denied(err), nil
	}
	if err != nil {
		return err
	}
	if c.Target.JSON {
		err = document(w, struct {
			ops.Report
			Healthy bool `json:"healthy"`
		}{report, report.Healthy()})
	} else {
		prescribe(w, report)
	}
	if err == nil && !report.Healthy() {
		return exit{status: statusFailed}
	}
	return err
}

// marks begin the lines of a finding.
var marks = map[check.Level]struct{ mark, colour string }{
	check.Fail: {"✗", red}, check.Warn: {"!", yellow}, check.Skipped: {"-", dim}, check.OK: {"✓", green},
}

func prescribe(w *env, r ops.Report) {
	fmt.Fprint(w.out, w.wrapped("", 0, r.Source))
	for _, f := range r.Findings {
		m := marks[f.Level]
		var b strings.Builder
		b.WriteString(w.wrapped(w.paint(m.colour, m.mark)+" ", 2, plain(f.Text)))
		if f.Why != "" {
			b.WriteString(w.wrapped("  why: ", 7, plain(f.Why)))
		}
		if f.Fix != "" {
			b.WriteString(w.wrapped("  do:  ", 7, plain(f.Fix)))
		}
		fmt.Fprint(w.out, b.String())
	}
}

// plain is text from a server on one line, with nothing that a terminal would obey.
func plain(text string) string { return human.Text([]byte(strings.ReplaceAll(text, "\n", " "))) }
