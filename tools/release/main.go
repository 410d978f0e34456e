// Command release makes a release from a clean checkout: the versions of all modules in step, static binaries for each platform,
// and their checksums.
//
//	go run ./release v0.1.0            (in tools/) builds into ../dist, and leaves the repository as it is
//	go run ./release -tag v0.1.0       the same, and fetches the release's commit and tags into the repository
//
// While developing, the modules reach each other by replace directives, which `go install ...@version` refuses. So the release is
// a commit of its own beside main: each go.mod requires the others at the new version, without a replace. It is made in a
// temporary clone, in which everything is built too, so that what is tagged is what was built.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"golang.org/x/mod/modfile"
	"golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/zip"
)

const root = "github.com/nearside/nearside"

// published are the folders of the modules that are tagged, in the order in which they require each other.
var published = []string{".", "prom", "cmd/nearside"}

func main() {
	log := func(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }
	out := flag.String("out", "../dist", "the folder that the archives go to")
	platforms := flag.String("platforms", "linux/amd64,linux/arm64,darwin/amd64,darwin/arm64", "what to build for")
	tag := flag.Bool("tag", false, "fetch the release's commit and tags into the repository")
	flag.Parse()
	if flag.NArg() != 1 {
		log("expected one version, such as v0.1.0")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	r := &release{ctx: ctx, version: flag.Arg(0), out: *out, platforms: strings.Split(*platforms, ","), tag: *tag, log: log}
	if err := r.run(); err != nil {
		log("release: %v", err)
		stop()
		os.Exit(1)
	}
}

type release struct {
	ctx       context.Context
	version   string
	out       string
	platforms []string
	tag       bool
	log       func(format string, args ...any)

	repo, clone, proxy string // folders
}

func (r *release) run() (err error) {
	if !semver.IsValid(r.version) || semver.Canonical(r.version) != r.version {
		return fmt.Errorf("%q is no version: expected vMAJOR.MINOR.PATCH, such as v0.1.0", r.version)
	}
	if r.repo, err = r.git(".", "rev-parse", "--show-toplevel"); err != nil {
		return err
	}
	if changed, err := r.git(r.repo, "status", "--porcelain"); err != nil || changed != "" {
		return errors.Join(err, fmt.Errorf("the checkout has changes: commit them first\n%s", changed))
	}
	changelog, err := os.ReadFile(filepath.Join(r.repo, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	if heading := "## " + strings.TrimPrefix(r.version, "v"); !bytes.Contains(changelog, []byte("\n"+heading)) {
		return fmt.Errorf("CHANGELOG.md has no heading %q: name what this version changes", heading)
	}
	tmp, err := os.MkdirTemp("", "nearside-release-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(tmp)
	r.clone, r.proxy = filepath.Join(tmp, "clone"), filepath.Join(tmp, "proxy")
	if _, err := r.git(r.repo, "clone", "--quiet", "--no-local", r.repo, r.clone); err != nil {
		return err
	}
	if err := r.commit(); err != nil {
		return err
	}
	if err := r.build(); err != nil {
		return err
	}
	if !r.tag {
		r.log("nothing was tagged: run it again with -tag")
		return nil
	}
	if _, err := r.git(r.repo, "fetch", "--quiet", r.clone, "+refs/tags/*:refs/tags/*"); err != nil {
		return err
	}
	r.log("tagged; to publish: git push origin %s", strings.Join(r.tags(), " "))
	return nil
}

func (r *release) modules() (out []string) {
	for _, dir := range published {
		if _, err := os.Stat(filepath.Join(r.clone, dir, "go.mod")); err == nil {
			out = append(out, dir)
		}
	}
	return out
}

func (r *release) tags() (out []string) {
	for _, dir := range r.modules() {
		out = append(out, strings.TrimPrefix(dir+"/"+r.version, "./"))
	}
	return out
}

// commit has the modules require each other at the new version, and tags them. What the module mirror will say of each is said
// meanwhile by a folder: so go.sum has the right sums before anything is published.
func (r *release) commit() error {
	for _, dir := range r.modules() {
		path := filepath.Join(r.clone, dir, "go.mod")
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		mod, err := modfile.Parse(path, data, nil)
		if err != nil {
			return err
		}
		ours := func(path string) bool { return path == root || strings.HasPrefix(path, root+"/") }
		for _, req := range slices.Clone(mod.Require) {
			if ours(req.Mod.Path) {
				if err := mod.AddRequire(req.Mod.Path, r.version); err != nil {
					return err
				}
			}
		}
		for _, rep := range slices.Clone(mod.Replace) {
			if ours(rep.Old.Path) {
				if err := mod.DropReplace(rep.Old.Path, rep.Old.Version); err != nil {
					return err
				}
			}
		}
		mod.Cleanup()
		if data, err = mod.Format(); err != nil {
			return err
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			return err
		}
		if err := r.do(filepath.Join(r.clone, dir), r.alone(), "go", "mod", "tidy"); err != nil {
			return err
		}
		if err := r.license(dir); err != nil {
			return err
		}
		if err := r.offer(dir, mod.Module.Mod.Path); err != nil {
			return err
		}
	}
	if _, err := r.git(r.clone, "add", "--all"); err != nil {
		return err
	}
	if _, err := r.git(r.clone, "-c", "user.name=release", "-c", "user.email=release@localhost", "commit", "--quiet", "--all", "--allow-empty",
		"-m", "release "+r.version+"\n\nThe modules require each other at this version."); err != nil {
		return err
	}
	for _, tag := range r.tags() {
		if _, err := r.git(r.clone, "tag", tag); err != nil {
			return err
		}
	}
	return nil
}

// license puts the license into a module's own folder. Else go would add it to what a mirror gives out, and the sums of go.sum, which are
// of what offer packs, would be wrong.
func (r *release) license(dir string) error {
	text, err := os.ReadFile(filepath.Join(r.clone, "LICENSE"))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.clone, dir, "LICENSE"), text, 0o644)
}

// offer puts a module into the folder that go takes for a mirror: https://go.dev/ref/mod#goproxy-protocol
func (r *release) offer(dir, path string) error {
	escaped, err := module.EscapePath(path)
	if err != nil {
		return err
	}
	at := filepath.Join(r.proxy, escaped, "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	mod, err := os.ReadFile(filepath.Join(r.clone, dir, "go.mod"))
	if err != nil {
		return err
	}
	for name, data := range map[string][]byte{
		r.version + ".mod": mod, r.version + ".info": fmt.Appendf(nil, `{"Version":%q}`, r.version), "list": []byte(r.version + "\n"),
	} {
		if err := os.WriteFile(filepath.Join(at, name), data, 0o644); err != nil {
			return err
		}
	}
	f, err := os.Create(filepath.Join(at, r.version+".zip"))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }() // if it is not closed below
	if err := zip.CreateFromDir(f, module.Version{Path: path, Version: r.version}, filepath.Join(r.clone, dir)); err != nil {
		return err
	}
	return f.Close()
}

// alone is the environment of a build as users do it: without the workspace, our modules from the folder.
func (r *release) alone() []string {
	mirror, err := exec.CommandContext(r.ctx, "go", "env", "GOPROXY").Output()
	if err != nil {
		mirror = []byte("https://proxy.golang.org,direct")
	}
	return append(os.Environ(), "GOWORK=off", "CGO_ENABLED=0", "GOFLAGS=-mod=mod -modcacherw", "GONOSUMDB="+root,
		"GOMODCACHE="+filepath.Join(filepath.Dir(r.proxy), "modules"),
		"GOPROXY=file://"+filepath.ToSlash(r.proxy)+","+r.cached()+strings.TrimSpace(string(mirror)))
}

// cached is what was downloaded before, as a mirror: so that nothing is downloaded twice.
func (r *release) cached() string {
	dir, err := exec.CommandContext(r.ctx, "go", "env", "GOMODCACHE").Output()
	if err != nil {
		return ""
	}
	return "file://" + filepath.ToSlash(filepath.Join(strings.TrimSpace(string(dir)), "cache", "download")) + ","
}

// build makes an archive for each platform, and the checksums of all.
func (r *release) build() error {
	if err := os.MkdirAll(r.out, 0o755); err != nil {
		return err
	}
	var sums strings.Builder
	for _, platform := range r.platforms {
		goos, goarch, ok := strings.Cut(platform, "/")
		if !ok {
			return fmt.Errorf("the platform %q: expected OS/ARCHITECTURE, such as linux/amd64", platform)
		}
		r.log("building %s", platform)
		binary := filepath.Join(filepath.Dir(r.clone), "nearside")
		env := append(r.alone(), "GOOS="+goos, "GOARCH="+goarch, "GOFLAGS=-mod=readonly -modcacherw")
		if err := r.do(filepath.Join(r.clone, "cmd/nearside"), env, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", binary, "."); err != nil {
			return err
		}
		if goos == runtime.GOOS && goarch == runtime.GOARCH {
			said, err := exec.CommandContext(r.ctx, binary, "version").Output()
			if err != nil || !strings.HasPrefix(string(said), "nearside "+r.version+" ") {
				return fmt.Errorf("the binary says it is %q, %v: expected %s", strings.TrimSpace(string(said)), err, r.version)
			}
		}
		name := fmt.Sprintf("nearside_%s_%s_%s.tar.gz", strings.TrimPrefix(r.version, "v"), goos, goarch)
		sum, err := r.pack(filepath.Join(r.out, name), binary)
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum, name)
	}
	return os.WriteFile(filepath.Join(r.out, "SHA256SUMS"), []byte(sums.String()), 0o644)
}

// pack writes an archive of the binary and what belongs to it. The same input gives the same bytes.
func (r *release) pack(path, binary string) (sum []byte, err error) {
	f, err := os.Create(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }() // if it is not closed below
	hash := sha256.New()
	z := gzip.NewWriter(io.MultiWriter(f, hash))
	t := tar.NewWriter(z)
	for _, name := range []string{"LICENSE", "README.md", "nearside"} {
		from, mode := filepath.Join(r.clone, name), int64(0o644)
		if name == "nearside" {
			from, mode = binary, 0o755
		}
		data, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		if err := t.WriteHeader(&tar.Header{Name: name, Mode: mode, Size: int64(len(data))}); err != nil {
			return nil, err
		}
		if _, err := t.Write(data); err != nil {
			return nil, err
		}
	}
	if err := errors.Join(t.Close(), z.Close(), f.Close()); err != nil {
		return nil, err
	}
	return hash.Sum(nil), nil
}

func (r *release) git(dir string, args ...string) (string, error) {
	out, err := r.output(dir, nil, "git", args...)
	return strings.TrimSpace(out), err
}

func (r *release) do(dir string, env []string, name string, args ...string) error {
	_, err := r.output(dir, env, name, args...)
	return err
}

func (r *release) output(dir string, env []string, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(r.ctx, name, args...)
	var out, failure bytes.Buffer
	cmd.Dir, cmd.Env, cmd.Stdout, cmd.Stderr = dir, env, &out, &failure
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, strings.TrimSpace(failure.String()))
	}
	return out.String(), nil
}
