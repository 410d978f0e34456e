package result

import (
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"
)

// Machine is where and with what something was measured.
type Machine struct {
	Date, CPU, OS, Go, Redis, Commit string
	Cores                            int
	Memory                           string
	Load                             string // of the machine when the scenario began: other work shows here
}

// Here describes this machine now.
func Here() Machine {
	m := Machine{
		Date: time.Now().UTC().Format("2006-01-02"), CPU: runtime.GOARCH, OS: runtime.GOOS, Go: strings.TrimPrefix(runtime.Version(), "go"),
		Redis: version(`v=(\S+)`, "redis-server", "--version"), Commit: version(`(\S+)`, "git", "rev-parse", "--short=10", "HEAD"),
		Cores: runtime.NumCPU(),
	}
	if changed := version(`(?s)(.+)`, "git", "status", "--porcelain", "--untracked-files=no"); changed != "" {
		m.Commit += " and changes"
	}
	if found := find("/proc/cpuinfo", `model name\s*:\s*(.+)`); found != "" {
		m.CPU = found
	}
	if found := find("/proc/sys/kernel/osrelease", `(\S+)`); found != "" {
		m.OS += " " + found
	}
	var kb float64
	if _, err := fmt.Sscan(find("/proc/meminfo", `MemTotal:\s*(\d+)`), &kb); err == nil {
		m.Memory = fmt.Sprintf("%.0f GiB", kb/(1<<20))
	}
	m.Load = find("/proc/loadavg", `(\S+)`)
	return m
}

func version(pattern, command string, args ...string) string {
	out, err := exec.Command(command, args...).Output()
	if err != nil {
		return ""
	}
	return submatch(pattern, out)
}

func find(file, pattern string) string {
	data, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	return submatch(pattern, data)
}

func submatch(pattern string, data []byte) string {
	if m := regexp.MustCompile(pattern).FindSubmatch(data); m != nil {
		return strings.TrimSpace(string(m[1]))
	}
	return ""
}

// String is a line for the docs.
func (m Machine) String() string {
	return fmt.Sprintf("%s: %s, %d cores, %s, %s; Go %s, Redis %s; commit %s; load of the machine at the beginning %s",
		m.Date, m.CPU, m.Cores, m.Memory, m.OS, m.Go, m.Redis, m.Commit, m.Load)
}

// Busy reports whether the machine had other work, so that times measured there mean little. The load is the mean of a minute, in
// which the scenario before may have kept all cores busy.
func (m Machine) Busy() bool {
	load, err := strconv.ParseFloat(m.Load, 64)
	return err == nil && load > 1.5*float64(m.Cores)
}
