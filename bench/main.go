// Command bench compares nearside with what a user would take instead, and shows how its cost grows.
//
//	go run .                        a few minutes, to see that all is well
//	go run . -full                  the figures of docs/benchmarks.md: hours, on a machine without other work
//	go run . -only near-hit,race    some scenarios of either
//	go run . -draw                  tables and plots again, from the results that are kept
//
// Run it in its folder, with GOWORK=off.
package main

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nearside/nearside/bench/result"
	"github.com/nearside/nearside/bench/scenario"
)

func main() {
	scenario.Child()
	var (
		full   = flag.Bool("full", false, "the long pass")
		only   = flag.String("only", "", "scenarios, separated by commas: "+names())
		rounds = flag.Int("rounds", 0, "how often each layer is measured (3, or 7 with -full)")
		each   = flag.Duration("each", 0, "for how long (300ms, or 2s with -full)")
		trace  = flag.String("trace", "", "file of the trace orm-busy, for the scenario of that name")
		reads  = flag.Int("reads", -1, "so many reads of the trace, 0 for all (100000, or 1000000 with -full)")
		docs   = flag.String("docs", "", "folder of the documents, in which tables, plots and results are written; empty: tables are printed, no more")
		draw   = flag.Bool("draw", false, "measure nothing; write tables and plots from the results in -docs")
	)
	flag.Parse()
	size := scenario.Short
	if *full {
		size = scenario.Full
	}
	if *rounds > 0 {
		size.Rounds = *rounds
	}
	if *each > 0 {
		size.Each = *each
	}
	if *reads >= 0 {
		size.Trace = *reads
	}
	if err := run(chosen(*only), size, *trace, *docs, *draw); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func names() string {
	var ns []string
	for _, s := range scenario.All {
		ns = append(ns, s.Name)
	}
	return strings.Join(ns, ",")
}

func chosen(only string) (out []scenario.Scenario) {
	if only == "" {
		return scenario.All
	}
	for name := range strings.SplitSeq(only, ",") {
		i := slices.IndexFunc(scenario.All, func(s scenario.Scenario) bool { return s.Name == name })
		if i < 0 {
			fmt.Fprintf(os.Stderr, "bench: no scenario %q: there are %s\n", name, names())
			os.Exit(2)
		}
		out = append(out, scenario.All[i])
	}
	return out
}

func run(scenarios []scenario.Scenario, size scenario.Size, trace, docs string, draw bool) error {
	kept := filepath.Join(docs, "bench")
	failed := 0
	for i, s := range scenarios {
		if draw {
			break
		}
		began := time.Now()
		fmt.Fprintf(os.Stderr, "\n== %s (%d of %d)\n", s.Name, i+1, len(scenarios))
		var o *result.Outcome
		err := scenario.Outside(func(t testing.TB) {
			o = s.Do(t, size, trace, func(format string, args ...any) {
				fmt.Fprintf(os.Stderr, "%6.0fs %s: %s\n", time.Since(began).Seconds(), s.Name, fmt.Sprintf(format, args...))
			})
		})
		if err != nil { // no layer's failure: a server did not start
			fmt.Fprintf(os.Stderr, "%s failed: %v\n", s.Name, err)
			failed++
			continue
		}
		if len(o.Points) == 0 {
			continue // left out
		}
		fmt.Println(section(s, o))
		if docs != "" {
			if err := o.Save(kept); err != nil {
				return err
			}
		}
	}
	if docs != "" {
		if err := write(docs, kept); err != nil {
			return err
		}
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d scenarios failed", failed, len(scenarios))
	}
	return nil
}
