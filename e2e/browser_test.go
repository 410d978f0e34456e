package e2e

import (
	"bufio"
	"context"
	"flag"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"github.com/nearside/nearside/internal/eventually"
	"github.com/nearside/nearside/internal/redistest"
)

var (
	shots  = flag.String("e2e.shots", "", "a folder in which the pictures of the web page are kept")
	settle = flag.Duration("e2e.settle", 12*time.Second, "how long traffic runs before the pictures are taken: minutes make fuller charts")
)

// binary builds nearside, as users have it.
func binary(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "nearside")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Dir = "../cmd/nearside"
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build nearside: %v\n%s", err, out)
	}
	return path
}

// served is a running nearside serve.
type served struct{ http, redis string }

func serve(t *testing.T, bin string, args []string, environ ...string) served {
	t.Helper()
	cmd := exec.Command(bin, append([]string{"serve", "--listen", "127.0.0.1:0", "--http", "127.0.0.1:0"}, args...)...)
	cmd.Env = append(os.Environ(), environ...)
	errs := new(strings.Builder)
	cmd.Stderr = errs
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		t.Fatal(err)
	}
	s, lines := served{}, bufio.NewScanner(out)
	for s.http == "" && lines.Scan() {
		switch f := strings.Fields(lines.Text()); {
		case len(f) == 2 && f[0] == "redis":
			s.redis = f[1]
		case len(f) == 2 && f[0] == "http":
			s.http = f[1]
		}
	}
	drained := make(chan struct{})
	go func() { io.Copy(io.Discard, out); close(drained) }()
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM)
		<-drained
		if err := cmd.Wait(); err != nil {
			t.Errorf("nearside serve: %v\n%s", err, errs)
		}
	})
	if s.http == "" {
		t.Fatalf("nearside serve is not ready: %s", errs)
	}
	return s
}

// get asks without a browser.
func get(t *testing.T, url, accept string) (status int, body string) {
	t.Helper()
	r, _ := http.NewRequestWithContext(t.Context(), "GET", url, nil)
	r.Header.Set("Accept", accept)
	client := http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

var countedReads = regexp.MustCompile(`(?m)^nearside_requests_total\{.*\} (\S+)$`)

// counted is how many reads the process itself has counted, by /metrics.
func counted(t *testing.T, s served) (n uint64) {
	t.Helper()
	_, body := get(t, s.http+"metrics", "text/plain")
	for _, m := range countedReads.FindAllStringSubmatch(body, -1) {
		f, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		n += uint64(f)
	}
	if n == 0 {
		t.Fatalf("nothing is counted in %q", body)
	}
	return n
}

// tab is a page in a real browser. What the browser complains of fails the test: a script that a policy stopped, a file that
// is missing, an exception.
type tab struct {
	ctx context.Context
	t   *testing.T
}

func openBrowser(t *testing.T) context.Context {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Fatal("there is no chromium: install Debian's package chromium; ./scripts/test does it where it may")
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, chromedp.Flag("force-color-profile", "srgb"), chromedp.Flag("hide-scrollbars", true), chromedp.WSURLReadTimeout(time.Minute))
	alloc, stop := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() {
		if err := chromedp.Cancel(ctx); err != nil {
			t.Errorf("the browser does not end: %v", err)
		}
		cancel()
		stop()
	})
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

