// Command lint is the vet tool of this repository: staticcheck, unused, errcheck, ineffassign and errorlint, for
//
//	go vet -vettool=lint ./...
//
// which caches the findings of each package. It is a module of its own, so that no other module depends on the linters.
// scripts/lint builds and runs it.
//
// A comment at the end of a line, or on the line before, accepts a finding: //lint:ignore errorlint the reason.
package main

import (
	"encoding/gob"
	"encoding/json"
	"go/token"
	"os"
	"slices"
	"strings"

	"github.com/gordonklaus/ineffassign/pkg/ineffassign"
	"github.com/kisielk/errcheck/errcheck"
	"github.com/polyfloyd/go-errorlint/errorlint"
	"golang.org/x/tools/go/analysis"
	"golang.org/x/tools/go/analysis/unitchecker"
	"honnef.co/go/tools/analysis/facts/deprecated"
	"honnef.co/go/tools/analysis/lint"
	"honnef.co/go/tools/simple"
	"honnef.co/go/tools/staticcheck"
	"honnef.co/go/tools/unused"
)

func main() {
	errcheck.DefaultExcludedSymbols = append(errcheck.DefaultExcludedSymbols, unchecked...)
	analyzers := []*analysis.Analyzer{withoutTests(errcheck.Analyzer), errorlint.NewAnalyzer(), ineffassign.Analyzer, unusedCode}
	for _, a := range slices.Concat(staticcheck.Analyzers, simple.Analyzers) {
		if !a.Doc.NonDefault {
			analyzers = append(analyzers, a.Analyzer)
		}
	}
	for _, a := range analyzers {
		acceptIgnored(a)
	}
	if ofAnother() {
		registerFacts(analyzers)
		analyzers = []*analysis.Analyzer{deprecated.Analyzer}
	}
	unitchecker.Main(analyzers...)
}

// ofAnother reports whether vet asks about a package of another module, for facts that concern its users. All but what is
// deprecated is left out then: it would take more time than everything else.
func ofAnother() bool {
	data, err := os.ReadFile(os.Args[len(os.Args)-1]) // not a file when vet asks which flags there are
	var unit unitchecker.Config
	if err != nil || json.Unmarshal(data, &unit) != nil {
		return false
	}
	first, _, _ := strings.Cut(unit.ImportPath, "/")
	return unit.VetxOnly && strings.Contains(first, ".") && !strings.HasPrefix(unit.ImportPath, "github.com/nearside/")
}

// registerFacts makes known the facts that other packages may come with.
func registerFacts(analyzers []*analysis.Analyzer) {
	for _, a := range analyzers {
		for _, f := range a.FactTypes {
			gob.Register(f)
		}
		registerFacts(a.Requires)
	}
}

// unusedCode reports what unused.Analyzer only returns. It sees a package together with its tests.
var unusedCode = &analysis.Analyzer{
	Name:     "unused",
	Doc:      "check for unused code",
	Requires: []*analysis.Analyzer{unused.Analyzer.Analyzer},
	Run: func(pass *analysis.Pass) (any, error) {
		files := map[string]*token.File{}
		for _, f := range pass.Files {
			at := pass.Fset.File(f.FileStart)
			files[at.Name()] = at
		}
		for _, o := range pass.ResultOf[unused.Analyzer.Analyzer].(unused.Result).Unused {
			pass.Reportf(files[o.Position.Filename].LineStart(o.Position.Line), "%s %s is unused", o.Kind, o.Name)
		}
		return nil, nil
	},
}

// withoutTests returns a with no findings in test files. A test asserts what it is about; what it calls in order to get there
// may fail.
func withoutTests(a *analysis.Analyzer) *analysis.Analyzer {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		own := *pass
		own.Files = nil
		for _, f := range pass.Files {
			if !strings.HasSuffix(pass.Fset.File(f.FileStart).Name(), "_test.go") {
				own.Files = append(own.Files, f)
			}
		}
		return run(&own)
	}
	return a
}

// acceptIgnored makes a obey the comments //lint:ignore, which unitchecker knows nothing of.
func acceptIgnored(a *analysis.Analyzer) {
	run := a.Run
	a.Run = func(pass *analysis.Pass) (any, error) {
		type line struct {
			file string
			line int
		}
		ignored := map[line]bool{}
		for _, d := range lint.ParseDirectives(pass.Files, pass.Fset) {
			if d.Command == "ignore" && len(d.Arguments) > 1 && d.Arguments[0] == a.Name {
				at := pass.Fset.Position(d.Directive.Pos())
				ignored[line{at.Filename, at.Line}] = true
				ignored[line{at.Filename, at.Line + 1}] = true
			}
		}
		own := *pass
		own.Report = func(d analysis.Diagnostic) {
			if at := pass.Fset.Position(d.Pos); !ignored[line{at.Filename, at.Line}] {
				d.Message += " (" + a.Name + ")"
				pass.Report(d)
			}
		}
		return run(&own)
	}
}
