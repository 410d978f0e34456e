package redistest

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// serverVariable names the environment variable with the path of the server that tests start; without it, it is redis-server of
// PATH. scripts/servers fetches others than the installed one.
const serverVariable = "NEARSIDE_REDIS_SERVER"

// Version is the version of a server.
type Version struct {
	Name         string // redis or valkey
	Major, Minor int
}

// Binary returns the version of the server that tests start. Tests call it where servers differ.
func Binary(t testing.TB) Version {
	t.Helper()
	path, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	v, err := versionOf(path)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// binary returns the path of the server that tests start.
func binary() (string, error) {
	if path := os.Getenv(serverVariable); path != "" {
		found, err := exec.LookPath(path)
		if err != nil {
			return "", fmt.Errorf("%s names no server: %w; unset it, or take a path that ./scripts/servers prints", serverVariable, err)
		}
		return found, nil
	}
	path, err := exec.LookPath("redis-server")
	if err != nil {
		return "", fmt.Errorf("the tests need a real Redis: apt-get install redis-server (%w)", err)
	}
	return path, nil
}

var versions struct {
	sync.Mutex
	of map[string]Version
}

// versionLine is what --version prints: "Redis server v=7.0.15 sha=...", "Valkey server v=8.1.1 sha=...".
var versionLine = regexp.MustCompile(`(?i)^(redis|valkey) server v=(\d+)\.(\d+)`)

func versionOf(path string) (Version, error) {
	versions.Lock()
	defer versions.Unlock()
	if v, known := versions.of[path]; known {
		return v, nil
	}
	text, err := exec.Command(path, "--version").CombinedOutput()
	if err != nil {
		return Version{}, fmt.Errorf("%s --version: %w: %s", path, err, text)
	}
	m := versionLine.FindSubmatch(text)
	if m == nil {
		return Version{}, fmt.Errorf("%s --version: expected the version of a Redis or Valkey server, found %.100q", path, text)
	}
	v := Version{Name: strings.ToLower(string(m[1]))}
	v.Major, _ = strconv.Atoi(string(m[2]))
	v.Minor, _ = strconv.Atoi(string(m[3]))
	if versions.of == nil {
		versions.of = make(map[string]Version)
	}
	versions.of[path] = v
	return v, nil
}
