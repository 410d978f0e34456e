// Command bench compares nearside with what a user would take instead, and shows how its cost grows.
//
//	go run .                        a few minutes, to see that all is well
//	go run . -full                  the figures of docs/benchmarks.md: half an hour, on a machine without other work
//	go run . -only near-hit,race    some scenarios of either
//	go run . -draw                  tables and plots again, from the results that are kept
//
// Run it in its folder, with GOWORK=off.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
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
		rounds = flag.Int("rounds", 0, "how often each layer is measured (3, or 5 with -full)")
		each   = flag.Duration("each", 0, "for how long (300ms, or 500ms with -full)")
		trace  = flag.String("trace", "", "file of the trace orm-busy, for the scenario of that name")
		reads  = flag.Int("reads", -1, "so many reads of the trace, 0 for all (100000, or 300000 with -full)")
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
	var failed []string
	for i, s := range scenarios {
		if draw {
			break
		}
		fmt.Fprintf(os.Stderr, "\n== %s (%d of %d)\n", s.Name, i+1, len(scenarios))
		var err error
		if len(scenarios) == 1 {
			err = measure(s, size, trace, docs, kept)
		} else {
			err = apart(s, size)
		}
		if err != nil {
			fmt.Fprintf(os.Stderr, "%s failed: %v\n", s.Name, err)
			failed = append(failed, s.Name)
		}
	}
	if docs != "" && os.Getenv(partOf) == "" {
		if err := write(docs, kept); err != nil {
			return err
		}
	}
	if len(failed) > 0 {
		return fmt.Errorf("failed: %s", strings.Join(failed, ", "))
	}
	return nil
}

// measure runs a scenario, prints its tables and keeps its results.
func measure(s scenario.Scenario, size scenario.Size, trace, docs, kept string) error {
	began := time.Now()
	var o *result.Outcome
	err := scenario.Outside(func(t testing.TB) {
		o = s.Do(t, size, trace, func(format string, args ...any) {
			fmt.Fprintf(os.Stderr, "%6.0fs %s: %s\n", time.Since(began).Seconds(), s.Name, fmt.Sprintf(format, args...))
		})
	})
	if err != nil || len(o.Points) == 0 { // a layer's failure is in its cells; this is a server that did not start
		return err
	}
	fmt.Println(section(s, o))
	if docs == "" {
		return nil
	}
	return o.Save(kept)
}

// partOf tells a process that it runs one scenario for another process, which writes the document.
const partOf = "NEARSIDE_BENCH_PART"

// apart runs a scenario in a process of its own: with a heap of its own, and if a peer brings it down, the others go on.
func apart(s scenario.Scenario, size scenario.Size) error {
	path, err := os.Executable()
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Minute+time.Duration(size.Rounds)*size.Each*600)
	defer cancel()
	cmd := exec.CommandContext(ctx, path, append(os.Args[1:len(os.Args):len(os.Args)], "-only", s.Name)...) // the last one counts
	cmd.Env = append(os.Environ(), partOf+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	err = cmd.Run()
	if ctx.Err() != nil {
		return fmt.Errorf("no end in time: %w", ctx.Err())
	}
	return err
}
