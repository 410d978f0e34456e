package cli

import (
	"net/http"
	"strings"
	"testing"
	"time"
)

// A browser gets the page at /, all others what can be asked; both behind the password, if there is one.
func TestPage(t *testing.T) {
	r := start(t, serveCmd{Database: filled(t)}, nil)
	if resp, body := r.get(t, "GET", "/"); resp.StatusCode != 200 || !strings.HasPrefix(body, "nearside serve\n") || resp.Header.Get("Vary") != "Accept" {
		t.Errorf("without a browser: %d %v %s", resp.StatusCode, resp.Header, body)
	}
	r.get(t, "GET", "/v1/user/42")
	key := "/cache/user/key?key=user:42"
	for path, want := range map[string]string{"/": "</html>", "/cache/user": "Loads beside the TTL", "/members": "alive", "/redis": "embedded store", key: "Values are not shown"} {
		resp, body := r.get(t, "GET", path, "Accept", "text/html")
		if resp.StatusCode != 200 || !strings.Contains(body, want) || !strings.HasPrefix(resp.Header.Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s: %d %s", path, resp.StatusCode, body)
		}
	}
	for path, status := range map[string]int{"/assets/dash.js": 200, "/assets/uPlot.LICENSE": 200, "/cache/user/invalidate": 404} {
		if resp, _ := r.get(t, "GET", path); resp.StatusCode != status {
			t.Errorf("%s: %d", path, resp.StatusCode)
		}
	}
	if resp, _ := r.get(t, "GET", "/cache/user", "Host", "evil.example"); resp.StatusCode != http.StatusMisdirectedRequest {
		t.Errorf("for a foreign host: %d", resp.StatusCode)
	}

	r = start(t, serveCmd{Database: filled(t)}, map[string]string{"NEARSIDE_PASSWORD": "s3cret", "NEARSIDE_PAGE_VALUES": "true", "NEARSIDE_PAGE_WRITE": "true"})
	said := []string{"Authorization", "Bearer s3cret", "Accept", "text/html", "Host", "cache.example"}
	r.get(t, "GET", "/v1/user/42", said...)
	for _, path := range []string{"/", "/cache/user", "/assets/dash.js", key} {
		if resp, _ := r.get(t, "GET", path, "Accept", "text/html"); resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s without the password: %d", path, resp.StatusCode)
		}
		if resp, body := r.get(t, "GET", path, said...); resp.StatusCode != 200 {
			t.Errorf("%s with the password: %d %s", path, resp.StatusCode, body)
		}
	}
	if _, body := r.get(t, "GET", key, said...); !strings.Contains(body, "Margaret Hamilton") || !strings.Contains(body, "Invalidate") {
		t.Errorf("what was allowed is not there: %s", body)
	}
}

// Who looks at the page does not keep serve from ending.
func TestPageEnds(t *testing.T) {
	r := start(t, serveCmd{Database: filled(t)}, nil)
	req, _ := http.NewRequestWithContext(t.Context(), "GET", "http://"+r.http+"/", nil)
	req.Header.Set("Accept", "text/event-stream")
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	began := time.Now()
	if err := r.end(); err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > endWait-time.Second {
		t.Errorf("it took %v", took)
	}
}
