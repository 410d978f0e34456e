// Command typecost builds programs with many types of cached values, with this checkout and with otter, and prints what that
// costs: Go compiles generic code again for each type.
//
//	go run ./typecost             (in tools/; 30 types)
//	go run ./typecost -types 100
//
// What the programs import is built before, so that the figures are those of the types alone; the size is that of the whole binary.
package main

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"syscall"
	"text/template"
	"time"
)

func main() {
	repo := flag.String("repo", "..", "the checkout")
	types := flag.Int("types", 30, "types of values")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *repo, *types)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "typecost:", err)
		os.Exit(1)
	}
}

// A type is one of values. Field makes its layout another than that of the others: types of one layout are compiled once.
type kind struct{ I, Field int }

var programs = map[string]*template.Template{
	"nearside": template.Must(template.New("nearside").Parse(declarations + `
func main() {
	ctx := context.Background()
	client, err := nearside.Open(ctx, "memory:", nearside.Options{})
	fmt.Println(err)
{{range .}}
	c{{.I}} := nearside.New(client, "c{{.I}}", nearside.Config[int64, T{{.I}}]{
		NearSize: 100, Load: func(_ context.Context, id int64) (T{{.I}}, error) { return T{{.I}}{ID: id}, nil },
	})
	v{{.I}}, err := c{{.I}}.Get(ctx, 1)
	m{{.I}}, _ := c{{.I}}.GetMany(ctx, []int64{1, 2})
	_, _ = c{{.I}}.Update(ctx, 1, func(context.Context) (T{{.I}}, error) { return v{{.I}}, nil })
	_ = c{{.I}}.Invalidate(ctx, 1)
	fmt.Println(v{{.I}}.ID, len(m{{.I}}), err)
{{end}}}
`)),
	"otter": template.Must(template.New("otter").Parse(declarations + `
func main() {
	ctx := context.Background()
{{range .}}
	c{{.I}} := otter.Must(&otter.Options[int64, T{{.I}}]{MaximumSize: 100})
	load{{.I}} := otter.LoaderFunc[int64, T{{.I}}](func(_ context.Context, id int64) (T{{.I}}, error) { return T{{.I}}{ID: id}, nil })
	v{{.I}}, err := c{{.I}}.Get(ctx, 1, load{{.I}})
	c{{.I}}.Set(1, v{{.I}})
	c{{.I}}.Invalidate(1)
	fmt.Println(v{{.I}}.ID, err)
{{end}}}
`)),
}

const declarations = `package main

import (
	"context"
	"fmt"
	"time"

	IMPORT
)
{{range .}}
type T{{.I}} struct {
	ID   int64
	Name string
	Tags []string
	When time.Time
	F{{.I}} [{{.Field}}]int64
}
{{end}}`

var imports = map[string]string{"nearside": `"github.com/nearside/nearside"`, "otter": `"github.com/maypok86/otter/v2"`}

// source returns the program of a library for n types.
func source(library string, n int) ([]byte, error) {
	kinds := make([]kind, n)
	for i := range kinds {
		kinds[i] = kind{i, i + 1}
	}
	var b bytes.Buffer
	err := programs[library].Execute(&b, kinds)
	return bytes.Replace(b.Bytes(), []byte("IMPORT"), []byte(imports[library]), 1), err
}

func run(ctx context.Context, repo string, types int) error {
	repo, err := filepath.Abs(repo)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "typecost")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	module := fmt.Sprintf("module typecost\n\ngo 1.26\n\nrequire github.com/nearside/nearside v0.0.0\n\nreplace github.com/nearside/nearside => %s\n", repo)
	if err := os.WriteFile(filepath.Join(dir, "go.mod"), []byte(module), 0o644); err != nil {
		return err
	}
	fmt.Printf("| %d types | processor time | memory of the largest process | binary |\n|---|---|---|---|\n", types)
	for _, library := range []string{"nearside", "otter"} {
		if err := os.Mkdir(filepath.Join(dir, library), 0o755); err != nil {
			return err
		}
		for _, n := range []int{1, types} { // the first builds what is imported
			text, err := source(library, n)
			if err == nil {
				err = os.WriteFile(filepath.Join(dir, library, "main.go"), text, 0o644)
			}
			if err == nil && n == 1 {
				_, err = goTool(ctx, dir, "mod", "tidy")
			}
			if err != nil {
				return err
			}
			state, err := goTool(ctx, dir, "build", "-o", "program", "./"+library)
			if err != nil {
				return err
			}
			info, err := os.Stat(filepath.Join(dir, "program"))
			if err != nil {
				return err
			}
			used := (state.UserTime() + state.SystemTime()).Round(100 * time.Millisecond)
			memory := state.SysUsage().(*syscall.Rusage).Maxrss << 10
			if n > 1 {
				fmt.Printf("| %s | %v | %d MiB | %.1f MB |\n", library, used, memory>>20, float64(info.Size())/1e6)
			}
		}
	}
	return nil
}

func goTool(ctx context.Context, dir string, args ...string) (*os.ProcessState, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Dir, cmd.Env = dir, append(os.Environ(), "GOWORK=off", "GOFLAGS=-mod=mod")
	if text, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go %s: %w\n%s", args[0], err, text)
	}
	return cmd.ProcessState, nil
}
