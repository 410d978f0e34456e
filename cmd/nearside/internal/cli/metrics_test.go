package cli

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/nearside/nearside/internal/build"
	"github.com/nearside/nearside/internal/redistest"
)

// /metrics has what was asked, never a key, behind the same rules as everything else; the dashboard, the alerts and the docs name
// nothing that is not there, and the docs name all that is.
func TestMetrics(t *testing.T) {
	server := redistest.Start(t)
	config := write(t, "n.yaml", "redis: "+server.URL()+userOnly)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	for _, key := range []string{"user:42", "user:42", "user:42", "user:100001"} {
		r.redisCLI(t, "GET", key)
	}
	r.redisCLI(t, "DEL", "user:42")
	resp, body := r.get(t, "GET", "/metrics")
	if resp.StatusCode != 200 || !strings.HasPrefix(resp.Header.Get("Content-Type"), "text/plain") {
		t.Fatalf("got %d %v", resp.StatusCode, resp.Header)
	}
	for _, want := range []string{
		`nearside_requests_total{cache="user",outcome="store"} 2`,
		`nearside_requests_total{cache="user",outcome="load"} 2`,
		`nearside_loads_total{cache="user",result="notfound"} 1`,
		`nearside_invalidations_total{cache="user",cause="invalidate"} 1`,
		`nearside_load_duration_seconds_count{cache="user"} 2`,
		`nearside_store_up 1`,
		`nearside_build_info{version="` + build.Version() + `"} 1`,
	} {
		if !strings.Contains(body, "\n"+want+"\n") {
			t.Errorf("there is no %s", want)
		}
	}
	if strings.Contains(body, "user:") || strings.Contains(body, "100001") {
		t.Error("a key is told")
	}
	if resp, _ := r.get(t, "GET", "/metrics", "Host", "evil.example"); resp.StatusCode != 421 {
		t.Errorf("a foreign host: %d", resp.StatusCode)
	}
	if resp, _ := r.get(t, "POST", "/metrics"); resp.StatusCode != 405 {
		t.Errorf("POST: %d", resp.StatusCode)
	}

	exposed := make(map[string]bool)
	for _, m := range regexp.MustCompile(`(?m)^(?:# TYPE )?([a-z_]+)[{ ]`).FindAllStringSubmatch(body, -1) {
		exposed[m[1]] = true
	}
	documented := make(map[string]bool)
	for _, name := range []string{"deploy/grafana.json", "deploy/alerts.yml", "docs/metrics.md"} {
		text, err := os.ReadFile(filepath.Join("../../../..", name))
		if err != nil {
			t.Fatal(err)
		}
		used := regexp.MustCompile(`\b(nearside|process|go)_[a-z_]*[a-z]`).FindAllString(string(text), -1)
		if len(used) < 10 {
			t.Errorf("%s uses %d metrics", name, len(used))
		}
		for _, u := range used {
			if !exposed[u] {
				t.Errorf("%s uses %s, which /metrics does not have", name, u)
			}
			documented[u] = documented[u] || name == "docs/metrics.md"
		}
	}
	for _, m := range regexp.MustCompile(`(?m)^# TYPE (nearside_[a-z_]+) `).FindAllStringSubmatch(body, -1) {
		if !documented[m[1]] {
			t.Errorf("docs/metrics.md does not have %s", m[1])
		}
	}
}

func TestMetricsAskForThePassword(t *testing.T) {
	config := write(t, "n.yaml", "password: s3cret"+userOnly)
	r := start(t, serveCmd{Config: config, Database: filled(t)}, nil)
	if resp, body := r.get(t, "GET", "/metrics"); resp.StatusCode != 401 || strings.Contains(body, "nearside_") {
		t.Errorf("without: %d %s", resp.StatusCode, body)
	}
	if resp, body := r.get(t, "GET", "/metrics", "Authorization", "Bearer s3cret"); resp.StatusCode != 200 || !strings.Contains(body, "nearside_requests_total") {
		t.Errorf("with it: %d", resp.StatusCode)
	}
}
