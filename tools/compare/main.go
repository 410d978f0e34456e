// Command compare runs Go benchmarks of this checkout and of another revision in turns, and prints how they differ.
//
//	go run ./compare -base HEAD~5 -bench 'RedisHit/^nearside$' .             (in tools/)
//	go run ./compare -base v0.1.0 -n 20 -copy bench_test.go ./internal/near
//
// One round runs the base, this checkout, and the base once more. A round's ratio is this checkout divided by the first
// run of the base; the ratio of the two runs of the base shows what the machine's noise alone does. Each package is built
// once per side. The order within a round rotates, so that no side always runs first.
//
// Where the linker happens to put a function can change a benchmark by a tenth. -layouts 4 builds each side four times, three
// of them with the functions in random order, and each round takes the next build. The second run of the base takes another
// build than the first, so that the noise includes the layout.
//
// The base is a temporary git worktree, removed at the end. -copy puts benchmark files of this checkout into it, for
// benchmarks that the base does not have yet.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

func main() {
	c := comparison{out: os.Stdout, progress: os.Stderr}
	var files string
	flag.StringVar(&c.repo, "repo", "..", "the checkout")
	flag.StringVar(&c.base, "base", "", "the revision to compare with")
	flag.StringVar(&c.bench, "bench", ".", "which benchmarks, as -bench of go test takes it")
	flag.StringVar(&c.time, "benchtime", "0.5s", "how long each benchmark runs, as -benchtime of go test takes it")
	flag.IntVar(&c.rounds, "n", 10, "rounds")
	flag.IntVar(&c.layouts, "layouts", 1, "builds of each side, all but the first with the functions in random order")
	flag.StringVar(&files, "copy", "", "files of this checkout that replace those of the base, separated by commas")
	flag.Parse()
	c.packages = flag.Args()
	if files != "" {
		c.copied = strings.Split(files, ",")
	}
	if c.base == "" || len(c.packages) == 0 || c.rounds < 1 || c.layouts < 1 {
		fmt.Fprintln(os.Stderr, "compare: expected -base REVISION, at least one round, at least one layout, and one or more package folders")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := c.run(ctx)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "compare:", err)
		os.Exit(1)
	}
}

type comparison struct {
	repo, base, bench, time string
	packages, copied        []string
	rounds, layouts         int
	out, progress           io.Writer
}

// The sides of a round.
const (
	before = iota
	after
	again // the base once more
	sides
)

func (c *comparison) run(ctx context.Context) error {
	work, err := os.MkdirTemp("", "compare")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	repo, err := filepath.Abs(c.repo)
	if err != nil {
		return err
	}
	tree := filepath.Join(work, "base")
	if err := git(ctx, repo, "worktree", "add", "--quiet", "--detach", tree, c.base); err != nil {
		return err
	}
	defer func() { _ = git(context.WithoutCancel(ctx), repo, "worktree", "remove", "--force", tree) }()
	for _, name := range c.copied {
		data, err := os.ReadFile(filepath.Join(repo, name))
		if err == nil {
			err = os.WriteFile(filepath.Join(tree, name), data, 0o644)
		}
		if err != nil {
			return fmt.Errorf("copy %s to the base: %w", name, err)
		}
	}
	for i, pkg := range c.packages {
		var binaries [2][]string // of base and checkout, by layout
		for side, root := range []string{tree, repo} {
			for layout := range c.layouts {
				binary := filepath.Join(work, fmt.Sprintf("%d-%d-%d.test", i, side, layout))
				build := exec.CommandContext(ctx, "go", "test", "-c", "-ldflags", fmt.Sprint("-randlayout=", layout), "-o", binary, ".") // 0: the usual order
				build.Dir = filepath.Join(root, pkg)
				if text, err := build.CombinedOutput(); err != nil {
					return fmt.Errorf("build the tests of %s in %s: %w\n%s", pkg, root, err, text)
				}
				binaries[side] = append(binaries[side], binary)
			}
		}
		results, err := c.measure(ctx, filepath.Join(repo, pkg), binaries)
		if err != nil {
			return err
		}
		results.print(c.out, pkg)
	}
	return nil
}

