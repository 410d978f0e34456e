package main

import (
	"context"
	"crypto/sha256"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

var build = flag.Bool("build", false, "build the binary too: it takes minutes, since nothing of it is in the build cache")

// A release of a copy of this repository: the tags are in the copy, and what they name needs no replace. With -build the archive
// for this platform is there too, its sum is right, and the binary says its version.
func TestRelease(t *testing.T) {
	repo := filepath.Join(t.TempDir(), "repo")
	run := func(dir, name string, args ...string) string {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run(".", "git", "clone", "--quiet", "--no-local", run(".", "git", "rev-parse", "--show-toplevel"), repo)
	out := filepath.Join(t.TempDir(), "dist")
	var platforms []string
	if *build {
		platforms = []string{runtime.GOOS + "/" + runtime.GOARCH}
	}
	release := func(version string) error {
		t.Chdir(filepath.Join(repo, "docs"))
		r := &release{ctx: context.Background(), version: version, out: out, platforms: platforms, tag: true, log: t.Logf}
		return r.run()
	}
	for version, want := range map[string]string{"0.1.0": "is no version", "v0.98.7": "CHANGELOG.md has no heading"} {
		if err := release(version); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", version, err, want)
		}
	}
	changelog := filepath.Join(repo, "CHANGELOG.md")
	text, err := os.ReadFile(changelog)
	if err != nil {
		t.Fatal(err)
	}
	os.WriteFile(changelog, append(text, "\n## 0.98.7\n"...), 0o644)
	if err := release("v0.98.7"); err == nil || !strings.Contains(err.Error(), "has changes") {
		t.Errorf("with changes: %v", err)
	}
	run(repo, "git", "-c", "user.name=t", "-c", "user.email=t@localhost", "commit", "--quiet", "--all", "-m", "changelog")
	if err := release("v0.98.7"); err != nil {
		t.Fatal(err)
	}
	if tags := run(repo, "git", "tag"); !strings.Contains(tags, "v0.98.7") || !strings.Contains(tags, "cmd/nearside/v0.98.7") {
		t.Errorf("the tags are %q", tags)
	}
	for _, dir := range []string{"prom", "cmd/nearside"} { // else the sums of what requires them would not be those of a mirror
		if license := run(repo, "git", "show", "cmd/nearside/v0.98.7:"+dir+"/LICENSE"); !strings.Contains(license, "Apache") {
			t.Errorf("%s has the license %.50q", dir, license)
		}
	}
	if mod := run(repo, "git", "show", "cmd/nearside/v0.98.7:cmd/nearside/go.mod"); strings.Contains(mod, "replace") || !strings.Contains(mod, root+" v0.98.7") {
		t.Errorf("what is tagged has the go.mod\n%s", mod)
	}
	if *build {
		archived(t, run, out)
	}
}

func archived(t *testing.T, run func(dir, name string, args ...string) string, out string) {
	name := fmt.Sprintf("nearside_0.98.7_%s_%s.tar.gz", runtime.GOOS, runtime.GOARCH)
	archive, err := os.ReadFile(filepath.Join(out, name))
	if err != nil {
		t.Fatal(err)
	}
	sums, _ := os.ReadFile(filepath.Join(out, "SHA256SUMS"))
	if want := fmt.Sprintf("%x  %s\n", sha256.Sum256(archive), name); string(sums) != want {
		t.Errorf("the sums are %q, want %q", sums, want)
	}
	dir := t.TempDir()
	run(dir, "tar", "xzf", filepath.Join(out, name))
	if said := run(dir, "./nearside", "version"); !strings.HasPrefix(said, "nearside v0.98.7 ") {
		t.Errorf("the binary says %q", said)
	}
}
