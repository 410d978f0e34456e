package main

import (
	"fmt"
	"maps"
	"path/filepath"
	"strings"

	"github.com/nearside/nearside/bench/layer"
	"github.com/nearside/nearside/bench/result"
	"github.com/nearside/nearside/bench/scenario"
)

// section is what the document says of one outcome.
func section(s scenario.Scenario, o *result.Outcome) string {
	var b strings.Builder
	fmt.Fprintf(&b, "### %s\n\n%s\n\n", s.Title, o.Text)
	for _, t := range s.Tables {
		b.WriteString(t.Markdown(o) + "\n")
	}
	if o.Machine.Busy() {
		b.WriteString("**Beside other work on the machine: times and throughputs are not good enough to judge by.**\n\n")
	}
	rounds := "rounds"
	if o.Rounds == 1 {
		rounds = "round"
	}
	fmt.Fprintf(&b, "`-only %s`; %d %s, %s. %s.\n", s.Name, o.Rounds, rounds, o.Took, o.Machine)
	return b.String()
}

// write writes all outcomes that are kept into the document, and draws their plots.
func write(docs, kept string) error {
	var b strings.Builder
	b.WriteString("What stands up to the end of this part is written by `make bench-full` (the program in `bench/`), from the results in `docs/bench/`. Figures are medians over the rounds, in which the " +
		"layers take turns, and ratios are medians of the ratios of each round: compare what stands in one table, since days and machines differ. `make bench` is a short pass, " +
		"and `cd bench && GOWORK=off go run . -full -docs ../docs -only NAME` repeats one table.\n\n")
	versions := map[string]string{}
	var sections strings.Builder
	for _, s := range scenario.All {
		o, err := result.Load(kept, s.Name)
		if err != nil {
			return err
		}
		if o == nil {
			continue
		}
		maps.Copy(versions, o.Versions)
		sections.WriteString(section(s, o) + "\n")
		for _, p := range s.Plots {
			drawn, err := p.Draw(o, kept)
			if err != nil {
				return err
			}
			if drawn {
				fmt.Fprintf(&sections, "![%s](bench/%s.svg)\n", p.Title, p.Name)
			}
		}
		sections.WriteString("\n")
	}
	b.WriteString("### What is compared\n\nEach as its documentation recommends, with the JSON codec wherever it can be chosen.\n\n| | module | what a reader should know |\n|---|---|---|\n")
	for _, k := range layer.Kinds {
		module := strings.TrimPrefix(k.Module, "github.com/") + " " + versions[k.Module]
		if k.Module == layer.OwnModule {
			module = "this one"
		}
		fmt.Fprintf(&b, "| %s | %s | %s |\n", k.Name, strings.TrimSpace(module), k.Note)
	}
	b.WriteString("\n" + sections.String())
	return result.Replace(filepath.Join(docs, "benchmarks.md"), b.String())
}