// measure runs the rounds of one package, all sides in the same folder.
func (c *comparison) measure(ctx context.Context, dir string, binaries [2][]string) (results, error) {
	all := results{values: make(map[string][]round)}
	for n := range c.rounds {
		for i := range sides {
			side := (i + n) % sides
			fmt.Fprintf(c.progress, "round %d of %d, %s\n", n+1, c.rounds, [sides]string{"base", "this", "base again"}[side])
			binary := binaries[side%again][(n+side/again)%c.layouts]
			run := exec.CommandContext(ctx, binary, "-test.run", "^$", "-test.bench", c.bench, "-test.benchtime", c.time, "-test.benchmem")
			run.Dir = dir
			var stderr bytes.Buffer
			run.Stderr = &stderr
			text, err := run.Output()
			if err != nil {
				return all, fmt.Errorf("run %s: %w\n%s%s", run, err, text, stderr.Bytes())
			}
			all.add(n, side, text)
		}
	}
	return all, nil
}

// figure is what one benchmark printed.
type figure struct{ ns, allocs float64 }

type round [sides]figure

// results are the rounds of each benchmark, by its name.
type results struct {
	names  []string // in the order in which they were printed
	values map[string][]round
}

// add reads the lines of a benchmark run. Lines that are no results of benchmarks are skipped.
func (r *results) add(n, side int, text []byte) {
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		name, f, ok := parse(lines.Text())
		if !ok {
			continue
		}
		if r.values[name] == nil {
			r.names = append(r.names, name)
		}
		for len(r.values[name]) <= n {
			r.values[name] = append(r.values[name], round{})
		}
		r.values[name][n][side] = f
	}
}

// parse reads a line such as "BenchmarkHit/nearside/64-2   1000  1234 ns/op  16 B/op  2 allocs/op". ok is false if it is no such line.
// Names may contain spaces.
func parse(line string) (name string, f figure, ok bool) {
	name, rest, ok := strings.Cut(line, "\t")
	if !ok || !strings.HasPrefix(name, "Benchmark") {
		return "", f, false
	}
	name = strings.TrimSpace(name)
	if i := strings.LastIndexByte(name, '-'); i > 0 { // GOMAXPROCS
		name = name[:i]
	}
	words := strings.Fields(rest)
	ok = false
	for i := 1; i < len(words); i++ {
		v, err := strconv.ParseFloat(words[i-1], 64)
		switch {
		case err != nil:
		case words[i] == "ns/op":
			f.ns, ok = v, true
		case words[i] == "allocs/op":
			f.allocs = v
		}
	}
	return strings.TrimPrefix(name, "Benchmark"), f, ok
}

// print writes a Markdown table. The spread of the base against itself is the range of the middle 80 % of its rounds.
func (r *results) print(w io.Writer, pkg string) {
	fmt.Fprintf(w, "\n%s\n\n| benchmark | base | this | this / base | base / base | its spread | allocs |\n|---|---|---|---|---|---|---|\n", pkg)
	for _, name := range r.names {
		var base, this, ratios, noise, was, is []float64
		for _, v := range r.values[name] {
			if v[before].ns == 0 || v[after].ns == 0 || v[again].ns == 0 {
				continue // a side does not have it
			}
			base, this = append(base, v[before].ns), append(this, v[after].ns)
			ratios, noise = append(ratios, v[after].ns/v[before].ns), append(noise, v[again].ns/v[before].ns)
			was, is = append(was, v[before].allocs), append(is, v[after].allocs)
		}
		if len(base) == 0 {
			fmt.Fprintf(w, "| %s | not on both sides | | | | | |\n", name)
			continue
		}
		fmt.Fprintf(w, "| %s | %s | %s | %.3f | %.3f | %.2f to %.2f | %.0f, was %.0f |\n", name, duration(quantile(base, 0.5)), duration(quantile(this, 0.5)),
			quantile(ratios, 0.5), quantile(noise, 0.5), quantile(noise, 0.1), quantile(noise, 0.9), quantile(is, 0.5), quantile(was, 0.5))
	}
}

func quantile(vs []float64, q float64) float64 {
	vs = slices.Sorted(slices.Values(vs))
	at := q * float64(len(vs)-1)
	low := int(at)
	high := min(low+1, len(vs)-1)
	return vs[low] + (at-float64(low))*(vs[high]-vs[low])
}

func duration(ns float64) string {
	switch {
	case ns < 1e3:
		return strconv.FormatFloat(ns, 'g', 4, 64) + " ns"
	case ns < 1e6:
		return strconv.FormatFloat(ns/1e3, 'g', 4, 64) + " µs"
	}
	return strconv.FormatFloat(ns/1e6, 'g', 4, 64) + " ms"
}

func git(ctx context.Context, dir string, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", append([]string{"-C", dir}, args...)...)
	if text, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git %s: %w: %s", args[0], err, cmp.Or(strings.TrimSpace(string(text)), "no output"))
	}
	return nil
}