func openTab(t *testing.T, browser context.Context) tab {
	ctx, cancel := chromedp.NewContext(browser)
	ctx, stop := context.WithTimeout(ctx, 2*time.Minute+*settle)
	thrown, logged := chromedp.Events(ctx, runtime.ExceptionThrown), chromedp.Events(ctx, log.EntryAdded)
	var read sync.WaitGroup
	read.Go(func() {
		for e, err := range thrown {
			if err == nil {
				t.Errorf("the page's script threw: %s", e.ExceptionDetails.Text)
			}
		}
	})
	read.Go(func() {
		for e, err := range logged {
			if err == nil && e.Entry.Level == log.EntryLevelError {
				t.Errorf("the browser complains: %s %s", e.Entry.Text, e.Entry.URL)
			}
		}
	})
	t.Cleanup(func() { stop(); cancel(); read.Wait() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	return tab{ctx, t}
}

func (p tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	if err := chromedp.Do(p.ctx, steps...); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// eval asks the page's script.
func eval[T any](p tab, js string) T {
	p.t.Helper()
	v, err := chromedp.Run(p.ctx, chromedp.Evaluate[T](js))
	if err != nil {
		p.t.Fatalf("%s: %v", js, err)
	}
	return v
}

func (p tab) open(url string) {
	p.t.Helper()
	p.do("open "+url, chromedp.Navigate(url), chromedp.WaitReady(chromedp.CSS("footer")))
}

func (p tab) size(width int, scheme string) {
	p.t.Helper()
	p.do("size", chromedp.EmulateViewport(int64(width), 900))
	_, err := chromedp.Call(p.ctx, emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{
		Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}},
	})
	if err != nil {
		p.t.Fatal(err)
	}
}

// shoot saves a picture, and checks that the page is not wider than the window.
func (p tab) shoot(dir, name string) {
	p.t.Helper()
	if over := eval[int](p, "document.documentElement.scrollWidth - document.documentElement.clientWidth"); over > 0 {
		p.t.Errorf("%s: the page is %d pixels wider than the window", name, over)
	}
	p.do("let it draw", chromedp.Sleep(300*time.Millisecond))
	png, err := chromedp.Run(p.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func TestWebPage(t *testing.T) {
	bin, srv := binary(t), redistest.Start(t, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lfu")
	s := serve(t, bin, []string{"--redis", srv.URL(), "--traffic", "400"}, "NEARSIDE_PAGE_WRITE=true", "NEARSIDE_PAGE_VALUES=true")
	dir := *shots
	if dir == "" {
		dir = t.TempDir()
	} else if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	browser := openBrowser(t)
	p := openTab(t, browser)
	p.size(1280, "light")
	eventually.True(t, "the page is there", func() bool { // on a busy machine Redis may seem away at first
		status, _ := get(t, s.http, "text/html")
		return status == http.StatusOK
	})
	p.open(s.http)

	// The numbers are those of the process: what it counted before, the page shows within the time of a report, and never more
	// than what it counted afterwards.
	before := counted(t, s)
	eventually.True(t, "the page shows what was counted", func() bool {
		return eval[uint64](p, `Number(document.getElementById("reads-hour").value)`) >= before
	})
	shown := eval[uint64](p, `Number(document.getElementById("reads-hour").value)`)
	parts := eval[uint64](p, `[...document.querySelectorAll("#caches data.reads")].reduce((n, d) => n + Number(d.value), 0)`)
	if after := counted(t, s); shown > after || parts > after || parts < before {
		t.Errorf("the page shows %d reads, and %d by cache; the process counted %d before and %d after", shown, parts, before, after)
	}
	if n := eval[int](p, `document.querySelectorAll("#caches tbody tr").length`); n != 6 {
		t.Errorf("%d caches are shown, the demo shop has 6", n)
	}
	eventually.True(t, "keys are sampled", func() bool {
		return eval[bool](p, `!document.getElementById("caches").textContent.includes("sampling") && document.querySelectorAll("#caches td:nth-last-child(2) data").length === 6`)
	})
	time.Sleep(*settle) // for the pictures: charts with more than one point

	paths := map[string]string{"overview": "", "cache": "cache/user", "shape": "cache/leaderboard", "members": "members", "redis": "redis", "invalidate": "cache/user/invalidate", "missing": "cache/nosuch"}
	for _, width := range []int{1280, 390} {
		for _, scheme := range []string{"light", "dark"} {
			p.size(width, scheme)
			for name, path := range paths {
				if name == "missing" {
					continue // the browser logs a 404 as an error
				}
				p.open(s.http + path)
				if name == "overview" || name == "cache" {
					p.do("chart", chromedp.WaitVisible(chromedp.CSS(".u-wrap canvas")))
				}
				p.shoot(dir, fmt.Sprintf("%s-%d-%s", name, width, scheme))
			}
		}
	}
	p.size(1280, "light")

	// From the overview to a hot key, to its invalidation, and to that of all.
	p.open(s.http)
	p.do("to the cache", chromedp.Click(chromedp.CSS(`#caches a[href$="cache/user"]`)), chromedp.WaitVisible(chromedp.CSS("#hot a")))
	p.do("to a key", chromedp.Click(chromedp.CSS("#hot tbody a")), chromedp.WaitVisible(chromedp.CSS("#entry")))
	if text := eval[string](p, `document.getElementById("entry").textContent`); !strings.Contains(text, "Gone in") && !strings.Contains(text, "Nothing is stored") {
		t.Errorf("of a hot key: %q", text)
	}
	p.do("to the question", chromedp.Click(chromedp.CSS("#entry a.danger")), chromedp.WaitVisible(chromedp.CSS("#confirm")))
	p.do("yes", chromedp.Click(chromedp.CSS("#confirm button.danger")), chromedp.WaitVisible(chromedp.CSS("#entry .good")))
	p.open(s.http + "cache/user/invalidate")
	p.do("a wrong name", chromedp.SendKeys(chromedp.CSS("input#typed"), "orders\r"), chromedp.WaitVisible(chromedp.CSS("#confirm .bad")))
	p.do("the name", chromedp.SendKeys(chromedp.CSS("input#typed"), "user\r"), chromedp.WaitVisible(chromedp.CSS("#cachehead .good")))

	// Keys: rows, pause, theme, the list of keys.
	p.open(s.http)
	p.do("keys", chromedp.KeyEvent("j"), chromedp.KeyEvent("j"), chromedp.KeyEvent("k"), chromedp.KeyEvent("p"), chromedp.KeyEvent("t"))
	if row := eval[int](p, `[...document.querySelectorAll("#caches tbody tr")].findIndex(r => r.getAttribute("aria-selected"))`); row != 0 {
		t.Errorf("after j j k row %d is selected, expected 0", row)
	}
	if got := eval[string](p, `document.getElementById("pause").getAttribute("aria-pressed") + " " + document.documentElement.dataset.theme`); got != "true dark" {
		t.Errorf("after p and t: %s", got)
	}
	p.do("the list of keys", chromedp.KeyEvent("?"), chromedp.WaitVisible(chromedp.CSS("#help")))
	p.do("away", chromedp.KeyEvent("\x1b"), chromedp.WaitNotVisible(chromedp.CSS("#help")))
	p.do("find", chromedp.KeyEvent("/"))
	eval[string](p, `document.activeElement.id === "find" ? (document.activeElement.value = "") : "the field to find caches has no focus"`) // the test's / is typed, too
	p.do("find", chromedp.KeyEvent("board"))
	if rows := eval[int](p, `[...document.querySelectorAll("#caches tbody tr")].filter(r => !r.hidden).length`); rows != 1 {
		t.Errorf("%d caches are named like board", rows)
	}

	// Redis goes: the page says so. It does not come back here, and the page still answers.
	p.open(s.http)
	srv.Stop()
	p.do("without Redis", chromedp.WaitVisible(chromedp.CSS("#trouble")))
	p.shoot(dir, "away-1280-dark")
}
